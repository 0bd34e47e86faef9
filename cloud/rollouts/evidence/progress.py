"""What became of a rollout's devices, in figures and over time, from its attempts. Pure."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cloud.rollouts.models import Rollout
from cloud.rollouts.states import FAILURES, UNCOUNTED, word_of
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState

WAITING, UNDER_WAY, HAS_IT = "waiting", "under way", "has the build"
FAILED, PASSED_OVER, REVERTED = "failed", "passed over", "reverted"
CLASSES = (HAS_IT, REVERTED, FAILED, PASSED_OVER, UNDER_WAY, WAITING)
"""How a device stands, in the order in which a plot stacks them."""

POINTS = 160
REASONS_MAX = 50
EXAMPLES_MAX = 5

FAILURE_WORDS = frozenset(state.value for state in FAILURES)
_ENDED = frozenset(state.value for state in TERMINAL_EXECUTION_STATES)
_SUCCEEDED = ExecutionState.SUCCEEDED.value
_CLASS_OF_END = {
    **dict.fromkeys(FAILURE_WORDS, FAILED),
    **dict.fromkeys((state.value for state in UNCOUNTED), PASSED_OVER),
    _SUCCEEDED: HAS_IT,
}


class Attempt(NamedTuple):
    """What evidence needs of a `models.Execution`: its columns of the same names."""

    device_id: str
    attempt: int
    wave: int
    state: str
    reason: str = ""
    digest: str | None = None
    started_at: float | None = None
    step_at: float = 0.0
    ended_at: float | None = None
    exchanged_at: float | None = None
    diverged: bool = False
    by_hand: bool = False
    reverts: bool = False


Attempts = Mapping[str, Sequence[Attempt]]
"""A device's attempts in their order, by the device's id."""


def by_device(attempts: Sequence[Attempt]) -> dict[str, list[Attempt]]:
    """Each device's attempts, the first one first."""
    found: dict[str, list[Attempt]] = defaultdict(list)
    for row in sorted(attempts, key=lambda row: row[:2]):
        found[row.device_id].append(row)
    return dict(found)


def class_of(row: Attempt) -> str:
    """How a device stands whose latest attempt this is: one of `CLASSES`. One whose way back
    came to nothing has the build still, unless something newer has taken the slot."""
    if row.reverts and row.state in _ENDED:
        found = {_SUCCEEDED: REVERTED, ExecutionState.SUPERSEDED.value: PASSED_OVER}
        return found.get(row.state, HAS_IT)
    underway = WAITING if row.started_at is None else UNDER_WAY
    return _CLASS_OF_END.get(row.state, underway)


def forward(rows: Sequence[Attempt]) -> Attempt:
    """A device's latest attempt to bring it the build."""
    return [row for row in rows if not row.reverts][-1]


def exchanged(row: Attempt) -> bool:
    """Whether the attempt's build came to serve on the device, and was not rolled back there."""
    stayed = row.exchanged_at is not None and row.state != ExecutionState.ROLLED_BACK.value
    return stayed or row.state == _SUCCEEDED


def has_it(rows: Sequence[Attempt]) -> bool:
    """Whether a device runs the build, as far as its attempts tell: it exchanged to it, and
    neither back nor to something else since."""
    found = False
    for row in rows:
        if exchanged(row):
            found = not row.reverts and not row.diverged
        elif row.reverts and row.state == ExecutionState.SUPERSEDED.value:
            found = False
    return found


def wave_figures(rollout: Rollout, attempts: Attempts) -> list[dict[str, Any]]:
    """For each wave its rule, its devices by state, on the way back, and by class, and when the
    build was brought; Unix seconds."""
    waves: list[list[Sequence[Attempt]]] = [[] for _ in rollout.spec["waves"]]
    for rows in attempts.values():
        waves[rows[-1].wave].append(rows)
    return [
        {"wave": number, "rule": rule, **_figures(waves[number])}
        for number, rule in enumerate(rollout.spec["waves"])
    ]


