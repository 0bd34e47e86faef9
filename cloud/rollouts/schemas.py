"""What the hub answers about rollouts; what it is asked is in `spec`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from cloud.plain_text import plain
from cloud.registry.schemas import ResolutionView
from cloud.rollouts.request.bodies import Body, DigestAsked
from cloud.rollouts.states import Asks

RemarkText = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=2048), AfterValidator(plain)
]


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
    """A rollout with its rules and its waves; `executions` holds every attempt, the first 1000,
    and of those beyond them the ones in shadow."""

    builds: list[dict[str, Any]]
    spec: dict[str, Any]
    approved_waves: list[int]
    waves: list[WaveView]
    counts: dict[str, int]
    executions: list[ExecutionView]


class DevicePlan(ResolutionView):
    """What one device would get, and in which wave."""

    wave: int


class WavePlan(BaseModel):
    """A wave before it begins; see `RolloutPlan` for what is counted. `gated`: a gate judges it."""

    percent: float | None = None
    count: int | None = None
    selector: str | None = None
    needs_approval: bool = False
    gated: bool = False
    devices: int = 0
    no_artifact: int = 0
    unheard: int = 0
    offline: int = 0


class BuildPlan(BaseModel):
    """How many devices would get a build."""

    digest: str
    target: str
    devices: int = 0


class PinnedPlan(BaseModel):
    """A device that is left out, for somebody holds it at a build."""

    device: str
    digest: str
    version: int
    by: str
    remark: str


class RolloutPlan(BaseModel):
    """What a rollout would bring to whom.

    count: devices that are meant; `no_artifact` of them get nothing, `unheard` never said what
        they can run, `offline` are not connected. All counts are of all devices.
    doubts: what was asked for can be meant, and seldom is.
    pinned_count: devices beside these that are left out.
    devices, pinned: the first 1000 of each, devices without a build before the others.
    """

    model: str
    version: int
    count: int
    no_artifact: int
    unheard: int
    offline: int
    doubts: list[str]
    waves: list[WavePlan]
    builds: list[BuildPlan]
    pinned_count: int
    pinned: list[PinnedPlan]
    devices: list[DevicePlan]


class RolloutCreated(RolloutView):
    """A new rollout, with the build that each device gets or the reason why it gets none."""

    plan: RolloutPlan


class GateLook(BaseModel):
    """One look at a wave's gate; `figures` holds what its verdict rests on.

    settled: the wave had ended and soaked, so that a PASS lets the rollout go on.
    answered_by: who let the wave pass all the same.
    """

    wave: int
    look: int
    at: float
    settled: bool
    verdict: str
    reason: str
    figures: dict[str, Any]
    answered_by: str | None
    answered_at: float | None
    remark: str


class JournalEntry(BaseModel):
    """What was done, by whom, and why."""

    id: int
    at: float
    by: str
    kind: str
    wave: int | None
    device_id: str | None
    text: str
    detail: dict[str, Any]


class Remarked(Body):
    """A decision, with what its maker has to say."""

    remark: RemarkText = ""


class ApproveAsked(Remarked):
    """asks: the question that is answered, so that a request which is sent again answers no
    other; without it the one that stands is."""

    asks: Asks | None = None


class ForceAsked(Body):
    """Why the gate is passed over; it is needed.

    wave: the one that is gone past, from 0, so that a request which is sent again does nothing
        more. Without it the open one is, but for one that a force has just opened.
    """

    remark: RemarkText
    wave: int | None = Field(default=None, ge=0)


class AbortAsked(Remarked):
    """revert: bring back what each device had before; false: keep what has been exchanged."""

    revert: bool


class PinAsked(Remarked):
    """The build to hold a device at: a version's best for it, one build, or, where neither is
    given, what it runs now."""

    version: int | None = Field(default=None, ge=1)
    bundle_digest: DigestAsked | None = None

    @model_validator(mode="after")
    def _at_most_one(self) -> PinAsked:
        if self.version is not None and self.bundle_digest is not None:
            raise ValueError("version: bundle_digest names a build, too; give one of them")
        return self


class PinView(BaseModel):
    """A slot that a person holds at one build.

    running: the build that the device last said it runs; another one also where somebody there
        went back.
    """

    device: str
    model: str
    digest: str
    running: str | None
    version: int
    by: str
    at: float
    remark: str


class Unpinned(BaseModel):
    """restored: the build that the device goes back to; null: it keeps what it has, or has
    nothing, and `reason` says why."""

    device: str
    model: str
    restored: str | None
    reason: str
