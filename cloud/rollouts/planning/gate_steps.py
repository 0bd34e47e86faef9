"""What a wave has to have before the next one opens: successes, time, a verdict, a person. Pure.

The verdict itself is made elsewhere, from what cameras have measured. Here is when it is asked
for and what it lets through: nothing goes past a FAIL but by a person's word.
"""

from __future__ import annotations

from cloud.rollouts.planning.tally import Tally
from cloud.rollouts.planning.thresholds import Finding
from cloud.rollouts.planning.views import (
    Action,
    AskPerson,
    GateView,
    LookAtGate,
    NextWave,
    Pause,
    RolloutView,
)
from cloud.rollouts.states import Asks
from protocol.states import Verdict


def against(rollout: RolloutView) -> list[Finding]:
    """What a FAIL of the open wave's gate asks for, also while the wave is under way."""
    gate, times = _gate_of(rollout), rollout.policy.gate
    if gate is None or times is None or gate.answered or gate.verdict is not Verdict.FAIL:
        return []
    past = "; `argosy rollout force` goes past it" if times.on_fail == "pause" else ""
    return [(times.on_fail, f"wave {rollout.wave + 1}: its gate says FAIL: {gate.reason}{past}")]


def looks(rollout: RolloutView, tally: Tally, now: float) -> list[Action]:
    """Ask for the verdict where it is due: first when a device has the build, then again every
    `every_s`, and at once when the wave has settled, from where on a PASS counts."""
    times = rollout.policy.gate
    if times is None or not _is_gated(rollout, tally) or let_through(rollout, tally):
        return []
    gate, settled = _gate_of(rollout), _is_settled(rollout, tally, now)
    if gate is not None and gate.looked_at is not None:
        seen_settled = gate.settled_at is not None and gate.looked_at >= soaked_at(rollout, tally)
        rested = now - gate.looked_at >= times.every_s
        if not rested and not (settled and not seen_settled):
            return []
    return [LookAtGate(rollout.wave, settled)]


def let_through(rollout: RolloutView, tally: Tally) -> bool:
    """Whether the open wave's gate holds nothing back: there is none, there is nothing that it
    could judge, a person has answered, or it says PASS of all that the wave has done."""
    gate = _gate_of(rollout)
    if gate is not None and gate.answered:
        return True
    if not _is_gated(rollout, tally):
        return not against(rollout)
    if gate is None or gate.verdict is not Verdict.PASS or gate.settled_at is None:
        return False
    return gate.looked_at is not None and gate.looked_at >= soaked_at(rollout, tally)


def advance(rollout: RolloutView, tally: Tally, now: float) -> list[Action]:
    """The next wave, or what it waits for where that is a person."""
    wave = tally.waves[rollout.wave]
    if not _has_succeeded(rollout, tally):
        return [] if wave.unfinished or _is_last(rollout) else [_too_few(rollout, tally)]
    if not _is_settled(rollout, tally, now):
        return []
    if not let_through(rollout, tally):
        return _overdue(rollout, tally, now)
    if _is_last(rollout):
        return []
    following = rollout.wave + 1
    return approval(rollout, following) or (
        [NextWave(following)] if is_approved(rollout, following) else []
    )


def is_approved(rollout: RolloutView, wave: int) -> bool:
    """Whether the wave may begin as far as people are concerned."""
    waves = rollout.policy.waves
    asks = wave < len(waves) and waves[wave].needs_approval
    return not asks or wave in rollout.approved_waves


def approval(rollout: RolloutView, wave: int) -> list[Action]:
    """Ask a person to open the wave, once."""
    if is_approved(rollout, wave) or rollout.asks is Asks.WAVE:
        return []
    return [AskPerson(Asks.WAVE, f"wave {wave + 1} waits for an approver")]


def soaked_at(rollout: RolloutView, tally: Tally) -> float:
    """When the open wave has soaked, counted from its last success."""
    return tally.waves[rollout.wave].succeeded_at + rollout.policy.waves[rollout.wave].soak_s


def _overdue(rollout: RolloutView, tally: Tally, now: float) -> list[Action]:
    """Ask a person about a gate that has had its time and says neither PASS nor FAIL. Why it says
    so is left to its looks: they go on, and the question stands."""
    gate, times = _gate_of(rollout), rollout.policy.gate
    if gate is None or times is None or gate.settled_at is None or rollout.asks is Asks.GATE:
        return []
    since = max(gate.settled_at, soaked_at(rollout, tally))
    if gate.verdict is not Verdict.INCONCLUSIVE or now - since < times.deadline_s:
        return []
    said = f"wave {rollout.wave + 1}: its gate is INCONCLUSIVE after {times.deadline_s:g} s"
    return [AskPerson(Asks.GATE, said)]


def _gate_of(rollout: RolloutView) -> GateView | None:
    """The gate of the open wave; that of an earlier one says nothing of it."""
    gate = rollout.gate
    return gate if gate is not None and gate.wave == rollout.wave else None


def _is_gated(rollout: RolloutView, tally: Tally) -> bool:
    gated = rollout.policy.gate is not None and rollout.policy.waves[rollout.wave].gated
    return gated and tally.waves[rollout.wave].succeeded > 0


def _is_last(rollout: RolloutView) -> bool:
    return rollout.wave + 1 >= rollout.waves


def _has_succeeded(rollout: RolloutView, tally: Tally) -> bool:
    """Whether enough of the wave's devices have the build: also where none need to, one has, or
    all have ended, for a wave of which nothing is known yet is none. Of the last one nothing
    more is asked than that it ends: there is no wave that could be spared."""
    wave = tally.waves[rollout.wave]
    if _is_last(rollout):
        return not wave.unfinished
    if not wave.succeeded and wave.unfinished:
        return False
    asked = rollout.policy.waves[rollout.wave].success_percent
    return wave.succeeded * 100 >= asked * wave.counted


def _is_settled(rollout: RolloutView, tally: Tally, now: float) -> bool:
    return _has_succeeded(rollout, tally) and now >= soaked_at(rollout, tally)


def _too_few(rollout: RolloutView, tally: Tally) -> Pause:
    wave = tally.waves[rollout.wave]
    percent = 100 * wave.succeeded / wave.counted
    asked = rollout.policy.waves[rollout.wave].success_percent
    said = f"wave {rollout.wave + 1}: {percent:.0f} % of {wave.counted} devices succeeded"
    return Pause(f"{said}; {asked:g} % are asked")
