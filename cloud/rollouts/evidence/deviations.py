"""What of a rollout did not go as its plan says, and who let it: each with why. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cloud.rollouts.evidence.progress import FAILURE_WORDS, Attempt, Attempts, exchanged
from cloud.rollouts.models import Rollout, RolloutEntry, RolloutGate
from cloud.rollouts.states import RUNS_AGAIN
from protocol.maintenance import is_open
from protocol.messages import MaintenanceWindow
from protocol.states import ExecutionState, Verdict

_SUCCEEDED = ExecutionState.SUCCEEDED.value
_TIMED_OUT, _SUPERSEDED = ExecutionState.TIMED_OUT.value, ExecutionState.SUPERSEDED.value

NOT_BROUGHT = "it has the build still"
TOLD_MAX = 1000
"""Of each kind; all are counted."""

KINDS: Mapping[str, str] = {
    "forced": "a person let the rollout go on whatever its gate said",
    "gate_overruled": "a person let a wave pass without a PASS",
    "shadow_accepted": "a person accepted a shadow that had no verdict",
    "by_hand": "somebody at the device went back, or gave the attempt up",
    "diverged": "the device ran another build than its success says",
    "retried": "an attempt failed and another one was made",
    "timed_out": "the device was given up when its time was over",
    "superseded": "something else took the slot: a pin, a newer rollout, a change by hand",
    "joined": "the device came to the rollout after its start",
    "not_reverted": "the device did not come back to what it had before",
    "moved_on": "something else had the device's slot by then: there was nothing to take back",
    "outside_window": "the device exchanged while its maintenance window was shut",
}
"""Every kind with what it means."""


@dataclass(frozen=True)
class Beside:
    """What other tables say of a rollout's devices, by their ids.

    Attributes:
        no_way_back: why a device cannot have what it had before.
        moved_on: what has taken the slot of a device that was to come back.
        runs_again: devices that had diverged and run the build now.
        windows: the window in which the rollout had each exchange; none without windows.
    """

    no_way_back: Mapping[str, str] = field(default_factory=dict)
    moved_on: Mapping[str, str] = field(default_factory=dict)
    windows: Mapping[str, MaintenanceWindow] = field(default_factory=dict)
    runs_again: Collection[str] = ()


NOTHING_BESIDE = Beside()


def deviations(
    rollout: Rollout,
    attempts: Attempts,
    gates: Sequence[RolloutGate],
    entries: Sequence[RolloutEntry],
    beside: Beside = NOTHING_BESIDE,
) -> dict[str, Any]:
    """For each kind that there was: what it `means`, its `count`, and the first `items`."""
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for kind, item in (
        *_by_people(gates, entries),
        *_of_devices(attempts, beside),
        *(("not_reverted", item) for item in not_reverted(rollout, attempts, beside)),
        *_moved_on(attempts, beside),
        *_outside(attempts, beside),
    ):
        found[kind].append(item)
    return {
        kind: {"means": KINDS[kind], "count": len(items), "items": items[:TOLD_MAX]}
        for kind, items in found.items()
        if items
    }


def to_take_back(rollout: Rollout, attempts: Attempts) -> list[str]:
    """Devices of a rollout that is taken back which have had the build and are not back."""
    if not rollout.reverting:
        return []
    return [
        device_id
        for device_id, rows in attempts.items()
        if any(exchanged(row) for row in rows if not row.reverts) and not _is_over(rows[-1])
    ]


def not_reverted(
    rollout: Rollout, attempts: Attempts, beside: Beside = NOTHING_BESIDE
) -> list[dict[str, Any]]:
    """Those of `to_take_back` whose slot nothing newer has, with why."""
    left = []
    for device_id in to_take_back(rollout, attempts):
        if device_id in beside.moved_on:
            continue
        last = attempts[device_id][-1]
        why = beside.no_way_back.get(device_id, "")
        if last.reverts:
            why = last.reason if last.ended_at is not None else "it is on its way back"
        left.append(_item(device_id, last, why or last.reason or NOT_BROUGHT))
    return left


def _moved_on(attempts: Attempts, beside: Beside) -> Iterator[tuple[str, dict[str, Any]]]:
    for device_id, why in beside.moved_on.items():
        if device_id in attempts:
            yield "moved_on", _item(device_id, attempts[device_id][-1], why)


def _outside(attempts: Attempts, beside: Beside) -> Iterator[tuple[str, dict[str, Any]]]:
    for device_id, window in beside.windows.items():
        for row in attempts.get(device_id, ()):
            at = row.exchanged_at
            if at is not None and not row.reverts and not is_open(window, at):
                when = datetime.fromtimestamp(at, ZoneInfo(window.time_zone))
                said = f"exchanged at {when:%Y-%m-%d %H:%M:%S} {window.time_zone}, outside of "
                said += f"{window.cron!r} for {window.duration_s:g} s"
                yield "outside_window", _item(device_id, row, said)


def _is_over(row: Attempt) -> bool:
    """Whether it is back, or something newer took its slot while it was on its way."""
    return row.reverts and row.state in (_SUCCEEDED, _SUPERSEDED)


def _by_people(
    gates: Sequence[RolloutGate], entries: Sequence[RolloutEntry]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in entries:
        kind = {"forced": "forced", "joined": "joined", "accepted": "shadow_accepted"}.get(
            entry.kind
        )
        if kind is not None:
            yield (
                kind,
                {
                    "device": entry.device_id,
                    "wave": entry.wave,
                    "at": entry.at,
                    "by": entry.by,
                    "reason": entry.text,
                },
            )
    for look in gates:
        if look.answered_by is not None and look.verdict != Verdict.PASS.value:
            said = f"the gate said {look.verdict}: {look.reason}"
            yield (
                "gate_overruled",
                {
                    "device": None,
                    "wave": look.wave,
                    "at": look.answered_at,
                    "by": look.answered_by,
                    "reason": f"{look.remark} ({said})" if look.remark else said,
                },
            )


def _of_devices(attempts: Attempts, beside: Beside) -> Iterator[tuple[str, dict[str, Any]]]:
    for device_id, rows in attempts.items():
        for number, row in enumerate(rows):
            before = rows[number - 1] if number else None
            if before is not None and not row.reverts and before.state in FAILURE_WORDS:
                yield "retried", _item(device_id, row, f"{before.state}: {before.reason}")
            if row.diverged:
                again = f"; {RUNS_AGAIN}" if device_id in beside.runs_again else ""
                yield "diverged", _item(device_id, row, row.reason + again)
            if row.by_hand:
                yield "by_hand", _item(device_id, row, row.reason)
            if row.state == _TIMED_OUT:
                yield "timed_out", _item(device_id, row, row.reason)
            if row.state == _SUPERSEDED:
                yield "superseded", _item(device_id, row, row.reason)


def _item(device_id: str, row: Attempt, reason: str) -> dict[str, Any]:
    return {
        "device": device_id,
        "wave": row.wave,
        "attempt": row.attempt,
        "at": row.step_at if row.ended_at is None else row.ended_at,
        "by": None,
        "reason": reason,
    }
