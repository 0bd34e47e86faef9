"""The machine, led by whatever order of events Hypothesis finds: devices may say any state of
the table at any time, again, late and out of order, and people and gates anything they can."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloud.registry.resolution import BuildOffer
from cloud.rollouts.planning.views import (
    ErrorPolicy,
    GateTimes,
    PacePolicy,
    Policy,
    RolloutView,
    WavePolicy,
)
from cloud.rollouts.states import Asks, RolloutEvent, RolloutState
from protocol.states import ExecutionState, Verdict
from tests.simulation.rollouts.builds import ABLE, DIGEST, IDENTITY, OTHER, UNABLE
from tests.simulation.rollouts.devices import Edge, Message, Slot
from tests.simulation.rollouts.hub import BY_HAND, NEWER, PIN, Hub, asked_wave
from tests.simulation.rollouts.rules import Rules

NAMES = tuple(f"d{number}" for number in range(6))
DEVICES = st.sampled_from(NAMES)
ROUNDS_MAX = 24
REACTIONS = st.sampled_from(["pause", "abort", "revert"])
WAVES = st.builds(
    WavePolicy,
    soak_s=st.sampled_from([0.0, 60.0]),
    success_percent=st.sampled_from([50.0, 100.0]),
    needs_approval=st.booleans(),
    gated=st.booleans(),
)
ERRORS = st.builds(
    ErrorPolicy,
    kinds=st.sampled_from([frozenset({"FAILED"}), frozenset({"ROLLED_BACK", "DIVERGED"})]),
    percent=st.sampled_from([0.0, 40.0]),
    executed_min=st.integers(1, 3),
    then=REACTIONS,
)
POLICIES = st.builds(
    Policy,
    waves=st.lists(WAVES, min_size=1, max_size=3).map(tuple),
    pace=st.one_of(
        st.none(),
        st.builds(PacePolicy, st.sampled_from([0.5, 2.0]), st.just(2.0), st.just(2), st.just(4.0)),
    ),
    in_flight_max=st.sampled_from([None, 2, 4]),
    failed_max=st.sampled_from([0, 2, None]),
    errors=st.lists(ERRORS, max_size=2).map(tuple),
    retries=st.integers(0, 2),
    retry_after_s=st.just(60.0),
    retry_kinds=st.just(frozenset({ExecutionState.FAILED, ExecutionState.TIMED_OUT})),
    step_timeout_s=st.just(300.0),
    total_timeout_s=st.just(1500.0),
    attempts_max=st.integers(1, 3),
    site_atomic=st.booleans(),
    continuous=st.booleans(),
    gate=st.one_of(st.none(), st.builds(GateTimes, st.just(30.0), st.just(300.0), REACTIONS)),
)


class Machine(RuleBasedStateMachine):
    """One rollout over six devices."""

    @initialize(policy=POLICIES, waves=st.lists(st.integers(0, 2), min_size=6, max_size=6))
    def begin(self, policy: Policy, waves: list[int]) -> None:
        builds = (BuildOffer(DIGEST, IDENTITY),)
        view = RolloutView(RolloutState.RUNNING, 0, len(policy.waves), builds, policy)
        edges = {name: Edge(name, "good", Random(0), 1.0) for name in NAMES}
        self.verdict = Verdict.INCONCLUSIVE
        self.hub = Hub(
            view,
            edges,
            capabilities={n: UNABLE if n == "d5" else ABLE for n in NAMES},
            sites={n: "ulm" if n in NAMES[:3] else None for n in NAMES},
            judge=lambda _hub, _wave: self.verdict,
        )
        self.rules_of = Rules(self.hub)
        self.hub.slots = {name: Slot(OTHER, "what was before") for name in NAMES}
        for name, wave in zip(NAMES, waves, strict=True):
            self.hub.add(name, wave % len(policy.waves))

    @rule(killed_after=st.integers(0, 8), again=st.booleans())
    def engine(self, killed_after: int, again: bool) -> None:
        """It looks until nothing follows, or is killed in the middle of carrying out."""
        for _ in range(ROUNDS_MAX):
            actions = self.hub.plan()
            self.rules_of.before(actions)
            done = actions if killed_after == 0 else actions[:killed_after]
            for action in done + done * again:
                self.hub.act(action)
            if not actions or len(done) < len(actions):
                return
        raise AssertionError("the planner does not come to rest")

    @rule(seconds=st.sampled_from([1.0, 31.0, 61.0, 301.0, 1501.0]))
    def time_passes(self, seconds: float) -> None:
        self.hub.now += seconds
        self.hub.touched |= set(NAMES)

    @rule(
        device_id=DEVICES,
        state=st.sampled_from(ExecutionState),
        attempt=st.integers(1, 4),
        odd=st.booleans(),
        by_hand=st.booleans(),
        age_s=st.sampled_from([0.0, 45.0]),
    )
    def a_device_speaks(
        self,
        device_id: str,
        state: ExecutionState,
        attempt: int,
        odd: bool,
        by_hand: bool,
        age_s: float,
    ) -> None:
        row = self.hub.latest(device_id)
        digest = row.digest or DIGEST
        running = OTHER if odd else digest
        at = self.hub.now - age_s
        self.hub.receive(Message(device_id, at, attempt, digest, state, running, odd and by_hand))

    @rule(
        device_id=DEVICES,
        state=st.sampled_from([ExecutionState.PREPARED, ExecutionState.SUCCEEDED]),
    )
    def a_device_gets_on(self, device_id: str, state: ExecutionState) -> None:
        """The way that most take, which chance alone would seldom find."""
        row = self.hub.latest(device_id)
        waits = row.held and not row.released and state is ExecutionState.SUCCEEDED
        if row.started_at is not None and not waits:
            digest = row.digest or DIGEST
            self.hub.receive(Message(device_id, self.hub.now, row.attempt, digest, state, digest))

    @rule(device_id=DEVICES)
    def a_device_goes_away_or_comes_back(self, device_id: str) -> None:
        edge = self.hub.edges[device_id]
        edge.away_until = 0.0 if edge.away_until else float("inf")
        self.hub.touched.add(device_id)

    @rule(verdict=st.sampled_from(Verdict))
    def what_cameras_see_changes(self, verdict: Verdict) -> None:
        self.verdict = verdict

    @precondition(lambda self: self.hub.rollout.state is RolloutState.RUNNING)
    @rule()
    def a_person_pauses(self) -> None:
        self.hub.move(RolloutEvent.PAUSED)

    @precondition(lambda self: self.hub.rollout.state is RolloutState.PAUSED)
    @rule(force=st.booleans())
    def a_person_resumes(self, force: bool) -> None:
        if force:
            self.hub.answer()
        self.hub.resume()

    @precondition(lambda self: self.hub.rollout.asks is not None)
    @rule()
    def a_person_answers(self) -> None:
        rollout = self.hub.rollout
        self.hub.answer(wave=asked_wave(rollout) if rollout.asks is Asks.WAVE else None)

    @precondition(lambda self: self.under_way())
    @rule(revert=st.booleans())
    def a_person_gives_it_up(self, revert: bool) -> None:
        self.hub.abort("a person gave it up", revert=revert)

    @rule(device_id=DEVICES)
    def a_person_pins_or_unpins(self, device_id: str) -> None:
        if device_id in self.hub.pinned:
            self.hub.pinned.pop(device_id)
            self.hub.tell(device_id, Slot(OTHER, "what was before"))
        else:
            self.hub.pinned[device_id] = self.hub.slots[device_id]
            self.hub.tell(device_id, Slot(OTHER, PIN))

    @rule(device_id=DEVICES, owner=st.sampled_from([NEWER, BY_HAND]))
    def somebody_else_takes_a_slot(self, device_id: str, owner: str) -> None:
        if owner == NEWER:
            self.hub.newer.add(device_id)
        self.hub.tell(device_id, Slot("c" * 64, owner))

    def under_way(self) -> bool:
        return self.hub.rollout.state in (RolloutState.RUNNING, RolloutState.PAUSED)

    @invariant()
    def the_rules_hold(self) -> None:
        if hasattr(self, "hub"):
            self.rules_of.after()

    def teardown(self) -> None:
        """Whatever has happened: given up, and left alone, it comes to its end."""
        if not hasattr(self, "hub"):
            return
        if self.under_way():
            self.hub.abort("the end", revert=True)
        for _ in range(60):
            self.hub.now += 400.0
            self.hub.touched |= set(NAMES)
            self.engine(0, False)
        ended = self.hub.rollout.state in (RolloutState.STOPPED, RolloutState.FINISHED)
        assert ended
        assert all(rows[-1].ended for rows in self.hub.rows.values())


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestMachine = Machine.TestCase
