"""What the hub answers about rollouts; what it is asked is in `spec`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from cloud.registry.schemas import ResolutionView


class WaveView(BaseModel):
    """A wave with its number of devices and their latest states."""

    percent: float | None = None
    count: int | None = None
    selector: str | None = None
    soak_s: float | None = None
    success_percent: float | None = None
    needs_approval: bool = False
    gated: bool = True
    devices: int
    counts: dict[str, int]


class ExecutionView(BaseModel):
    """A device's attempt.

    by_hand: somebody at the device went back from what had succeeded, or gave it up.
    reverts: it brings back what was there before the rollout.
    held, released_at: it was told to wait for its site, and when it was told to go on.
    shadow: INCONCLUSIVE where a person is asked, ACCEPTED where one has answered.
    waits_for: what it waits for, in words; "" where it works.
    """

    device: str
    attempt: int
    wave: int
    state: str
    reason: str
    updated_at: float
    started_at: float | None
    ended_at: float | None
    digest: str | None
    diverged: bool
    by_hand: bool
    held: bool
    released_at: float | None
    shadow: str
    waits_for: str
    reverts: bool
    exchanged_at: float | None
    figures: dict[str, float]


class RolloutSummary(BaseModel):
    """A rollout in a list. `wave` is the index in `waves` of the one that is open; `asks` what a
    person is asked: APPROVAL, WAVE or GATE."""

    id: str
    name: str
    model: str
    version: int
    state: str
    outcome: str | None
    reason: str
    wave: int
    asks: str | None
    reverting: bool
    priority: int
    created_at: float
    created_by: str
    ended_at: float | None


class RolloutView(RolloutSummary):
    """A rollout with its rules and its waves; `executions` holds every attempt, the first 1000."""

    builds: list[dict[str, Any]]
    spec: dict[str, Any]
    approved_waves: list[int]
    waves: list[WaveView]
    counts: dict[str, int]
    executions: list[ExecutionView]


class DevicePlan(ResolutionView):
    """What one device would get, and in which wave."""

    wave: int


class RolloutPlan(BaseModel):
    """What a rollout would bring to whom; `no_artifact` counts devices that get nothing."""

    model: str
    version: int
    no_artifact: int
    unheard: int
    devices: list[DevicePlan]

    @classmethod
    def of(cls, model: str, version: int, devices: list[DevicePlan]) -> RolloutPlan:
        return cls(
            model=model,
            version=version,
            no_artifact=sum(device.digest is None for device in devices),
            unheard=sum(not device.heard for device in devices),
            devices=devices,
        )


class RolloutCreated(RolloutView):
    """A new rollout, with the build that each device gets or the reason why it gets none."""

    plan: RolloutPlan
