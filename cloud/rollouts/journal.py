"""A rollout's journal: what people and the engine did, and why. Append-only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from cloud.rollouts.models import Rollout, RolloutEntry

BY_ENGINE = "engine"
"""Who did what no person did."""


def note(
    session: Session,
    rollout: Rollout,
    kind: str,
    *,
    by: str,
    now: float,
    text: str = "",
    wave: int | None = None,
    device_id: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> RolloutEntry:
    """Add an entry, in the transaction of what it tells of; `kind` is one of `RolloutEntry`'s.

    by: the principal's name, or `BY_ENGINE`. now: Unix seconds by the hub's clock.
    """
    entry = RolloutEntry(
        rollout_id=rollout.id,
        at=now,
        by=by,
        kind=kind,
        wave=wave,
        device_id=device_id,
        text=text,
        detail=dict(detail or {}),
    )
    session.add(entry)
    return entry
