"""What the planner sees, and what it answers: plain values."""

from __future__ import annotations

from dataclasses import dataclass

from cloud.registry.resolution import BuildOffer
from cloud.rollouts.request.bodies import Reaction
from cloud.rollouts.states import FAILURES, UNCOUNTED, Asks, Outcome, RolloutState
from protocol.builds import Capabilities
from protocol.messages import MaintenanceWindow
from protocol.states import (
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class PacePolicy:
    """See `spec.Pace`; rates are devices a minute."""

    base_per_minute: float
    factor: float = 1.0
    after_succeeded: int = 10
    per_minute_max: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorPolicy:
    """See `spec.ErrorThreshold`; `kinds` are terminal states, DIVERGED is told apart."""

    kinds: frozenset[str]
    percent: float
    executed_min: int
    then: Reaction


@dataclass(frozen=True, slots=True)
class WavePolicy:
    """What a wave asks for before the next one; see `spec.WaveAsked`."""

    soak_s: float = 0.0
    success_percent: float = 100.0
    needs_approval: bool = False
    gated: bool = True


@dataclass(frozen=True, slots=True)
class GateTimes:
    """When a gate is looked at, what follows on FAIL, and from when on a person is asked."""

    every_s: float = 30.0
    deadline_s: float = 3600.0
    on_fail: Reaction = "revert"


@dataclass(frozen=True, slots=True)
class Policy:
    """A rollout's rules and timers.

    waves: one for each wave, in their order.
    failed_max: failures that are tolerated; one more pauses. None: `errors` alone decide.
    attempts_max: attempts for a device that diverges again and again.
    retries: further attempts for a device that ended in one of `retry_kinds`.
    site_atomic: a site's devices of a wave are exchanged at one word, when all are prepared.
    continuous: it never finishes by itself.
    gate: None where no wave is gated.
    """

    waves: tuple[WavePolicy, ...] = (WavePolicy(),)
    pace: PacePolicy | None = None
    in_flight_max: int | None = None
    failed_max: int | None = 0
    errors: tuple[ErrorPolicy, ...] = ()
    retries: int = 0
    retry_after_s: float = 300.0
    retry_kinds: frozenset[ExecutionState] = frozenset()
    step_timeout_s: float = 900.0
    total_timeout_s: float = 3600.0
    attempts_max: int = 3
    site_atomic: bool = False
    continuous: bool = False
    gate: GateTimes | None = None


@dataclass(frozen=True, slots=True)
class GateView:
    """The last look at the open wave's gate.

    settled_at: since when the wave has all that its verdict may rest on (its soak's end); None
        while it has not. The deadline counts from there.
    answered: a person has let the wave pass without a PASS.
    """

    wave: int
    verdict: Verdict | None = None
    looked_at: float | None = None
    settled_at: float | None = None
    answered: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RolloutView:
    """The rollout as the planner sees it; `wave` counts from 0, `builds` are the ones that it
    may give out, in any order.

    reverting: it stops, and its devices go back to what they had before.
    asks: what a person has been asked and has not answered yet.
    approved_waves: those that a person has let begin.
    stopped_by: why it stops, for the devices' reasons.
    heard_since: since when whatever devices say has come to the hub, in Unix seconds; None while
        nothing does. Only what came to nothing since can be taken for silence.
    """

    state: RolloutState
    wave: int
    waves: int
    builds: tuple[BuildOffer, ...]
    policy: Policy
    gate: GateView | None = None
    asks: Asks | None = None
    approved_waves: frozenset[int] = frozenset()
    reverting: bool = False
    stopped_by: str = "the rollout was cancelled"
    heard_since: float | None = 0.0


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device's latest execution in this rollout, and what the fleet knows of it.

    Times are the hub's, in Unix seconds. `started_at` is None until its wave starts.
    digest: the build that this execution brings; None until it starts.
    owned: the device's desired slot names this rollout; also said of attempts that have ended.
    newer: another rollout for the same slot outranks this one at the device.
    acknowledged: a person has gone on although it failed, or diverged.
    pinned: a person has pinned the slot to a build.
    running_digest: what a report made after the execution's end says that it runs.
    held: it was told to wait in PREPARED for its site; `released`: and then to go on.
    vetoed: its line says "not now"; `window`: when one that is held may be exchanged.
    online: it is connected; `heard_at` is its last word of any kind.
    inconclusive: its shadow ended without a verdict, and nobody has accepted that yet.
    by_hand: somebody at the device went back from what had succeeded; `by_hand_marked`: and
        the execution says so.
    reverts: this attempt brings back what was there before the rollout.
    return_digest: the build that it had before; None: none is known.
    no_return: why it cannot go back to that, in words.
    """

    device_id: str
    wave: int
    attempt: int
    state: ExecutionState
    started_at: float | None = None
    step_at: float = 0.0
    ended_at: float | None = None
    digest: str | None = None
    owned: bool = False
    newer: bool = False
    pinned: bool = False
    acknowledged: bool = False
    diverged: bool = False
    running_digest: str | None = None
    capabilities: Capabilities | None = None
    site: str | None = None
    held: bool = False
    released: bool = False
    vetoed: bool = False
    window: MaintenanceWindow | None = None
    online: bool = False
    heard_at: float | None = None
    inconclusive: bool = False
    by_hand: bool = False
    by_hand_marked: bool = False
    reverts: bool = False
    return_digest: str | None = None
    no_return: str = ""

    @property
    def open(self) -> bool:
        return self.state not in TERMINAL_EXECUTION_STATES

    @property
    def failed(self) -> bool:
        """Whether it failed and nobody has acknowledged that. A shadow without a verdict
        is no failure, also where time ran out over it."""
        unanswered = self.inconclusive and self.state is ExecutionState.TIMED_OUT
        return self.state in FAILURES and not self.acknowledged and not unanswered

    @property
    def counted(self) -> bool:
        """Whether a wave's gate counts it."""
        return self.state not in UNCOUNTED and (self.failed or self.state not in FAILURES)


@dataclass(frozen=True, slots=True)
class StartExecution:
    """Set the device's desired slot to this build; with `hold` to wait for its site.

    reverts: the build is what the device had before; its policies of old are kept.
    """

    device_id: str
    attempt: int
    digest: str
    hold: bool = False
    reverts: bool = False


@dataclass(frozen=True, slots=True)
class NoWayBack:
    """Make an attempt to go back that ends at once and says why there is none: the device keeps
    the build."""

    device_id: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class EndExecution:
    """End the device's attempt by the hub's own event, and withdraw what it desired."""

    device_id: str
    attempt: int
    event: ExecutionEvent
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """Give all these devices of a site the word to exchange, in one transaction."""

    site: str
    device_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MarkDiverged:
    """The device runs another build than this attempt's success says."""

    device_id: str
    attempt: int
    reason: str
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class NextWave:
    wave: int


@dataclass(frozen=True, slots=True)
class LookAtGate:
    """Judge the wave's gate by what has been measured, and store the verdict.

    settled: the wave is done and soaked, so that a PASS lets it go on.
    """

    wave: int
    settled: bool


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Hold until a person answers."""

    asks: Asks
    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    reason: str


@dataclass(frozen=True, slots=True)
class Abort:
    """Give up what has not been exchanged; with `revert` bring back what was before, too."""

    reason: str
    revert: bool


@dataclass(frozen=True, slots=True)
class Finish:
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Stop:
    """Everything that was open when the rollout was stopped has ended.

    reverted, left: devices that are back at what they had, and that are not. Where nothing was
        to be brought back, `left` is those that keep the build.
    """

    reverted: int = 0
    left: int = 0


Action = (
    StartExecution
    | NoWayBack
    | EndExecution
    | Release
    | MarkDiverged
    | NextWave
    | LookAtGate
    | AskPerson
    | Pause
    | Abort
    | Finish
    | Stop
)
