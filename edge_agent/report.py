"""When and what the agent reports of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.store import StateFile
from protocol.messages import Desired, ExecutionReport, Reported, SlotReported

SETTLE_S = 0.25
COUNTERS_MAX = 256


class ReportedState(StateFile):
    """The last report as it is kept on the disk, for `argosy-agent status`."""

    version: int = 1
    reported: Reported


class DesiredState(StateFile):
    """The last desired state, so that a start without the hub follows it."""

    version: int = 1
    desired: Desired


class SessionState(StateFile):
    """The number of the last session with the broker."""

    version: int = 1
    epoch: int = 0


@dataclass
class ReportTimer:
    """A report every so often, and soon after a change; changes close together share one."""

    every_s: float
    due_at: float = 0.0

    def request(self, now: float, delay_s: float = SETTLE_S) -> None:
        """Something changed: report after `delay_s`, or earlier if that was due anyway."""
        self.due_at = min(self.due_at, now + delay_s)

    def postpone(self, now: float, delay_s: float) -> None:
        """A session began: report after this (random) delay and not before."""
        self.due_at = now + delay_s

    def due(self, now: float) -> bool:
        """Whether to report now; if so, the next one is a whole period away."""
        if now < self.due_at:
            return False
        self.due_at = now + self.every_s
        return True


def slot_reported(
    running: LoadedBundle | None,
    execution: ExecutionReport | None,
    *,
    engine: str | None = None,
    veto_until: float | None = None,
    by_hand: bool = False,
) -> SlotReported:
    """What a slot really runs, whatever the attempt says; `veto_until` is Unix time (s)."""
    return SlotReported(
        running_digest=None if running is None else running.digest,
        model=None if running is None else running.manifest.model,
        version=None if running is None else running.manifest.version,
        engine=engine,
        veto_until=veto_until,
        by_hand=by_hand,
        execution=execution,
    )


def merge_counters(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """All counters in one dict, sorted by name, bounded as the message is."""
    merged: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            merged[name] = merged.get(name, 0) + count
    return dict(sorted(merged.items())[:COUNTERS_MAX])
