"""A seeded world around the real planner: devices, a network, people, and a hub that is killed
between a plan and its end. Time goes from event to event; the engine looks every few seconds."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from random import Random

from cloud.rollouts.planning.views import DeviceView
from cloud.rollouts.states import RolloutState
from tests.simulation.rollouts.devices import Edge, Message
from tests.simulation.rollouts.hub import Hub
from tests.simulation.rollouts.people import People
from tests.simulation.rollouts.rules import Rules

ROUNDS_MAX = 24
CONVERGED_AFTER_S = 20_000.0
STEP_S_MAX = 240.0


@dataclass(frozen=True, slots=True)
class Faults:
    """Chances: of a message's loss, repetition and delay, and of the hub's end in mid action."""

    lost: float = 0.0
    twice: float = 0.0
    late: float = 0.0
    killed: float = 0.0
    planned_twice: float = 0.0


@dataclass(slots=True)
class World:
    """`events` holds what comes next: a device that wakes, a message that arrives."""

    rng: Random
    hub: Hub
    people: People
    faults: Faults
    rules: Rules
    steps_s: tuple[float, ...] = (1.0, 5.0, 20.0)
    joining: list[str] = field(default_factory=list)
    events: list[tuple[float, int, str | Message]] = field(default_factory=list)
    ticks: int = 0
    _number: count[int] = field(default_factory=count)
    _rest_s: float = 1.0

    def begin(self) -> None:
        """Let every device wake for the first time."""
        for device_id, edge in self.hub.edges.items():
            if edge.kind != "silent":
                self._wake_at(edge, self.hub.now + self.rng.uniform(0.0, 30.0))
                self.hub.touched.add(device_id)

    def tick(self) -> None:
        """Time goes on, people act, the engine looks."""
        self.ticks += 1
        step_s = self.rng.choice(self.steps_s) * self._rest_s
        moved = self.go_on(min(step_s, STEP_S_MAX))
        self.people.act(self.hub)
        self._join()
        acted = self.engine()
        self._rest_s = 1.0 if moved or acted else self._rest_s * 1.5

    def go_on(self, seconds: float) -> bool:
        """Everything that happens in the next seconds; whether anything was said."""
        until, moves = self.hub.now + seconds, self.hub.moves
        self._wake_who_was_told()
        while self.events and self.events[0][0] <= until:
            at, _, event = heapq.heappop(self.events)
            self.hub.now = max(self.hub.now, at)
            if isinstance(event, Message):
                self.hub.receive(event)
            elif self.hub.edges[event].next_wake == at:
                self._wake(self.hub.edges[event])
        self.hub.now = until
        return self.hub.moves > moves

    def engine(self) -> bool:
        """Look, plan, act until nothing follows, or until the hub is killed."""
        for round_number in range(ROUNDS_MAX):
            actions = self.hub.plan()
            if self.rng.random() < self.faults.planned_twice:
                assert actions == self.hub.plan()
            self.rules.before(actions)
            survives = self.rng.random() >= self.faults.killed
            done = actions if survives else actions[: self.rng.randint(0, len(actions))]
            for action in done:
                self.hub.say(action)
                self.hub.act(action)
            if self.rng.random() < self.faults.planned_twice:
                for action in done:  # a second engine, with the plan of before
                    self.hub.act(action)
            if not actions or not survives:
                self.rules.after()
                return round_number > 0
        raise AssertionError("the planner does not come to rest")

    def has_ended(self) -> bool:
        """Whether nothing more can follow but what a person might do."""
        hub = self.hub
        if hub.rollout.state is RolloutState.STOPPED:
            return True
        if hub.rollout.state is not RolloutState.FINISHED:
            return False
        return not any(self._may_be_brought_again(view) for view in hub.views())

    def _may_be_brought_again(self, view: DeviceView) -> bool:
        taken = view.newer or view.pinned or not view.owned or view.by_hand
        left = view.attempt < self.hub.rollout.policy.attempts_max
        odd = view.running_digest not in (None, view.digest)
        return odd and not taken and (left or not view.diverged)

    def converge(self) -> None:
        """Every device but the silent ones comes back, works, and hears what is desired."""
        for edge in self.hub.edges.values():
            if edge.kind != "silent":
                edge.kind = "good"
                edge.away_until = 0.0
                self._wake_at(edge, self.hub.now + 1.0)
        self.go_on(CONVERGED_AFTER_S)

    def _join(self) -> None:
        """A device comes to fit a continuous rollout."""
        ended = self.hub.rollout.state in (RolloutState.STOPPING, RolloutState.STOPPED)
        if self.joining and not ended and self.rng.random() < 0.2:
            device_id = self.joining.pop()
            self.hub.say(f"{device_id} joins")
            self.hub.add(device_id, self.hub.rollout.waves - 1)

    def _wake_at(self, edge: Edge, at: float) -> None:
        edge.next_wake = at
        heapq.heappush(self.events, (at, next(self._number), edge.device_id))

    def _wake_who_was_told(self) -> None:
        for device_id in self.hub.woken:
            edge = self.hub.edges[device_id]
            at = self.hub.now + self.rng.uniform(0.1, 3.0)
            if edge.kind != "silent" and edge.next_wake > at:
                self._wake_at(edge, at)
        self.hub.woken.clear()

    def _wake(self, edge: Edge) -> None:
        hub, known = self.hub, len(edge.exchanges)
        for message in edge.wake(hub.now, hub.slots[edge.device_id]):
            self._send(message)
        for at, slot in edge.exchanges[known:]:
            self.rules.exchanged(edge.device_id, at, slot)
        hub.touched.add(edge.device_id)
        self._wake_at(edge, edge.next_wake)
        if hub.woken:
            self._wake_who_was_told()

    def _send(self, message: Message) -> None:
        copies = 1 + (self.rng.random() < self.faults.twice)
        for _ in range(copies):
            if self.rng.random() < self.faults.lost:
                continue
            slow = self.rng.random() < self.faults.late
            delay_s = self.rng.uniform(5.0, 90.0) if slow else 0.05
            heapq.heappush(self.events, (self.hub.now + delay_s, next(self._number), message))
