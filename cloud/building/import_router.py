"""HTTP of imports: /models/{name}/import."""

from __future__ import annotations

from fastapi import APIRouter, Request

from cloud.building import importing
from cloud.building.importing import ImportRequest
from cloud.database import after_commit
from cloud.dependencies import PrincipalDep, SessionDep
from cloud.jobs.schemas import JobView

router = APIRouter(tags=["models"])


@router.post("/models/{name}/import", status_code=202)
def import_model(
    name: str, body: ImportRequest, request: Request, session: SessionDep, principal: PrincipalDep
) -> JobView:
    """Import an outside ONNX file or, for administrators, a checkpoint; a job does it."""
    job = importing.request(session, principal, name, body)
    after_commit(session, request.app.state.jobs.wake)
    return JobView.of(job)
