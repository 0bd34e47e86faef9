"""What opens a wave: time, a verdict, a person."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cloud.rollouts.planning.planner import plan
from cloud.rollouts.planning.views import (
    Abort,
    AskPerson,
    Finish,
    GateTimes,
    GateView,
    LookAtGate,
    NextWave,
    Pause,
    RolloutView,
    StartExecution,
    WavePolicy,
)
from cloud.rollouts.states import Asks, Outcome, RolloutState
from protocol.states import Verdict
from tests.unit.cloud.rollouts.views import NOW, ROLLOUT, WAITING, device, done, flying, policy

SOAK_S = 20.0
WAVE = WavePolicy(soak_s=SOAK_S)
GATED = replace(ROLLOUT, policy=policy(waves=(WAVE, WAVE), gate=GateTimes()))
SOAKED = NOW - 5 + SOAK_S


def policy_of(rollout: RolloutView, **values: Any) -> RolloutView:
    return replace(rollout, policy=replace(rollout.policy, **values))


def looked(verdict: Verdict, at: float = SOAKED, settled: bool = True, **values: Any) -> GateView:
    return GateView(0, verdict, at, at if settled else None, **values)


def gated(gate: GateView | None, **values: Any) -> RolloutView:
    return replace(GATED, gate=gate, **values)


def test_a_gate_is_looked_at_from_the_first_success_on() -> None:
    assert plan(GATED, [flying(), WAITING], NOW) == []
    assert plan(GATED, [done("a"), flying(), WAITING], NOW) == [LookAtGate(0, False)]


def test_it_is_looked_at_again_after_a_while_and_at_once_when_the_wave_has_soaked() -> None:
    rollout = gated(looked(Verdict.INCONCLUSIVE, NOW, settled=False))
    views = [done("a"), flying(), WAITING]
    assert plan(rollout, views, NOW + 29.9) == []
    assert plan(rollout, views, NOW + 30) == [LookAtGate(0, False)]
    assert plan(rollout, [done("a"), WAITING], SOAKED - 0.1) == []
    assert plan(rollout, [done("a"), WAITING], SOAKED) == [LookAtGate(0, True)]


def test_a_pass_counts_once_the_wave_has_settled() -> None:
    early = gated(looked(Verdict.PASS, NOW, settled=False))
    assert plan(early, [done("a"), WAITING], SOAKED) == [LookAtGate(0, True)]
    assert plan(gated(looked(Verdict.PASS)), [done("a"), WAITING], SOAKED) == [NextWave(1)]
    # A device has succeeded since: the verdict says nothing of it.
    late = done("b", ended_at=SOAKED)
    after = SOAKED + SOAK_S
    assert plan(gated(looked(Verdict.PASS)), [done("a"), late, WAITING], after - 1) == []
    assert plan(gated(looked(Verdict.PASS)), [done("a"), late, WAITING], after) == [
        LookAtGate(0, True)
    ]


def test_what_an_earlier_wave_showed_says_nothing_of_this_one() -> None:
    second = gated(looked(Verdict.PASS), wave=1)
    views = [done("a"), done("b", wave=1)]
    assert plan(second, views, SOAKED) == [LookAtGate(1, True)]
    assert plan(replace(second, gate=looked(Verdict.FAIL)), views, SOAKED) == [LookAtGate(1, True)]


@pytest.mark.parametrize("on_fail", ["pause", "abort", "revert"])
def test_a_fail_acts_at_once_and_before_anything_starts(on_fail: Any) -> None:
    failed = replace(looked(Verdict.FAIL, NOW, settled=False), reason="it sees less")
    rollout = policy_of(gated(failed), gate=GateTimes(on_fail=on_fail))

    (reaction,) = plan(rollout, [done("a"), device("b"), flying(), WAITING], NOW)

    assert isinstance(reaction, Pause if on_fail == "pause" else Abort)
    past = "; `argosy rollout force` goes past it" if on_fail == "pause" else ""
    assert reaction.reason == f"wave 1: its gate says FAIL: it sees less{past}"
    assert getattr(reaction, "revert", False) == (on_fail == "revert")


def test_nothing_goes_past_a_fail_but_by_a_persons_word() -> None:
    rollout = policy_of(gated(looked(Verdict.FAIL)), gate=GateTimes(on_fail="pause"))
    views = [done("a"), WAITING]
    for now in (SOAKED, SOAKED + 1e6):
        assert isinstance(plan(rollout, views, now)[0], Pause)
        assert plan(replace(rollout, state=RolloutState.PAUSED), [done("a")], now) == []
    forced = replace(rollout, gate=looked(Verdict.FAIL, answered=True))
    assert plan(forced, views, SOAKED) == [NextWave(1)]
    assert plan(forced, views, SOAKED - 1) == []


def test_without_a_verdict_a_person_is_asked_once_at_the_deadline() -> None:
    unsure = replace(looked(Verdict.INCONCLUSIVE), reason="12 of 500 frames")
    due = SOAKED + 3600
    views = [done("a"), WAITING]

    assert plan(gated(replace(unsure, looked_at=due - 2)), views, due - 1) == []
    (ask,) = plan(gated(replace(unsure, looked_at=due)), views, due)
    assert isinstance(ask, AskPerson)
    assert ask.asks is Asks.GATE
    assert ask.reason == "wave 1: its gate is INCONCLUSIVE after 3600 s"  # figures go on
    asked = gated(replace(unsure, looked_at=due), asks=Asks.GATE)
    assert plan(asked, views, due) == []
    # Looks go on, and one that passes answers.
    assert plan(asked, views, due + 30) == [LookAtGate(0, True)]
    assert plan(replace(asked, gate=looked(Verdict.PASS)), views, due) == [NextWave(1)]
    assert plan(replace(asked, gate=replace(unsure, answered=True)), views, due) == [NextWave(1)]


def test_the_deadline_counts_from_the_last_success() -> None:
    late = done("b", ended_at=SOAKED)
    unsure = replace(looked(Verdict.INCONCLUSIVE), looked_at=SOAKED + 3600)
    views = [done("a"), late, WAITING]
    assert plan(gated(unsure), views, SOAKED + 3600) == []
    unsure = replace(unsure, looked_at=SOAKED + SOAK_S + 3600)
    assert isinstance(plan(gated(unsure), views, SOAKED + SOAK_S + 3600)[0], AskPerson)


@pytest.mark.parametrize("state", [RolloutState.RUNNING, RolloutState.PAUSED])
def test_the_last_wave_passes_its_gate_before_the_rollout_finishes(state: RolloutState) -> None:
    last = gated(None, wave=1, state=state)
    views = [done("a"), done("b", wave=1)]
    running = state is RolloutState.RUNNING
    assert plan(last, views, NOW) == ([LookAtGate(1, False)] if running else [])
    passed = replace(last, gate=replace(looked(Verdict.PASS), wave=1))
    assert plan(passed, views, SOAKED) == [Finish(Outcome.SUCCEEDED)]
    unsure = replace(passed, gate=GateView(1, Verdict.INCONCLUSIVE, SOAKED, SOAKED, answered=True))
    assert plan(unsure, views, SOAKED) == [Finish(Outcome.SUCCEEDED)]


def test_a_wave_without_a_success_has_nothing_to_judge() -> None:
    rollout = policy_of(GATED, failed_max=9)
    nothing = device("a", state=done().state.NO_ARTIFACT)
    assert plan(rollout, [nothing, WAITING], NOW) == [NextWave(1)]


def test_a_wave_may_go_without_its_gate() -> None:
    rollout = policy_of(GATED, waves=(replace(WAVE, gated=False), WAVE))
    assert plan(rollout, [done("a"), WAITING], SOAKED) == [NextWave(1)]


def test_a_person_opens_a_wave_that_asks_for_one() -> None:
    asking = policy_of(ROLLOUT, waves=(WavePolicy(), WavePolicy(needs_approval=True)))
    views = [done("a"), WAITING]

    (ask,) = plan(asking, views, NOW)
    assert ask == AskPerson(Asks.WAVE, "wave 2 waits for an approver")
    assert plan(replace(asking, asks=Asks.WAVE), views, NOW) == []
    approved = replace(asking, approved_waves=frozenset({1}))
    assert plan(approved, views, NOW) == [NextWave(1)]


def test_the_first_wave_may_ask_for_a_person_too() -> None:
    asking = policy_of(ROLLOUT, waves=(WavePolicy(needs_approval=True), WavePolicy()))
    views = [device("a"), WAITING]

    assert plan(asking, views, NOW) == [AskPerson(Asks.WAVE, "wave 1 waits for an approver")]
    assert plan(replace(asking, asks=Asks.WAVE), views, NOW) == []
    approved = replace(asking, approved_waves=frozenset({0}))
    assert isinstance(plan(approved, views, NOW)[0], StartExecution)


def test_the_gate_is_asked_before_the_person() -> None:
    waves = (WAVE, replace(WAVE, needs_approval=True))
    rollout = policy_of(gated(looked(Verdict.INCONCLUSIVE)), waves=waves)
    assert plan(rollout, [done("a"), WAITING], SOAKED) == []
    passed = replace(rollout, gate=looked(Verdict.PASS), asks=Asks.GATE)
    (ask,) = plan(passed, [done("a"), WAITING], SOAKED)
    assert isinstance(ask, AskPerson)
    assert ask.asks is Asks.WAVE


def test_waves_have_soaks_and_percentages_of_their_own() -> None:
    waves = (WavePolicy(0.0, 50.0), WavePolicy(100.0, 100.0), WavePolicy())
    rollout = replace(policy_of(ROLLOUT, waves=waves, failed_max=9), waves=3)
    half = [done("a"), done("b", done().state.FAILED), device("c", wave=1), device("d", wave=2)]
    assert plan(rollout, half, NOW) == [NextWave(1)]
    second = replace(rollout, wave=1)
    views = [*half[:2], done("c", wave=1), half[3]]
    assert plan(second, views, NOW + 94.9) == []
    assert plan(second, views, NOW + 95) == [NextWave(2)]


def test_where_no_success_is_asked_for_a_wave_still_has_to_show_something() -> None:
    none = (WavePolicy(success_percent=0.0),) * 2
    rollout = policy_of(ROLLOUT, waves=none, failed_max=9)
    failed = done("a", done().state.FAILED)
    assert plan(rollout, [flying(name="a"), flying(name="b"), WAITING], NOW) == []
    assert plan(rollout, [done("a"), flying(name="b"), WAITING], NOW) == [NextWave(1)]
    assert plan(rollout, [failed, flying(name="b"), WAITING], NOW) == []
    assert plan(rollout, [failed, WAITING], NOW) == [NextWave(1)]
    asked = (replace(none[0], needs_approval=True), none[1])
    unapproved = replace(policy_of(ROLLOUT, waves=asked), asks=Asks.WAVE)
    assert plan(unapproved, [device("a"), WAITING], NOW) == [], "nobody has let it begin"


def test_a_continuous_rollout_goes_on() -> None:
    rollout = policy_of(replace(ROLLOUT, wave=1), continuous=True)
    views = [done("a"), done("b", wave=1)]
    for state in (RolloutState.RUNNING, RolloutState.PAUSED):
        assert plan(replace(rollout, state=state), views, NOW + 1e6) == []
    joined = [*views, device("c", wave=1)]
    assert isinstance(plan(rollout, joined, NOW)[0], StartExecution)
