"""API shapes of rollouts. Wrong plans are refused here, by field, with the remedy."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cloud.registry.schemas import ResolutionView
from protocol import maintenance
from protocol.chunks import Sha256
from protocol.messages import DeviceId, MaintenanceWindow, ShadowPolicy, Word

WAVES_MAX = 100
SELECTED_MAX = 100_000
Labels = dict[Word, Annotated[str, Field(max_length=128)]]
TimerS = Annotated[float, Field(gt=0, le=30 * 86_400)]
TOTAL_TIMEOUT_S = 3600.0
WINDOW_WAIT_S = 8 * 86_400.0
"""What a window adds to the total time where none is given: one a week comes within it."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Selector(_Body):
    """Which of the model's devices: those for which all that is given holds."""

    devices: list[DeviceId] | None = Field(default=None, max_length=SELECTED_MAX)
    sites: list[Word] | None = Field(default=None, max_length=1000)
    labels: Labels = Field(default_factory=dict, max_length=64)


class WaveAsked(_Body):
    """One stage: up to `percent` of all devices, `count` more, or those with `labels`."""

    percent: float | None = Field(default=None, gt=0, le=100)
    count: int | None = Field(default=None, ge=1)
    labels: Labels | None = Field(default=None, min_length=1, max_length=64)

    @model_validator(mode="after")
    def _one(self) -> WaveAsked:
        if sum(x is not None for x in (self.percent, self.count, self.labels)) != 1:
            raise ValueError("a wave is one of percent, count, labels; give exactly one")
        return self


class ShadowAsked(ShadowPolicy):
    """How the candidate is compared with the incumbent on live frames before it may serve."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def _not_yet(self) -> ShadowAsked:
        if self.accepted:
            raise ValueError(
                "accepted: a shadow is accepted when it has ended without a verdict; leave it "
                "out, and see `argosy rollout accept`"
            )
        return self


class WindowAsked(_Body):
    """When devices may exchange: from each time of `cron` on, for `duration_s`.

    Without `time_zone` each device goes by the clock of its site.
    """

    cron: Word
    duration_s: float = Field(gt=0, le=7 * 86_400)
    time_zone: Word | None = None

    @model_validator(mode="after")
    def _comes(self) -> WindowAsked:
        window = MaintenanceWindow.model_validate(self.model_dump(exclude_none=True))
        if wrong := maintenance.check(window):
            raise ValueError(wrong)
        return self


class RolloutCreate(_Body):
    """A rollout of a version's builds, or of the one build that `bundle_digest` names.

    Devices that the waves leave over form a last wave; without waves all go at once.
    """

    model: Word
    version: int | None = Field(default=None, ge=1)
    bundle_digest: Sha256 | None = None
    name: str = Field(default="", max_length=128)
    selector: Selector = Selector()
    waves: list[WaveAsked] = Field(default_factory=list, max_length=WAVES_MAX)
    soak_s: float = Field(default=0.0, ge=0, le=30 * 86_400)
    success_percent: float = Field(default=100.0, ge=0, le=100)
    failed_max: int = Field(default=0, ge=0)
    probation_s: float = Field(default=10.0, ge=0, le=86_400)
    step_timeout_s: TimerS = 900.0
    total_timeout_s: TimerS = TOTAL_TIMEOUT_S
    attempts_max: int = Field(default=3, ge=1, le=100)
    needs_approval: bool = False
    shadow: ShadowAsked | None = None
    window: WindowAsked | None = None
    site_atomic: bool = False
    timeout_s: TimerS | None = None

    @model_validator(mode="after")
    def _time_for_waits(self) -> RolloutCreate:
        """Where no total time is given, add what shadow and window may take."""
        shadow_s = self.shadow.duration_max_s if self.shadow else 0.0
        if "total_timeout_s" not in self.model_fields_set:
            self.total_timeout_s += shadow_s + (WINDOW_WAIT_S if self.window else 0.0)
        elif self.total_timeout_s <= shadow_s:
            raise ValueError(
                f"total_timeout_s: {self.total_timeout_s:g} would end devices in their shadow of "
                f"up to {shadow_s:g} s; raise it or lower shadow.duration_max_s"
            )
        if self.timeout_s is not None and self.timeout_s > self.total_timeout_s:
            raise ValueError(
                f"timeout_s: {self.timeout_s:g} is above total_timeout_s "
                f"({self.total_timeout_s:g}), by which the hub ends a device; lower it"
            )
        return self

    @model_validator(mode="after")
    def _plausible(self) -> RolloutCreate:
        if (self.version is None) == (self.bundle_digest is None):
            raise ValueError("give exactly one of version and bundle_digest")
        reached = 0.0
        for number, wave in enumerate(self.waves):
            if wave.percent is None:
                continue
            if wave.percent <= reached:
                raise ValueError(
                    f"waves.{number}.percent: {wave.percent:g} is not above {reached:g}, which an "
                    "earlier wave reaches; percents count all devices so far: let them rise"
                )
            reached = wave.percent
        if self.total_timeout_s < self.step_timeout_s:
            raise ValueError(
                f"total_timeout_s: {self.total_timeout_s:g} is below step_timeout_s "
                f"({self.step_timeout_s:g}); raise it or lower step_timeout_s"
            )
        if self.step_timeout_s <= self.probation_s:
            raise ValueError(
                f"step_timeout_s: {self.step_timeout_s:g} would end devices in their probation of "
                f"{self.probation_s:g} s; raise it or lower probation_s"
            )
        return self


class WaveView(BaseModel):
    """A wave with its number of devices and their latest states."""

    percent: float | None = None
    count: int | None = None
    labels: dict[str, str] | None = None
    devices: int
    counts: dict[str, int]


class ExecutionView(BaseModel):
    """A device's attempt.

    by_hand: somebody at the device went back from what had succeeded, or gave it up.
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


class RolloutSummary(BaseModel):
    """A rollout in a list. `wave` is the index in `waves` of the one that is open."""

    id: str
    name: str
    model: str
    version: int
    state: str
    outcome: str | None
    reason: str
    wave: int
    created_at: float
    created_by: str
    ended_at: float | None


class RolloutView(RolloutSummary):
    """A rollout with its waves; `executions` holds every attempt, the first 1000."""

    selector: dict[str, Any]
    builds: list[dict[str, Any]]
    soak_s: float
    success_percent: float
    failed_max: int
    probation_s: float
    step_timeout_s: float
    total_timeout_s: float
    attempts_max: int
    shadow: dict[str, Any] | None
    window: dict[str, Any] | None
    site_atomic: bool
    timeout_s: float | None
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
