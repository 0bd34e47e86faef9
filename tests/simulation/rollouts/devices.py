"""A device as a fleet has them: slow, away, failing, lying, taken back by hand.

It acts on the state that is desired of it, whatever it missed on the way there, and goes on
saying where it stands, for what it said may have been lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from protocol import maintenance
from protocol.messages import MaintenanceWindow
from protocol.states import BEFORE_EXCHANGE, TERMINAL_EXECUTION_STATES, ExecutionState
from tests.simulation.rollouts.builds import DIGEST, OTHER

_S = ExecutionState
PATH = (
    *(_S.DOWNLOADING, _S.DOWNLOADED, _S.VERIFIED, _S.PROVING, _S.PREPARED),
    *(_S.SWAPPING, _S.PROBATION, _S.COMMITTING, _S.SUCCEEDED),
)
ROLLOUT = "this rollout"
SAYS_AGAIN_S = 60.0
SAYS_AGAIN_S_MAX = 900.0
LOSSES_MAX = 6
AWAY_S = {"losing": (60.0, 400.0, 3000.0), "flapping": (5.0, 20.0, 60.0)}


@dataclass(frozen=True, slots=True)
class Slot:
    """What is desired of a device, and by whom; `attempt` is the rollout's."""

    digest: str
    owner: str
    attempt: int = 0
    hold: bool = False
    shadow: bool = False
    accepted: bool = False
    window: MaintenanceWindow | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        return self.digest, self.owner, self.attempt


@dataclass(frozen=True, slots=True)
class Message:
    """What a device says: the state of its attempt, and what it runs."""

    device_id: str
    made_at: float
    attempt: int
    digest: str
    state: ExecutionState | None
    running: str
    by_hand: bool = False
    asks: bool = False


@dataclass(slots=True)
class Edge:
    """A device.

    Attributes:
        kind: what it does with an attempt.
        heard: what it was last told; it hears nothing while it is away.
        path: states that it will pass in its attempt, `position` of them done.
        exchanges: when it exchanged builds, and under which slot.
    """

    device_id: str
    kind: str
    rng: Random
    step_s: float
    running: str = OTHER
    heard: Slot | None = None
    path: tuple[ExecutionState, ...] = ()
    position: int = 0
    previous: str = OTHER
    away_until: float = 0.0
    vetoed_until: float = 0.0
    losses: int = 0
    by_hand: bool = False
    rests_s: float = SAYS_AGAIN_S
    next_wake: float = 0.0
    exchanges: list[tuple[float, Slot]] = field(default_factory=list)

    @property
    def state(self) -> ExecutionState | None:
        return self.path[self.position - 1] if self.position else None

    @property
    def busy(self) -> bool:
        """Between the exchange and its end nothing else is taken up."""
        state = self.state
        return (
            state is not None
            and state not in TERMINAL_EXECUTION_STATES
            and state not in BEFORE_EXCHANGE
        )

    def is_online(self, now: float) -> bool:
        return self.kind != "silent" and now >= self.away_until

    def wake(self, now: float, desired: Slot | None) -> list[Message]:
        """Hear, work a step, say where it stands."""
        self._lose(now)
        online = self.is_online(now)
        if online:
            self._hear(desired)
        moved = self._work(now)
        busy = self.heard is not None and self.position < len(self.path)
        if moved:
            self.rests_s = self.step_s if busy else SAYS_AGAIN_S
        else:
            self.rests_s = min(self.rests_s * 2, SAYS_AGAIN_S if busy else SAYS_AGAIN_S_MAX)
        self.next_wake = now + self.rests_s * self.rng.uniform(0.5, 1.5)
        if not online:
            self.next_wake = min(max(self.away_until, now + self.step_s), self.next_wake)
            return []
        return [self._say(now)]

    def _lose(self, now: float) -> None:
        away_s = AWAY_S.get(self.kind)
        if away_s is None or self.losses >= LOSSES_MAX or not self.is_online(now):
            return
        if self.rng.random() < 0.15:
            self.losses += 1
            self.away_until = now + self.rng.choice(away_s)

    def _hear(self, desired: Slot | None) -> None:
        if desired is self.heard or self.busy:
            return
        known, self.heard = self.heard, desired
        if desired is None:
            self.path, self.position = (), 0
        elif known is None or known.key != desired.key:
            self.by_hand = False
            self.path, self.position = self._path_for(desired), 0

    def _path_for(self, desired: Slot) -> tuple[ExecutionState, ...]:
        if desired.digest == self.running:
            return (_S.SUCCEEDED,)
        before = list(PATH[:4])
        if desired.shadow:
            before.append(_S.SHADOWING)
        if desired.window is not None:
            before.append(_S.WAITING_WINDOW)
        whole = (*before, *PATH[4:])
        earlier = desired.digest == OTHER
        broken: dict[str, tuple[ExecutionState, ...]] = {
            "hung": whole[: self.rng.randrange(1, 4)],
            "flaky": (*whole[: self.rng.randrange(1, len(before))], _S.FAILED),
        }
        spoiled: dict[str, tuple[ExecutionState, ...]] = {
            "failing": (*whole[:-2], _S.ROLLING_BACK, _S.ROLLED_BACK),
            "rejecting": (*PATH[:2], _S.REJECTED),
            "refusing": (*PATH[:3], _S.CANCELED),
        }
        if self.kind == "flaky" and (desired.owner != ROLLOUT or self.rng.random() < 0.4):
            return whole
        return broken.get(self.kind) or (whole if earlier else spoiled.get(self.kind, whole))

    def _work(self, now: float) -> bool:
        desired = self.heard
        if desired is None or self.position >= len(self.path) or self._waits(now, desired):
            return self._go_back() if desired is not None else False
        if self.kind == "slow" and self.rng.random() < 0.6:
            return False
        self.position += 1
        match self.state:
            case _S.SWAPPING:
                self.exchanges.append((now, desired))
            case _S.PROBATION:
                self.previous, self.running = self.running, desired.digest
            case _S.ROLLED_BACK:
                self.running = self.previous
        return True

    def _waits(self, now: float, desired: Slot) -> bool:
        """Whether it waits for its site, its line, a person, or its window."""
        window = desired.window
        shut = window is not None and not maintenance.is_open(window, now)
        match self.state:
            case _S.SHADOWING:
                return self.asks(desired)
            case _S.WAITING_WINDOW:
                return shut
            case _S.PREPARED:
                return desired.hold or shut or self.is_vetoed(now)
        return False

    def is_vetoed(self, now: float) -> bool:
        """Whether its line says "not now"."""
        return now < self.vetoed_until

    def asks(self, desired: Slot) -> bool:
        """Whether its shadow has ended without a verdict, and nobody has accepted that."""
        return self.kind == "unsure" and not desired.accepted

    def _go_back(self) -> bool:
        """What runs may change without a word: by a hand, or by a fault."""
        if self.state is not _S.SUCCEEDED or self.kind not in ("lying", "returned"):
            return False
        if self.running != DIGEST or self.rng.random() < 0.5:
            return False
        self.running, self.by_hand = OTHER, self.kind == "returned"
        return True

    def _say(self, now: float) -> Message:
        heard = self.heard
        mine = heard is not None and heard.owner == ROLLOUT
        return Message(
            self.device_id,
            now,
            heard.attempt if heard is not None and mine else 0,
            heard.digest if heard is not None and mine else "",
            self.state if mine else None,
            self.running,
            self.by_hand,
            heard is not None and self.state is _S.SHADOWING and self.asks(heard),
        )
