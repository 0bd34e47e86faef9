"""Verbs of jobs."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.errors import ConflictError, NotFoundError
from cloud.jobs import queries
from cloud.jobs.models import Job
from cloud.jobs.states import ENDED, JOB_TABLE, JobEvent, JobState
from protocol.errors import IllegalEvent
from protocol.machine import advance

ATTEMPTS_MAX = 2
RETRY_DELAY_S = 2.0
ERROR_CHARACTERS_MAX = 4000
PREFIX_DIGITS_MIN = 6
PREFIX = re.compile(f"[0-9a-f]{{{PREFIX_DIGITS_MIN},31}}")


class Named(Protocol):
    """What has an id."""

    id: str


AJob = TypeVar("AJob", bound=Named)


def request(
    session: Session,
    principal: Principal,
    kind: str,
    subject: str,
    parameters: Mapping[str, Any],
    *,
    role: Role = Role.OPERATOR,
    attempts_max: int = ATTEMPTS_MAX,
) -> Job:
    """Queue a job. The caller has checked that it makes sense; `role` is what it takes."""
    require(principal, role)
    job = Job(
        id=uuid.uuid4().hex,
        kind=kind,
        subject=subject,
        parameters=dict(parameters),
        state=JobState.QUEUED.value,
        attempts_max=attempts_max,
        progress={},
        created_at=time.time(),
        created_by=principal.name,
    )
    session.add(job)
    access.audit(session, principal, f"job.{kind}", f"job/{job.id}", about=subject)
    session.flush()
    return job


def get(session: Session, principal: Principal, job_id: str) -> Job:
    """The job of an id, or the only one whose id begins so.

    Raises:
        NotFoundError: there is none, or fewer than PREFIX_DIGITS_MIN hex digits name it.
        ConflictError: several begin so.
    """
    require(principal, Role.VIEWER)
    job = session.get(Job, job_id)
    if job is not None:
        return job
    found = queries.by_prefix(session, job_id, 2) if PREFIX.fullmatch(job_id) else []
    if not found:
        raise NotFoundError(
            f"there is no job {job_id}",
            f"`argosy job list` shows them; {PREFIX_DIGITS_MIN} digits of an id are enough",
        )
    return only_one(found, job_id)


def only_one(found: Sequence[AJob], prefix: str) -> AJob:
    """The one job of those that an id's first digits name. Raises ConflictError for several."""
    if len(found) > 1:
        named = ", ".join(job.id[: len(prefix) + 4] for job in found)
        raise ConflictError(f"several jobs begin with {prefix}: {named}, …", "give more digits")
    return found[0]


def list_jobs(
    session: Session,
    principal: Principal,
    *,
    kind: str | None = None,
    state: JobState | None = None,
    subject: str | None = None,
    before: float | None = None,
    limit: int = 100,
) -> Sequence[Job]:
    """Newest first."""
    require(principal, Role.VIEWER)
    return queries.jobs(
        session, kind=kind, state=state, subject=subject, before=before, limit=limit
    )


def open_of(session: Session, subject: str) -> Sequence[Job]:
    """Jobs about `subject` that have not ended."""
    return queries.open_of(session, subject)


def open_within(session: Session, subject: str) -> Sequence[Job]:
    """Jobs about `subject` or a part of it that have not ended."""
    return [*queries.open_of(session, subject), *queries.open_below(session, subject)]


def cancel(session: Session, principal: Principal, job_id: str) -> Job:
    """Cancel a queued job at once, or have the runner end a running one.

    Raises:
        ConflictError: the job has ended already.
    """
    require(principal, Role.OPERATOR)
    job = get(session, principal, job_id)
    if JobState(job.state) in ENDED:
        raise ConflictError(f"job {job.id} is {job.state} already", "nothing to cancel")
    job.cancel_requested = True
    if job.state == JobState.QUEUED.value:
        move(job, JobEvent.CANCEL_REQUESTED)
    session.add(job)
    access.audit(session, principal, "job.cancel", f"job/{job.id}")
    return job


def retry(session: Session, principal: Principal, job_id: str) -> Job:
    """Queue a failed or canceled job again, as it was asked for.

    Raises:
        ConflictError: the job has not failed.
    """
    require(principal, Role.OPERATOR)
    job = get(session, principal, job_id)
    move(job, JobEvent.RETRY_REQUESTED)
    job.cancel_requested, job.attempt, job.not_before = False, 0, 0.0
    job.error, job.ended_at = None, None
    session.add(job)
    access.audit(session, principal, "job.retry", f"job/{job.id}")
    return job


def claim_next(session: Session, kinds: Sequence[str], now: float) -> Job | None:
    """The due job that has waited longest, now RUNNING; None where none waits."""
    job = queries.next_due(session, kinds, now)
    if job is not None:
        move(job, JobEvent.STARTED)
        job.attempt += 1
        job.started_at, job.progress, job.error = now, {}, None
        session.add(job)
    return job


def interrupt(session: Session, job: Job, why: str, now: float) -> None:
    """Settle an attempt that was cut off: another one, or the end where none is left."""
    if job.cancel_requested:
        finish(session, job, JobEvent.CANCEL_REQUESTED, None, now)
    elif job.attempt < job.attempts_max:
        move(job, JobEvent.INTERRUPTED)
        job.error = why[:ERROR_CHARACTERS_MAX]
        job.not_before = now + RETRY_DELAY_S
        session.add(job)
    else:
        said = f"{why}; attempt {job.attempt} of {job.attempts_max}"
        finish(session, job, JobEvent.ERROR, said, now)


def interrupt_running(session: Session, now: float) -> None:
    """Settle what a stop of the hub cut off."""
    for job in queries.running(session):
        interrupt(session, job, "the hub stopped during the job; nothing was registered", now)


def finish(session: Session, job: Job, event: JobEvent, why: str | None, now: float) -> None:
    """End a job."""
    move(job, event)
    job.error = why and why[:ERROR_CHARACTERS_MAX]
    job.ended_at = now
    session.add(job)


def move(job: Job, event: JobEvent) -> None:
    """Advance the job. Raises ConflictError where it does not take that."""
    try:
        job.state = advance(JOB_TABLE, JobState(job.state), event).value
    except IllegalEvent as error:
        raise ConflictError(f"job {job.id}: {error}", "read its state again") from error
