"""What a rollout is asked to be: a request's body, and a file of `argosy rollout start -f`.

Wrong plans are refused here, by the field's name, with the remedy, before anything moves.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from cloud.errors import refusal
from cloud.rollouts.gating.policy import GatePolicy
from cloud.rollouts.models import Rollout
from cloud.rollouts.request import contradictions, yaml_text
from cloud.rollouts.request.bodies import Body, DigestAsked, Percent, Reaction, Seconds
from protocol import maintenance
from protocol.messages import DeviceId, MaintenanceWindow, ShadowPolicy, Word

TEMPLATE_NAME = "rollout.yaml"
SHOWN_BY = "`argosy rollout template` shows every field with what it takes"
WAVES_MAX = 100
SELECTED_MAX = 100_000
SELECTOR_CHARACTERS_MAX = 4096
TOTAL_TIMEOUT_S = 3600.0
WINDOW_WAIT_S = 8 * 86_400.0
"""What a window adds to the total time where none is given: one a week comes within it."""
RETRY_AFTER_S_MIN = 60.0
"""Pace counts the starts of the last minute, of which an attempt must not hide an earlier one."""

TimerS = Annotated[float, Field(gt=0, le=30 * 86_400)]
SelectorText = Annotated[str, Field(max_length=SELECTOR_CHARACTERS_MAX)]
FailureKind = Literal["FAILED", "ROLLED_BACK", "TIMED_OUT", "REJECTED", "DIVERGED"]


class WaveAsked(Body):
    """One stage: up to `percent` of all devices, `count` more, or those that `selector` names.

    Attributes:
        soak_s, success_percent: for this wave, where not the rollout's own.
        needs_approval: a person opens it.
        gated: False: the quality gates do not hold this wave.
    """

    percent: float | None = Field(default=None, gt=0, le=100)
    count: int | None = Field(default=None, ge=1)
    selector: SelectorText | None = Field(default=None, min_length=1)
    soak_s: Seconds | None = None
    success_percent: Percent | None = None
    needs_approval: bool = False
    gated: bool = True

    @model_validator(mode="after")
    def _one(self) -> WaveAsked:
        if sum(x is not None for x in (self.percent, self.count, self.selector)) != 1:
            raise ValueError("a wave is one of percent, count, selector; give exactly one")
        return self


class Pace(Body):
    """How many devices are started a minute. Exponential, as AWS IoT jobs have it: the rate grows
    by `factor` each time that `after_succeeded` more devices have succeeded.

    Attributes:
        base_per_minute: at the start, and all the time where `factor` is 1.
        per_minute_max: never more than this in any 60 s.
    """

    base_per_minute: float = Field(gt=0, le=100_000)
    factor: float = Field(default=1.0, ge=1.0, le=10.0)
    after_succeeded: int = Field(default=10, ge=1, le=SELECTED_MAX)
    per_minute_max: float | None = Field(default=None, gt=0, le=100_000)

    @model_validator(mode="after")
    def _rises(self) -> Pace:
        if self.per_minute_max is not None and self.per_minute_max < self.base_per_minute:
            raise ValueError(
                f"per_minute_max: {self.per_minute_max:g} is below base_per_minute "
                f"({self.base_per_minute:g}); raise it or lower base_per_minute"
            )
        return self


class ErrorThreshold(Body):
    """What follows once more than `percent` of the devices that were executed, at least
    `executed_min` of them, have ended in one of `kinds`."""

    kinds: list[FailureKind] = Field(min_length=1, max_length=5)
    percent: Percent
    executed_min: int = Field(default=1, ge=1, le=SELECTED_MAX)
    then: Reaction = "pause"


class Retries(Body):
    """How often a device that ended in one of `kinds` is tried again, and after how long.

    A build that was REJECTED or ROLLED_BACK was found wanting: it is not tried again.
    """

    count: int = Field(default=0, ge=0, le=20)
    after_s: float = Field(default=300.0, ge=RETRY_AFTER_S_MIN, le=7 * 86_400)
    kinds: list[Literal["FAILED", "TIMED_OUT"]] = Field(
        default=["FAILED", "TIMED_OUT"], min_length=1, max_length=2
    )


class ShadowAsked(ShadowPolicy, Body):
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


class WindowAsked(Body):
    """When devices may exchange: from each time of `cron` on, for `duration_s`.

    Without `time_zone` each device goes by the clock of its site.
    """

    cron: Word
    duration_s: float = Field(gt=0, le=7 * 86_400)
    time_zone: Word | None = None

    @model_validator(mode="after")
    def _comes(self) -> WindowAsked:
        if wrong := maintenance.check(self.on_clock("UTC")):
            raise ValueError(wrong)
        return self

    def on_clock(self, time_zone: str) -> MaintenanceWindow:
        """The window on its own clock, where it names one, else on that of `time_zone`."""
        return MaintenanceWindow(
            cron=self.cron, duration_s=self.duration_s, time_zone=self.time_zone or time_zone
        )


class RolloutSpec(Body):
    """How a rollout goes, whatever it brings.

    Devices that the waves leave over form a last wave; without waves all go at once.

    Attributes:
        failed_max: failures that are tolerated; one more pauses. None: `errors` alone decide.
        in_flight_max: devices that are under way at one time, at most.
        priority: of rollouts that want one device's slot the highest has it, of equal ones the
            newest.
        continuous: it does not finish; a device that comes to fit joins the last wave.
        gates: what each wave has to show of how well the new build sees; None: nothing.
        attempts_max: attempts for a device that diverges again and again.
    """

    name: str = Field(default="", max_length=128)
    remark: str = Field(default="", max_length=2048)
    selector: SelectorText = ""
    devices: list[DeviceId] | None = Field(default=None, max_length=SELECTED_MAX)
    waves: list[WaveAsked] = Field(default_factory=list, max_length=WAVES_MAX)
    pace: Pace | None = None
    in_flight_max: int | None = Field(default=None, ge=1, le=SELECTED_MAX)
    soak_s: Seconds = 0.0
    success_percent: Percent = 100.0
    failed_max: int | None = Field(default=0, ge=0)
    errors: list[ErrorThreshold] = Field(default_factory=list, max_length=10)
    retries: Retries = Retries()
    probation_s: float = Field(default=10.0, ge=0, le=86_400)
    step_timeout_s: TimerS = 900.0
    total_timeout_s: TimerS = TOTAL_TIMEOUT_S
    attempts_max: int = Field(default=3, ge=1, le=100)
    needs_approval: bool = False
    shadow: ShadowAsked | None = None
    window: WindowAsked | None = None
    site_atomic: bool = False
    timeout_s: TimerS | None = None
    priority: int = Field(default=0, ge=-1000, le=1000)
    continuous: bool = False
    gates: GatePolicy | None = None

    @model_validator(mode="after")
    def _time_for_waits(self) -> RolloutSpec:
        """Where no total time is given, add what shadow and window may take."""
        if "total_timeout_s" not in self.model_fields_set:
            shadow_s = self.shadow.duration_max_s if self.shadow else 0.0
            self.total_timeout_s += shadow_s + (WINDOW_WAIT_S if self.window else 0.0)
        return self


class RolloutCreate(RolloutSpec):
    """A rollout of a version's builds, or of the one build that `bundle_digest` names.

    bundle_digest: the whole of it, or as many of its first digits as name one build only.
    """

    model: Word
    version: int | None = Field(default=None, ge=1)
    bundle_digest: DigestAsked | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> RolloutCreate:
        if self.version is None and self.bundle_digest is None:
            raise ValueError("version: it is missing; name one, or one build by bundle_digest")
        if self.version is not None and self.bundle_digest is not None:
            raise ValueError("version: bundle_digest names a build, too; give one of them")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> RolloutCreate:
        contradictions.check(self)
        return self


def spec_of(rollout: Rollout) -> RolloutSpec:
    """The rules of a stored rollout. They were checked when it was made, by the rules of then."""
    return RolloutSpec.model_validate(rollout.spec)


def read_spec(text: str) -> RolloutCreate:
    """The rollout that a YAML file describes; JSON is YAML too.

    Raises InvalidError: too large, no YAML, with aliases, or not what a rollout is; it names
    the line or the field, and the remedy.
    """
    values = yaml_text.mapping(text)
    try:
        return RolloutCreate.model_validate(values)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False), SHOWN_BY) from error


def template() -> str:
    """A file for `read_spec` with every field, and a comment on each."""
    return files("cloud.rollouts.request").joinpath(TEMPLATE_NAME).read_text(encoding="utf-8")
