"""API shapes of the mirror."""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel


class MirrorState(str, Enum):
    """PENDING: not tried yet. FAILED: the last try failed; the next one comes by itself."""

    PENDING = "PENDING"
    MIRRORED = "MIRRORED"
    FAILED = "FAILED"


class TrackedView(BaseModel):
    id: int
    model: str
    number: int
    state: MirrorState
    run_id: str | None = None
    model_version: str | None = None
    failures: int = 0
    error: str | None = None
    at: float | None = None


class TrackingView(BaseModel):
    """The mirror as a whole; `server` is None where none is configured."""

    server: str | None
    versions: int
    mirrored: int
    failing: int
    items: list[TrackedView]
    next: int | None = None
