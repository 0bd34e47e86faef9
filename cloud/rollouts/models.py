"""Tables of rollouts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel


def _json() -> Any:
    return Column(JSON, nullable=False)


def _json_or_null() -> Any:
    return Column(JSON(none_as_null=True), nullable=True)


class Rollout(SQLModel, table=True):
    """A staged change of what a set of devices runs in one slot.

    Attributes:
        builds: `{digest, manifest_bytes, identity}`, the preferred first.
        waves: as they were asked for, the rest of the devices last.
        wave: index of the wave that is open; earlier ones are too.
        shadow, window: how a candidate is compared first, and when it may be exchanged; a
            window without `time_zone` goes by the clock of each device's site.
        site_atomic: devices of a site wait in PREPARED for each other.
        timeout_s: what a device gives the whole attempt; None leaves it to the device.
        watched: the engine looks at it: it is open, or its devices may yet diverge.
    """

    __tablename__ = "rollout"

    id: str = Field(primary_key=True)
    name: str
    model: str = Field(index=True)
    version: int
    builds: list[dict[str, Any]] = Field(sa_column=_json())
    selector: dict[str, Any] = Field(sa_column=_json())
    waves: list[dict[str, Any]] = Field(sa_column=_json())
    soak_s: float
    success_percent: float
    failed_max: int
    probation_s: float
    step_timeout_s: float
    total_timeout_s: float
    attempts_max: int
    shadow: dict[str, Any] | None = Field(default=None, sa_column=_json_or_null())
    window: dict[str, Any] | None = Field(default=None, sa_column=_json_or_null())
    site_atomic: bool = False
    timeout_s: float | None = None
    state: str
    outcome: str | None = None
    reason: str = ""
    wave: int = 0
    watched: bool = Field(default=True, index=True)
    created_at: float = Field(index=True)
    created_by: str
    ended_at: float | None = None


class Execution(SQLModel, table=True):
    """One device's passage through one attempt of a rollout.

    Attributes:
        started_at: None until its wave opens. Times are the hub's,
        device_ended_at: but for this one, the device's own.
        before: the slot's desired state that this rollout replaced, as JSON text.
        held: the device was told to wait in PREPARED for its site,
        released_at: and was given the word to go on.
        shadow: a shadow's verdict that a person is asked about, or has accepted.
        by_hand: somebody at the device went back from what had succeeded, or gave it up.
    """

    __tablename__ = "execution"

    rollout_id: str = Field(primary_key=True, foreign_key="rollout.id")
    device_id: str = Field(primary_key=True, foreign_key="device.id", index=True)
    attempt: int = Field(primary_key=True)
    wave: int
    state: str
    reason: str = ""
    digest: str | None = None
    started_at: float | None = None
    step_at: float
    ended_at: float | None = None
    device_ended_at: float | None = None
    acknowledged: bool = False
    diverged: bool = False
    before: str | None = None
    held: bool = False
    released_at: float | None = None
    shadow: str = ""
    by_hand: bool = False


class Lease(SQLModel, table=True):
    """Who alone may act for a while."""

    __tablename__ = "lease"

    name: str = Field(primary_key=True)
    owner: str
    expires_at: float
