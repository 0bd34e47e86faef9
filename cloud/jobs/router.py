"""HTTP of jobs: /jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse

from cloud.database import after_commit
from cloud.dependencies import LimitDep, Page, PrincipalDep, SessionDep, page
from cloud.jobs import service
from cloud.jobs.runner import JobRunner
from cloud.jobs.schemas import JobView
from cloud.jobs.states import JobState

router = APIRouter(prefix="/jobs", tags=["jobs"])


def runner_of(request: Request) -> JobRunner:
    runner: JobRunner = request.app.state.jobs
    return runner


JobsDep = Annotated[JobRunner, Depends(runner_of)]


@router.get("")
def list_jobs(
    session: SessionDep,
    principal: PrincipalDep,
    *,
    kind: str | None = None,
    state: JobState | None = None,
    subject: str | None = None,
    cursor: float | None = None,
    limit: LimitDep = 100,
) -> Page[JobView]:
    rows = service.list_jobs(
        session, principal, kind=kind, state=state, subject=subject, before=cursor, limit=limit
    )
    items = [JobView.of(row) for row in rows]
    return page(items, limit, repr(items[-1].created_at) if items else "")


@router.get("/{job_id}")
def get_job(job_id: str, session: SessionDep, principal: PrincipalDep) -> JobView:
    return JobView.of(service.get(session, principal, job_id))


@router.post("/{job_id}/cancel")
def cancel(job_id: str, session: SessionDep, principal: PrincipalDep) -> JobView:
    return JobView.of(service.cancel(session, principal, job_id))


@router.post("/{job_id}/retry")
def retry(job_id: str, session: SessionDep, principal: PrincipalDep, runner: JobsDep) -> JobView:
    job = service.retry(session, principal, job_id)
    after_commit(session, runner.wake)
    return JobView.of(job)


@router.get("/{job_id}/log")
def get_log(
    job_id: str, session: SessionDep, principal: PrincipalDep, runner: JobsDep
) -> PlainTextResponse:
    """The end of what the job wrote."""
    return PlainTextResponse(runner.read_log(service.get(session, principal, job_id)))
