"""HTTP of the mirror: /tracking."""

from __future__ import annotations

from fastapi import APIRouter

from cloud.dependencies import LimitDep, PrincipalDep, SessionDep, SettingsDep
from cloud.tracking import service
from cloud.tracking.schemas import TrackingView

router = APIRouter(prefix="/tracking", tags=["tracking"])


@router.get("")
def get_status(
    session: SessionDep,
    principal: PrincipalDep,
    settings: SettingsDep,
    *,
    cursor: int = 0,
    limit: LimitDep = 100,
) -> TrackingView:
    """What is mirrored to the MLflow server, and what failed there and why."""
    server = settings.tracking.tracking_uri
    return service.status(session, principal, server, after=cursor, limit=limit)