def _figures(devices: Sequence[Sequence[Attempt]]) -> dict[str, Any]:
    rows = [row for attempts in devices for row in attempts if not row.reverts]
    back = Counter(word_of(r[-1].state, reverts=True) for r in devices if r[-1].reverts)
    started = [row.started_at for row in rows if row.started_at is not None]
    ended = [row.ended_at for row in rows if row.ended_at is not None]
    return {
        "devices": len(devices),
        "states": dict(sorted(Counter(forward(found).state for found in devices).items())),
        "way_back": dict(sorted(back.items())),
        "classes": dict(Counter(class_of(found[-1]) for found in devices)),
        "first_started_at": min(started, default=None),
        "last_started_at": max(started, default=None),
        "last_ended_at": max(ended, default=None),
        "durations": durations(rows),
    }


def durations(rows: Sequence[Attempt]) -> dict[str, Any]:
    """Seconds from its start to its success, of every attempt that brought the build."""
    seconds = sorted(
        row.ended_at - row.started_at
        for row in rows
        if row.state == _SUCCEEDED
        and not row.reverts
        and row.started_at is not None
        and row.ended_at is not None
    )
    if not seconds:
        return {"count": 0, "median_s": None, "p95_s": None, "max_s": None}
    return {
        "count": len(seconds),
        "median_s": statistics.median(seconds),
        "p95_s": seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))],
        "max_s": seconds[-1],
    }


def failures(attempts: Attempts, *, reverts: bool = False) -> list[dict[str, Any]]:
    """Every way in which attempts to bring the build failed, or those to take it back, with how
    often, commonest first; also where a further attempt made it good. The reasons after the
    first `REASONS_MAX` are one row."""
    devices: dict[tuple[str, str], list[str]] = defaultdict(list)
    for device_id, rows in attempts.items():
        for row in rows:
            if row.state in FAILURE_WORDS and row.reverts is reverts:
                devices[row.state, row.reason].append(device_id)
    ordered = sorted(devices.items(), key=lambda item: (-len(item[1]), item[0]))
    told = [
        {"kind": kind, "reason": reason, "attempts": len(ids), "devices": ids[:EXAMPLES_MAX]}
        for (kind, reason), ids in ordered[:REASONS_MAX]
    ]
    rest = [device_id for _, ids in ordered[REASONS_MAX:] for device_id in ids]
    if rest:
        reason = f"{len(ordered) - REASONS_MAX} other reasons"
        told.append(
            {"kind": "", "reason": reason, "attempts": len(rest), "devices": rest[:EXAMPLES_MAX]}
        )
    return told


def over_time(
    attempts: Attempts, born: Mapping[str, float], begin: float, end: float
) -> dict[str, Any]:
    """How many devices stood where, at `POINTS` times from `begin` to `end`.

    Args:
        born: when a device came to the rollout, where that was after `begin`.

    Returns:
        `times` in Unix seconds, and `devices` with a count for each of them, by class.
    """
    entered: dict[str, list[float]] = {name: [] for name in CLASSES}
    left: dict[str, list[float]] = {name: [] for name in CLASSES}
    for device_id, rows in attempts.items():
        now = None
        for at, name in _moves(rows, born.get(device_id, begin)):
            if now is not None:
                left[now].append(at)
            entered[name].append(at)
            now = name
    times = np.linspace(begin, max(end, begin), POINTS)
    return {
        "times": [float(t) for t in times],
        "devices": {
            name: [int(n) for n in _until(entered[name], times) - _until(left[name], times)]
            for name in CLASSES
        },
    }


def _moves(rows: Sequence[Attempt], born: float) -> list[tuple[float, str]]:
    moves = [(born, WAITING)]
    for row in rows:
        if row.started_at is not None:
            moves.append((max(row.started_at, moves[-1][0]), UNDER_WAY))
        if row.state in _ENDED:
            ended_at = row.step_at if row.ended_at is None else row.ended_at
            moves.append((max(ended_at, moves[-1][0]), class_of(row)))
        elif row.started_at is None and row is not rows[0]:
            moves.append((max(row.step_at, moves[-1][0]), WAITING))
    return moves


def _until(moments: list[float], times: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(np.asarray(moments, dtype=np.float64)), times, side="right")
