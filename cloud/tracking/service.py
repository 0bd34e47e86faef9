"""Verbs of the mirror: what is mirrored, and what failed."""

from __future__ import annotations

from sqlmodel import Session

from cloud.access.principal import Principal, Role, require
from cloud.registry.models import ModelVersion
from cloud.tracking import queries
from cloud.tracking.models import TrackedVersion
from cloud.tracking.schemas import MirrorState, TrackedView, TrackingView


def status(
    session: Session, principal: Principal, server: str | None, *, after: int, limit: int
) -> TrackingView:
    """Every version with how far its mirror on `server` is, a page by ids after `after`."""
    require(principal, Role.VIEWER)
    total, mirrored, failing = queries.counts(session, server or "")
    rows = {row.version_id: row for row in queries.tracked(session, server or "")}
    found = queries.versions(session, after, limit) if server is not None else []
    items = [_view(version, rows.get(version.id or 0)) for version in found]
    return TrackingView(
        server=server,
        versions=total,
        mirrored=mirrored,
        failing=failing,
        items=items,
        next=items[-1].id if len(items) == limit else None,
    )


def _view(version: ModelVersion, row: TrackedVersion | None) -> TrackedView:
    known = {} if row is None else row.model_dump(include=set(TrackedView.model_fields))
    return TrackedView(
        id=version.id, model=version.model, number=version.number, state=_state(row), **known
    )


def _state(row: TrackedVersion | None) -> MirrorState:
    if row is None:
        return MirrorState.PENDING
    if row.failures:
        return MirrorState.FAILED
    return MirrorState.MIRRORED if row.content_sha256 else MirrorState.PENDING
