"""A small seeded world for the planner: devices that are late, silent, failing or odd.

The world carries actions out as the service does, checks at every step what must never
happen, and lets devices report late, twice and out of order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from cloud.registry.resolution import BuildOffer
from cloud.rollouts.planner import DIVERGED_GRACE_S, plan
from cloud.rollouts.states import (
    HUB_EXECUTION_TABLE,
    ROLLOUT_TABLE,
    Outcome,
    RolloutEvent,
    RolloutState,
    receive,
)
from cloud.rollouts.views import (
    Action,
    DeviceView,
    EndExecution,
    Finish,
    MarkDiverged,
    NextWave,
    Pause,
    Policy,
    Release,
    RolloutView,
    StartExecution,
    Stop,
    WavePolicy,
)
from protocol.machine import advance
from protocol.states import (
    BEFORE_EXCHANGE,
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
)
from tests.simulation.rollouts.builds import ABLE, DIGEST, IDENTITY, OTHER, UNABLE

LOSSES_MAX = 4

_S = ExecutionState
PATH = (
    *(_S.DOWNLOADING, _S.DOWNLOADED, _S.VERIFIED, _S.PROVING, _S.PREPARED),
    *(_S.SWAPPING, _S.PROBATION, _S.COMMITTING, _S.SUCCEEDED),
)
FAILING_PATH = (*PATH[:7], ExecutionState.ROLLING_BACK, ExecutionState.ROLLED_BACK)


@dataclass
class Edge:
    """A device: what it will do with an attempt, and reports that are under way.

    Attributes:
        hold: what it was last told; it hears nothing before `back_at`.
        told_hold: what its desired state says, heard or not; None: nothing is desired.
    """

    kind: str
    path: tuple[ExecutionState, ...] = ()
    position: int = 0
    attempt: int = 0
    outbox: list[tuple[int, ExecutionState]] = field(default_factory=list)
    hold: bool = False
    told_hold: bool | None = None
    back_at: float = 0.0
    losses: int = 0

    @property
    def state(self) -> ExecutionState:
        return self.path[self.position - 1] if self.position else ExecutionState.QUEUED

    @property
    def exchanged(self) -> bool:
        return self.state not in BEFORE_EXCHANGE


@dataclass
class World:
    """`devices` and `edges` go by device id; times are in seconds."""

    rng: Random
    rollout: RolloutView
    devices: dict[str, DeviceView]
    edges: dict[str, Edge]
    now: float = 1_000_000.0
    outcome: Outcome | None = None
    started: set[tuple[str, int]] = field(default_factory=set)
    released: set[str] = field(default_factory=set)

    def tick(self) -> list[Action]:
        """One look of the engine: plan, check, carry out; planning is idempotent."""
        views = list(self.devices.values())
        actions = plan(self.rollout, views, self.now)
        # A hub that is killed between plan and act plans the same again.
        assert actions == plan(self.rollout, views, self.now)
        for action in actions:
            self._carry_out(action)
        return actions

    def rests(self) -> bool:
        """Whether every device has ended, and none that diverged may yet be tried again."""
        return not any(view.open or self._is_tried_again(view) for view in self.devices.values())

    def _is_tried_again(self, view: DeviceView) -> bool:
        standing = self.rollout.state is RolloutState.FINISHED and view.owned and not view.newer
        left = view.attempt < self.rollout.policy.attempts_max and not view.by_hand
        return standing and left and view.running_digest == OTHER

    def settle(self) -> None:
        """Tick until the planner waits; it must come to rest."""
        for _ in range(self.rollout.waves + 6):
            if not self.tick():
                return
        raise AssertionError("the planner does not come to rest")

    def _carry_out(self, action: Action) -> None:
        match action:
            case StartExecution():
                self._start(action)
            case EndExecution():
                self._end(action)
            case Release():
                self._release(action)
            case MarkDiverged(device_id=device_id, by_hand=by_hand):
                marked = {"diverged": True, "by_hand_marked": by_hand}
                self._change(device_id, step_at=self.now, **marked)
            case NextWave(wave=wave):
                self._check_gate(wave)
                self.rollout = replace(self.rollout, wave=wave)
            case Pause():
                self._move(RolloutEvent.PAUSED)
            case Finish(outcome=outcome):
                self.outcome = outcome
                self._move(RolloutEvent.COMPLETED)
            case Stop():
                self._move(RolloutEvent.EMPTIED)

    def _start(self, action: StartExecution) -> None:
        key = (action.device_id, action.attempt)
        view = self.devices[action.device_id]
        assert key not in self.started, f"{key} started twice"
        assert self.rollout.state in (RolloutState.RUNNING, RolloutState.FINISHED)
        assert view.wave <= self.rollout.wave, f"{key} is of a later wave"
        assert action.attempt <= self.rollout.policy.attempts_max
        assert view.capabilities is not UNABLE
        if action.attempt > 1:
            assert self.now - view.step_at >= DIVERGED_GRACE_S
            assert not view.by_hand, "who went back by hand was overruled"
        self.started.add(key)
        self.devices[action.device_id] = DeviceView(
            device_id=view.device_id,
            wave=view.wave,
            attempt=action.attempt,
            state=ExecutionState.QUEUED,
            started_at=self.now,
            step_at=self.now,
            digest=action.digest,
            owned=True,
            capabilities=view.capabilities,
            site=view.site,
            held=action.hold,
            online=view.online,
            heard_at=view.heard_at,
            by_hand=view.by_hand,
        )
        edge = self.edges[action.device_id]
        edge.attempt, edge.position = action.attempt, 0
        edge.hold = edge.told_hold = action.hold
        edge.path = FAILING_PATH if edge.kind == "failing" else PATH

    def _end(self, action: EndExecution) -> None:
        view = self.devices[action.device_id]
        assert view.attempt == action.attempt
        state = advance(HUB_EXECUTION_TABLE, view.state, action.event)
        late = view.released and action.event is ExecutionEvent.TIMER_EXPIRED
        self._change(action.device_id, state=state, ended_at=self.now, owned=late)
        if not late:
            self.edges[action.device_id].told_hold = None

    def _release(self, action: Release) -> None:
        """The word to a site: once for each device, and only when all are there to hear it."""
        there = [d for d in self.devices.values() if d.site == action.site and d.open]
        wave = {self.devices[name].wave for name in action.device_ids}
        assert len(wave) == 1
        waiting = [d for d in there if d.wave in wave and not d.released and d.attempt == 1]
        assert {d.device_id for d in waiting} == set(action.device_ids)
        assert all(d.state is ExecutionState.PREPARED and d.online for d in waiting)
        assert not self.released & set(action.device_ids), "the word was given twice"
        assert sum(d.failed for d in self.devices.values()) <= (self.rollout.policy.failed_max or 0)
        self.released |= set(action.device_ids)
        for device_id in action.device_ids:
            self._change(device_id, held=False, released=True)
            self.edges[device_id].told_hold = False

    def _check_gate(self, wave: int) -> None:
        """No next wave before the gate: enough of the counted succeeded, and soaked."""
        policy = self.rollout.policy
        assert wave == self.rollout.wave + 1
        there = [d for d in self.devices.values() if d.wave == wave - 1 and d.counted]
        counted = [d for d in there if not (self._is_odd(d) and d.acknowledged)]
        succeeded = [
            d for d in counted if d.state is ExecutionState.SUCCEEDED and not self._is_odd(d)
        ]
        assert len(succeeded) * 100 >= policy.waves[wave - 1].success_percent * len(counted)
        assert all(self.now - (d.ended_at or 0) >= policy.waves[wave - 1].soak_s for d in succeeded)
        assert sum(d.failed for d in self.devices.values()) <= (policy.failed_max or 0)

    def _is_odd(self, view: DeviceView) -> bool:
        return view.owned and not view.newer and view.running_digest == OTHER

    def _move(self, event: RolloutEvent) -> None:
        self.rollout = replace(
            self.rollout, state=advance(ROLLOUT_TABLE, self.rollout.state, event)
        )

    def _change(self, device_id: str, **values: Any) -> None:
        self.devices[device_id] = replace(self.devices[device_id], **values)

    def step_devices(self) -> None:
        """Devices work on and report; some reports are late, repeated or out of order."""
        for device_id, edge in sorted(self.edges.items()):
            if not self._there(device_id, edge):
                continue
            self._work(edge)
            for _ in range(self.rng.randrange(3)):
                if edge.outbox:
                    self._deliver(device_id, edge)

    def _there(self, device_id: str, edge: Edge) -> bool:
        """Whether the device is connected; one that loses itself is away for a while, and
        hears what it is told only then. One that is away works on."""
        if edge.kind == "losing" and edge.losses < LOSSES_MAX and self.rng.random() < 0.15:
            edge.losses += 1
            edge.back_at = self.now + self.rng.choice([20.0, 200.0, 2000.0])
        online = self.now >= edge.back_at
        heard_at = self.now if online else self.devices[device_id].heard_at
        self._change(device_id, online=online, heard_at=heard_at)
        if online:
            self._hear(edge)
        else:
            self._work(edge)
        return online

    def _hear(self, edge: Edge) -> None:
        if self.rollout.policy.site_atomic and edge.told_hold is None and not edge.exchanged:
            edge.path = edge.path[: edge.position]  # given up before the exchange
        edge.hold = bool(edge.told_hold)

    def _work(self, edge: Edge) -> None:
        if edge.kind == "silent" or edge.position >= len(edge.path):
            return
        if edge.kind == "slow" and self.rng.random() < 0.7:
            return
        if edge.hold and edge.state is ExecutionState.PREPARED:
            return
        edge.outbox.append((edge.attempt, edge.path[edge.position]))
        edge.position += 1

    def _deliver(self, device_id: str, edge: Edge) -> None:
        index = 0 if self.rng.random() < 0.8 else self.rng.randrange(len(edge.outbox))
        attempt, reported = edge.outbox[index]
        if self.rng.random() < 0.8:
            edge.outbox.pop(index)
        view = self.devices[device_id]
        if attempt != view.attempt:
            return
        state = receive(view.state, reported)
        if state is view.state:
            return
        assert view.state not in TERMINAL_EXECUTION_STATES, "a terminal state moved"
        ended = self.now if state in TERMINAL_EXECUTION_STATES else None
        self._change(device_id, state=state, step_at=self.now, ended_at=ended)
        if ended is not None:
            done = state is ExecutionState.SUCCEEDED
            odd = edge.kind in ("odd", "returned")
            running = (OTHER if odd else DIGEST) if done else None
            by_hand = done and edge.kind == "returned"
            self._change(device_id, owned=done, running_digest=running, by_hand=by_hand)

    def resume(self) -> None:
        """A person acknowledges the failures and goes on."""
        for device_id, view in self.devices.items():
            if view.failed or self._is_odd(view):
                self._change(device_id, acknowledged=True)
        self._move(RolloutEvent.RESUMED)

    def cancel(self) -> None:
        self._move(RolloutEvent.CANCEL_REQUESTED)

    def supersede(self, share: float) -> None:
        """A newer rollout takes some of the devices."""
        for device_id in sorted(self.devices):
            if self.rng.random() < share:
                self._change(device_id, newer=True)


KINDS = ("good", "good", "good", "slow", "failing", "silent", "odd", "unable")


def build_world(
    seed: int, kinds: tuple[str, ...] = KINDS, *, sites: tuple[str | None, ...] = ()
) -> World:
    """A world of up to 24 devices in up to 4 waves; `seed` decides everything. With `sites`
    the rollout is site-atomic."""
    rng = Random(seed)
    waves = rng.randint(1, 4)
    policy = Policy(
        waves=(WavePolicy(rng.choice([0.0, 30.0]), rng.choice([50.0, 80.0, 100.0])),) * waves,
        failed_max=rng.choice([0, 1, 5]),
        step_timeout_s=rng.choice([60.0, 300.0]),
        total_timeout_s=600.0,
        site_atomic=bool(sites),
    )
    devices, edges = {}, {}
    for number in range(rng.randint(1, 24)):
        device_id, kind = f"dev-{number:02}", rng.choice(kinds)
        devices[device_id] = DeviceView(
            device_id=device_id,
            wave=rng.randrange(waves),
            attempt=1,
            state=ExecutionState.QUEUED,
            capabilities=UNABLE if kind == "unable" else rng.choice([ABLE, None]),
            site=rng.choice(sites) if sites else None,
        )
        edges[device_id] = Edge(kind)
    builds = (BuildOffer(DIGEST, IDENTITY),)
    rollout = RolloutView(RolloutState.RUNNING, 0, waves, builds, policy)
    return World(rng, rollout, devices, edges)
