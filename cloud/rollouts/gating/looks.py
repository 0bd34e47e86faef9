"""A look at a wave's gate: collect what was measured, judge it, keep the verdict."""

from __future__ import annotations

from sqlmodel import Session

from cloud.rollouts import queries
from cloud.rollouts.gating import collecting as gate_collecting
from cloud.rollouts.gating import judging as gates
from cloud.rollouts.gating.evidence import WaveEvidence
from cloud.rollouts.gating.judging import GateResult
from cloud.rollouts.gating.policy import GatePolicy
from cloud.rollouts.journal import BY_ENGINE, note
from cloud.rollouts.models import Rollout, RolloutGate
from cloud.rollouts.request.spec import spec_of

_Kind = tuple[str, bool, int]
"""What a look found, as far as it is another finding: verdict, settled, number of the test."""


def look(
    session: Session, rollout: Rollout, wave: int, *, settled: bool, now: float
) -> RolloutGate:
    """Judge a wave by what has been measured until `now` (Unix seconds), and keep the verdict.

    A verdict stands until there is twice as much as it rests on. Of looks in a row that find the
    same, the first and the newest are kept: so the first says since when, and a gate that holds
    overnight does not fill the database.

    settled: the wave has ended and soaked.
    """
    policy = spec_of(rollout).gates or GatePolicy()
    looks = queries.looks_at_gate(session, rollout.id, wave)
    kept = next((one for one in reversed(looks) if one.figures), None)
    last = None if kept is None else GateResult.of(kept.figures)
    if last is not None and last.test and not _may_have_grown(session, rollout, wave, last):
        devices = gate_collecting.collect_devices(session, rollout, wave, now)
        result = gates.carry(last, devices, policy)
    else:
        evidence = gate_collecting.collect(session, rollout, wave, policy, now)
        result = _judge(evidence, policy, last)
    kind = (result.verdict.value, settled, result.test)
    alike = [one for one in looks[-2:] if _kind_of(one) == kind and one.answered_by is None]
    row = looks[-1]  if len(alike) == 2 else RolloutGate(
        rollout_id=rollout.id, wave=wave, look=looks[-1].look + 1 if looks else 1, at=now,
        settled=settled, verdict="", reason="", figures={},
    )  # fmt: skip
    row.at, row.verdict, row.reason = now, result.verdict.value, result.reason
    row.figures = result.as_dict()
    session.add(row)
    if not alike:
        note(
            session, rollout, "gate", by=BY_ENGINE, now=now, wave=wave,
            text=f"{row.verdict}: {row.reason}",
            detail={"look": row.look, "test": result.test, "settled": settled},
        )  # fmt: skip
    return row


def _judge(evidence: WaveEvidence, policy: GatePolicy, last: GateResult | None) -> GateResult:
    """A test of its own where there is enough for one; else what was found stands."""
    if last is None:
        return gates.judge(evidence, policy, 1)
    if gates.grown(evidence, last):
        result = gates.judge(evidence, policy, last.test + 1)
        if result.test > last.test or last.test == 0:
            return result
    return gates.carry(last, evidence.devices, policy)


def _may_have_grown(session: Session, rollout: Rollout, wave: int, last: GateResult) -> bool:
    frames = gate_collecting.frames_at_most(session, rollout, wave)
    return frames >= gates.GROWTH * last.frames


def _kind_of(row: RolloutGate) -> _Kind:
    return row.verdict, row.settled, int(row.figures.get("test", -1))
