"""The evidence record of a rollout: all that one has to know of it later, as JSON values. Pure.

What was brought, who asked and decided, when each wave went, what became of every device, every
look at a gate with its figures, and all that did not go as planned.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloud.rollouts.evidence.deviations import NOTHING_BESIDE, Beside, deviations, not_reverted
from cloud.rollouts.evidence.progress import (
    REVERTED,
    Attempt,
    Attempts,
    by_device,
    class_of,
    durations,
    failures,
    forward,
    has_it,
    over_time,
    wave_figures,
)
from cloud.rollouts.journal import BY_ENGINE
from cloud.rollouts.models import Rollout, RolloutEntry, RolloutGate
from cloud.rollouts.states import Outcome, RolloutState
from protocol.builds import BuildIdentity
from protocol.states import ExecutionState

SCHEMA_VERSION = 1
ENGINE_NAMES = frozenset({BY_ENGINE, "rollouts"})
APPROVING = frozenset({"asked", "approved", "accepted", "forced"})
IN_PROGRESS = "IN_PROGRESS"
AFTER_SHARE = 0.03
_DECIMALS = 6


@dataclass(frozen=True)
class Origin:
    """Where the version comes from, as the registry tells it.

    Attributes:
        lineage: parent, dataset and weights of the version; empty where it was deleted since.
        promotion: the last time that an alias was pointed at it: alias, verdict and evidence.
    """

    lineage: Mapping[str, Any] = field(default_factory=dict)
    promotion: Mapping[str, Any] | None = None


def record(
    rollout: Rollout,
    rows: Sequence[Attempt],
    gates: Sequence[RolloutGate],
    entries: Sequence[RolloutEntry],
    *,
    origin: Origin,
    now: float,
    beside: Beside = NOTHING_BESIDE,
) -> dict[str, Any]:
    """The record as JSON values; no figure in it is infinite or no number.

    Args:
        rows: every attempt of every device.
        gates: every look, by wave and look.
        entries: the whole journal, oldest first.
        now: when the record is made, in Unix seconds.
        beside: what other tables say of the devices.
    """
    attempts = by_device(rows)
    joined = {e.device_id: e.at for e in entries if e.kind == "joined" and e.device_id is not None}
    end = now if rollout.ended_at is None else rollout.ended_at
    last = max(end, *(row.step_at for row in rows)) if rows else end
    if rollout.ended_at is not None:  # its last state is to be seen
        last += AFTER_SHARE * (last - rollout.created_at)
    values = {
        "schema_version": SCHEMA_VERSION,
        "id": rollout.id,
        "name": rollout.name,
        "made_at": now,
        "verdict": _verdict(rollout),
        "what": _what(rollout, rows, origin),
        "who": _who(rollout, entries),
        "when": _when(rollout, entries),
        "spec": rollout.spec,
        "outcome": _outcome(rollout, attempts, beside),
        "metrics": _metrics(attempts),
        "waves": _waves(rollout, attempts, gates, entries),
        "progress": over_time(attempts, joined, rollout.created_at, last),
        "gates": _looks(gates),
        "approvals": [_entry(e) for e in entries if e.kind in APPROVING],
        "deviations": deviations(rollout, attempts, gates, entries, beside),
        "journal": [_entry(e) for e in entries],
    }
    return dict(_plain(values))


def _verdict(rollout: Rollout) -> str:
    """In a word how it went: an `Outcome`, STOPPED, or IN_PROGRESS."""
    if rollout.outcome is not None:
        return rollout.outcome
    stopped = rollout.state == RolloutState.STOPPED.value
    return RolloutState.STOPPED.value if stopped else IN_PROGRESS


def _what(rollout: Rollout, rows: Sequence[Attempt], origin: Origin) -> dict[str, Any]:
    return {
        "model": rollout.model,
        "version": rollout.version,
        "builds": [_build(build, rows) for build in rollout.builds],
        "lineage": dict(origin.lineage),
        "promotion": origin.promotion and dict(origin.promotion),
    }


def _build(build: Mapping[str, Any], rows: Sequence[Attempt]) -> dict[str, Any]:
    given = [row for row in rows if row.digest == build["digest"] and not row.reverts]
    done = [row for row in given if row.state == ExecutionState.SUCCEEDED.value]
    return {
        "digest": build["digest"],
        "target": BuildIdentity.model_validate(build["identity"]).label(),
        "given": len({row.device_id for row in given}),
        "succeeded": len({row.device_id for row in done}),
    }


def _who(rollout: Rollout, entries: Sequence[RolloutEntry]) -> dict[str, Any]:
    people = [entry for entry in entries if entry.by not in ENGINE_NAMES]
    return {
        "created_by": rollout.created_by,
        "approved_by": [e.by for e in people if e.kind == "approved"],
        "decisions": [_entry(entry) for entry in people],
    }


def _when(rollout: Rollout, entries: Sequence[RolloutEntry]) -> dict[str, Any]:
    times = {kind: [e.at for e in entries if e.kind == kind] for kind in ("paused", "resumed")}
    return {
        "created_at": rollout.created_at,
        "ended_at": rollout.ended_at,
        "duration_s": None if rollout.ended_at is None else rollout.ended_at - rollout.created_at,
        "paused_at": times["paused"],
        "resumed_at": times["resumed"],
    }


def _outcome(rollout: Rollout, attempts: Attempts, beside: Beside) -> dict[str, Any]:
    latest = [class_of(rows[-1]) for rows in attempts.values()]
    have_it = {device_id for device_id, rows in attempts.items() if has_it(rows)}
    have_it |= attempts.keys() & set(beside.runs_again)
    left = not_reverted(rollout, attempts, beside)
    moved_on = beside.moved_on.keys() & attempts.keys()
    return {
        "state": rollout.state,
        "outcome": rollout.outcome,
        "reason": rollout.reason,
        "devices": len(attempts),
        "have_it": len(have_it - moved_on),
        "taken_back": rollout.reverting or rollout.outcome == Outcome.REVERTED.value,
        "reverted": latest.count(REVERTED),
        "not_reverted": len(left),
        "moved_on": len(moved_on),
    }


def _metrics(attempts: Attempts) -> dict[str, Any]:
    rows = [row for found in attempts.values() for row in found if not row.reverts]
    ends = Counter(forward(found).state for found in attempts.values())
    return {
        "devices": len(attempts),
        "attempts": len(rows),
        "states": dict(sorted(ends.items())),
        "durations": durations(rows),
        "failures": failures(attempts),
        "failures_on_the_way_back": failures(attempts, reverts=True),
    }


def _waves(
    rollout: Rollout,
    attempts: Attempts,
    gates: Sequence[RolloutGate],
    entries: Sequence[RolloutEntry],
) -> list[dict[str, Any]]:
    opened = {e.wave: e.at for e in reversed(entries) if e.kind == "wave" and e.wave is not None}
    last = {look.wave: look for look in gates}
    waves = wave_figures(rollout, attempts)
    for number, wave in enumerate(waves):
        look = last.get(number)
        wave["opened_at"] = opened.get(number, wave["first_started_at"])
        wave["open"] = number <= rollout.wave
        wave["gate"] = None if look is None else look.verdict
        wave["gate_reason"] = "" if look is None else look.reason
        wave["let_go_by"] = None if look is None else look.answered_by
        wave["looks"] = sum(other.wave == number for other in gates)
    return waves


def _looks(gates: Sequence[RolloutGate]) -> list[dict[str, Any]]:
    """Every look; where its figures are those of the look before, `figures_of` names that one."""
    told: list[dict[str, Any]] = []
    shown: RolloutGate | None = None
    for look in gates:
        values = look.model_dump(exclude={"rollout_id"})
        same = shown is not None and (shown.wave, shown.figures) == (look.wave, look.figures)
        if same and shown is not None:
            values["figures"] = None
            values["figures_of"] = shown.look
        else:
            values["figures_of"], shown = look.look, look
        told.append(values)
    return told


def _entry(entry: RolloutEntry) -> dict[str, Any]:
    values = entry.model_dump(exclude={"id", "rollout_id", "device_id"})
    return {**values, "device": entry.device_id}


def _plain(value: Any) -> Any:
    """JSON values: floats rounded, what is no number as null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return round(value, _DECIMALS) if math.isfinite(value) else None
    return value
