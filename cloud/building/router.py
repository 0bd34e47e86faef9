"""HTTP of building: further builds of a version."""

from __future__ import annotations

from fastapi import APIRouter

from cloud.building import service
from cloud.building.schemas import BuildsCreate
from cloud.building.targets import NAMES
from cloud.building.worker_router import DeskDep
from cloud.database import after_commit
from cloud.dependencies import PrincipalDep, SessionDep
from cloud.jobs.router import JobsDep
from cloud.jobs.schemas import JobView
from cloud.registry.schemas import Number

router = APIRouter(tags=["builds"])


@router.get("/targets")
def list_targets(principal: PrincipalDep) -> list[str]:
    """The names of what can be built for."""
    del principal  # any token will do
    return list(NAMES)


@router.post("/models/{name}/versions/{number}/builds", status_code=202)
def request_builds(
    name: str,
    number: Number,
    *,
    body: BuildsCreate,
    session: SessionDep,
    principal: PrincipalDep,
    runner: JobsDep,
    desk: DeskDep,
) -> JobView:
    """Make builds of a version, evaluate and register them; a job does it. Where it needs a
    GPU worker and none was heard of, `progress.stage` says so."""
    asked = body.model_dump()
    job = service.request_builds(session, principal, name, number, **asked, unheard=desk.unheard())
    after_commit(session, runner.wake)
    return JobView.of(job)
