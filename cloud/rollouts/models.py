"""Tables of rollouts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel

from protocol.states import ExecutionState


def _json() -> Any:
    return Column(JSON, nullable=False)


class Rollout(SQLModel, table=True):
    """A staged change of what a set of devices runs in one slot.

    Attributes:
        builds: `{digest, manifest_bytes, identity}`, the preferred first.
        spec: a `spec.RolloutSpec` as JSON: how it goes. Its waves are complete: where the ones
            that were asked for left devices over, a last one is `{"count": n}` of them.
        priority: of the spec, to select by.
        wave: index of the wave that is open; earlier ones are too.
        asks: what a person has been asked and has not answered (`states.Asks`), or None.
        approved_waves: indices of the waves that a person has let begin.
        reverting: it stops, and brings back what its devices had before.
        watched: the engine looks at it: it is open, or its devices may yet diverge.
        revision: goes up whenever something of it changed that the engine did not do itself.
    """

    __tablename__ = "rollout"

    id: str = Field(primary_key=True)
    name: str
    model: str = Field(index=True)
    version: int
    builds: list[dict[str, Any]] = Field(sa_column=_json())
    spec: dict[str, Any] = Field(sa_column=_json())
    priority: int = 0
    state: str
    outcome: str | None = None
    reason: str = ""
    wave: int = 0
    asks: str | None = None
    approved_waves: list[int] = Field(default_factory=list, sa_column=_json())
    reverting: bool = False
    watched: bool = Field(default=True, index=True)
    revision: int = 0
    created_at: float = Field(index=True)
    created_by: str
    ended_at: float | None = None


class Execution(SQLModel, table=True):
    """One device's passage through one attempt of a rollout.

    Attributes:
        started_at: None until its wave opens. Times are the hub's,
        exchanged_at, device_ended_at: but for these two, the device's own.
        before: what the device had of the slot before this rollout, as JSON text of a
            `SlotDesired`: what was desired, or the build that really served in its place.
        held: the device was told to wait in PREPARED for its site,
        released_at: and was given the word to go on.
        shadow: a shadow's verdict that a person is asked about, or has accepted.
        by_hand: somebody at the device went back from what had succeeded, or gave it up.
        reverts: this attempt brings back what was there before the rollout.
        figures: what the device has measured on the way, of all its reports.
        boots: how often the device had been seen to start when this attempt began.
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
    exchanged_at: float | None = None
    device_ended_at: float | None = None
    acknowledged: bool = False
    diverged: bool = False
    before: str | None = None
    held: bool = False
    released_at: float | None = None
    shadow: str = ""
    by_hand: bool = False
    reverts: bool = False
    figures: dict[str, float] = Field(default_factory=dict, sa_column=_json())
    boots: int = 0

    def following(self, now: float, **own: Any) -> Execution:
        """A further attempt on the same device, which waits; `own` is what it has of its own."""
        values: dict[str, Any] = {"before": self.before, **own}
        return Execution(
            rollout_id=self.rollout_id,
            device_id=self.device_id,
            attempt=self.attempt + 1,
            wave=self.wave,
            state=ExecutionState.QUEUED.value,
            step_at=now,
            **values,
        )


class RolloutGate(SQLModel, table=True):
    """One look at the gate of a wave, with the figures that its verdict rests on.

    Attributes:
        settled: the wave had ended and soaked, so that a PASS lets the rollout go on.
        figures: a `gates.GateResult` as JSON.
        answered_by: who let the wave pass all the same; at `answered_at`, saying `remark`.
    """

    __tablename__ = "rollout_gate"

    rollout_id: str = Field(primary_key=True, foreign_key="rollout.id")
    wave: int = Field(primary_key=True)
    look: int = Field(primary_key=True)
    at: float
    settled: bool
    verdict: str
    reason: str
    figures: dict[str, Any] = Field(sa_column=_json())
    answered_by: str | None = None
    answered_at: float | None = None
    remark: str = ""


class RolloutEntry(SQLModel, table=True):
    """The rollout's journal, append-only: what the engine and people did, and why.

    Attributes:
        kind: `created`, `approved`, `wave`, `gate`, `asked`, `paused`, `resumed`, `accepted`,
            `forced`, `aborted`, `cancelled`, `diverged`, `joined`, `retried`, `superseded`,
            `finished`, `stopped`, `pinned`, `unpinned`; of `retried` and `superseded` there is
            one for all devices of one transaction, with their count.
        detail: what belongs to that kind, in JSON.
    """

    __tablename__ = "rollout_entry"

    id: int | None = Field(default=None, primary_key=True)
    rollout_id: str = Field(foreign_key="rollout.id", index=True)
    at: float
    by: str
    kind: str
    wave: int | None = None
    device_id: str | None = None
    text: str = ""
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=_json())


class DevicePin(SQLModel, table=True):
    """A slot that a person holds at one build: no rollout touches it.

    Attributes:
        before: as of an `Execution`, before the pin.
    """

    __tablename__ = "device_pin"

    device_id: str = Field(primary_key=True, foreign_key="device.id")
    model: str = Field(primary_key=True)
    digest: str
    version: int
    before: str | None = None
    by: str
    at: float
    remark: str = ""


class Lease(SQLModel, table=True):
    """Who alone may act for a while."""

    __tablename__ = "lease"

    name: str = Field(primary_key=True)
    owner: str
    expires_at: float
