"""HTTP of training: /training/jobs, and the rebuild of a version."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse

from cloud.database import after_commit
from cloud.dependencies import LimitDep, Page, PrincipalDep, SessionDep, page
from cloud.jobs.schemas import JobView as LongJobView
from cloud.registry.schemas import Number
from cloud.training import rebuild, service
from cloud.training.runner import TrainingRunner
from cloud.training.schemas import JobCreate, JobView
from cloud.training.states import JobState

router = APIRouter(tags=["training"])
jobs = APIRouter(prefix="/training/jobs")


def runner_of(request: Request) -> TrainingRunner:
    runner: TrainingRunner = request.app.state.training
    return runner


RunnerDep = Annotated[TrainingRunner, Depends(runner_of)]


@jobs.post("", status_code=202)
def start(
    body: JobCreate, session: SessionDep, principal: PrincipalDep, runner: RunnerDep
) -> JobView:
    job = service.request_job(
        session,
        principal,
        body.model,
        body.dataset,
        dataset_version=body.dataset_version,
        weights=body.weights,
        parent_version=body.parent_version,
        parameters=body.parameters,
        tags=body.tags,
    )
    after_commit(session, runner.wake)
    return JobView.of(job)


@jobs.get("")
def list_jobs(
    session: SessionDep,
    principal: PrincipalDep,
    state: JobState | None = None,
    cursor: float | None = None,
    limit: LimitDep = 100,
) -> Page[JobView]:
    items = [JobView.of(j) for j in service.list_jobs(session, principal, state, cursor, limit)]
    return page(items, limit, repr(items[-1].created_at) if items else "")


@jobs.get("/{job_id}")
def get_job(job_id: str, session: SessionDep, principal: PrincipalDep) -> JobView:
    return JobView.of(service.get_job(session, principal, job_id))


@jobs.post("/{job_id}/cancel")
def cancel(job_id: str, session: SessionDep, principal: PrincipalDep) -> JobView:
    return JobView.of(service.cancel(session, principal, job_id))


@jobs.get("/{job_id}/log")
def get_log(
    job_id: str, session: SessionDep, principal: PrincipalDep, runner: RunnerDep
) -> PlainTextResponse:
    """The end of what the training wrote."""
    return PlainTextResponse(runner.read_log(service.get_job(session, principal, job_id)))


@router.post("/models/{name}/versions/{number}/rebuild", status_code=202)
def rebuild_version(
    name: str, number: Number, request: Request, session: SessionDep, principal: PrincipalDep
) -> LongJobView:
    """Train a version again from what is kept of it, and compare; registers nothing."""
    job = rebuild.request(session, principal, name, number)
    after_commit(session, request.app.state.jobs.wake)
    return LongJobView.of(job)


router.include_router(jobs)
