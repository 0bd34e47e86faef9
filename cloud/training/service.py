"""Verbs of training."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.datasets import service as datasets
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.jobs.service import PREFIX, only_one
from cloud.registry import service as registry
from cloud.training import queries
from cloud.training.models import TrainingJob
from cloud.training.parameters import TrainingParameters
from cloud.training.states import JOB_TABLE, TERMINAL_JOB_STATES, JobEvent, JobState
from protocol.errors import IllegalEvent
from protocol.machine import advance

SCRATCH = "scratch"
PARENT = "parent"


def request_job(
    session: Session,
    principal: Principal,
    model: str,
    dataset: str,
    *,
    dataset_version: int | None = None,
    weights: str = SCRATCH,
    parent_version: int | None = None,
    parameters: TrainingParameters | None = None,
    tags: Mapping[str, str] | None = None,
) -> TrainingJob:
    """Queue a training of `model` on a dataset version (the newest where none is named).

    Raises:
        NotFoundError: model, dataset or parent version do not exist.
        ConflictError: the dataset's classes are not the model's.
        InvalidError: the weights cannot be started from.
        ForbiddenError: a .pt file is named by somebody who is no administrator.
    """
    require(principal, Role.OPERATOR)
    target = registry.get_model(session, principal, model)
    version = datasets.get_version(session, principal, dataset, dataset_version)
    registry.check_classes(target, version.class_names)
    if weights == PARENT:
        parent_version = _parent(session, principal, model, parent_version)
    elif parent_version is not None:
        raise InvalidError(
            "parent_version is given, and weights is not `parent`", "give weights: parent"
        )
    parameters = parameters or TrainingParameters()
    _check_weights(principal, weights, parameters)
    job = TrainingJob(
        id=uuid.uuid4().hex,
        model=model,
        dataset=dataset,
        dataset_version=version.number,
        weights=weights,
        parent_version=parent_version,
        parameters=parameters.model_dump(mode="json"),
        tags=dict(tags or {}),
        state=JobState.QUEUED.value,
        progress={},
        created_at=time.time(),
        created_by=principal.name,
    )
    session.add(job)
    access.audit(
        session, principal, "training.start", f"training/{job.id}",
        model=model, dataset=f"{dataset}/{version.number}", weights=weights,
    )  # fmt: skip
    session.flush()
    return job


def get_job(session: Session, principal: Principal, job_id: str) -> TrainingJob:
    """The training of an id, or the only one whose id begins so; raises as `jobs.service.get`."""
    require(principal, Role.VIEWER)
    job = session.get(TrainingJob, job_id)
    if job is not None:
        return job
    found = queries.by_prefix(session, job_id, 2) if PREFIX.fullmatch(job_id) else []
    if not found:
        raise NotFoundError(f"there is no training job {job_id}", "`argosy train list` shows them")
    return only_one(found, job_id)


def list_jobs(
    session: Session,
    principal: Principal,
    state: JobState | None,
    before: float | None,
    limit: int,
) -> Sequence[TrainingJob]:
    require(principal, Role.VIEWER)
    return queries.jobs(session, state, before, limit)


def cancel(session: Session, principal: Principal, job_id: str) -> TrainingJob:
    """Cancel a queued job at once, or have the runner end a running one.

    Raises:
        ConflictError: the job has ended already.
    """
    require(principal, Role.OPERATOR)
    job = get_job(session, principal, job_id)
    if JobState(job.state) in TERMINAL_JOB_STATES:
        raise ConflictError(f"training job {job.id} is {job.state} already", "nothing to cancel")
    job.cancel_requested = True
    if job.state == JobState.QUEUED.value:
        move(job, JobEvent.CANCEL_REQUESTED)
    session.add(job)
    access.audit(session, principal, "training.cancel", f"training/{job.id}")
    return job


def claim_next(session: Session) -> TrainingJob | None:
    """The job that has waited longest, now RUNNING; None where none waits."""
    job = queries.next_queued(session)
    if job is not None:
        move(job, JobEvent.STARTED)
        session.add(job)
    return job


def fail_begun(session: Session) -> None:
    """Fail what a stop of the hub cut off; queued jobs just go on waiting."""
    for job in queries.begun(session):
        move(job, JobEvent.ERROR)
        job.error = "the hub stopped during the job; nothing was registered: start it again"
        session.add(job)


def move(job: TrainingJob, event: JobEvent) -> None:
    """Advance the job and note the time. Raises ConflictError where it does not take that."""
    try:
        state = advance(JOB_TABLE, JobState(job.state), event)
    except IllegalEvent as error:
        raise ConflictError(f"training job {job.id}: {error}", "read its state again") from error
    job.state, now = state.value, time.time()
    if event is JobEvent.STARTED:
        job.started_at = now
    elif event is JobEvent.TRAINED:
        job.training_ended_at = now
    elif state in TERMINAL_JOB_STATES:
        job.ended_at = now


def _parent(session: Session, principal: Principal, model: str, number: int | None) -> int:
    """The version to start from: the one named, or the newest."""
    newest = registry.newest_version(session, model)
    if number is None and newest == 0:
        raise InvalidError(
            f"model {model} has no version to start from", "give weights: scratch, or a .pt file"
        )
    parent = registry.get_version(session, principal, model, number or newest)
    if parent.weights_format != "pt":
        raise InvalidError(
            f"version {parent.number} of {model} was imported as ONNX, which cannot be trained",
            "give weights: scratch, or a .pt file, or another parent_version",
        )
    return parent.number


def _check_weights(principal: Principal, weights: str, parameters: TrainingParameters) -> None:
    if weights == SCRATCH and parameters.epochs == 0:
        raise InvalidError(
            "epochs is 0 and there are no weights to take as they are",
            "give at least one epoch, or weights: parent or a .pt file",
        )
    if weights == SCRATCH and parameters.freeze:
        raise InvalidError(
            "freeze keeps layers as they were, and scratch has none yet",
            "give weights: parent or a .pt file, or leave freeze out",
        )
    if weights not in (SCRATCH, PARENT):
        # It is opened behind a fence and by names that are known, and still it is a program.
        require(principal, Role.ADMINISTRATOR)
        _check_checkpoint(Path(weights))


def _check_checkpoint(path: Path) -> None:
    if path.suffix != ".pt" or not path.is_absolute() or not path.is_file():
        raise InvalidError(
            f"{path} is no checkpoint on the hub's machine",
            "give `scratch`, `parent`, or the absolute path of a .pt file of a YOLO26 detector",
        )
