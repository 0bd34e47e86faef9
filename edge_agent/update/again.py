"""When an attempt that is over is made again, though the hub asks for no other. Pure.

Each asks of the slot's last attempt and what is wanted now.
"""

from __future__ import annotations

from edge_agent.update.states import Committed, UpdateRecord, same_attempt
from protocol.messages import SlotDesired
from protocol.states import ExecutionState

BLIND_S = 600.0
"""For how long nothing has served before what came to nothing by itself is tried once more."""

_PASSING = frozenset({ExecutionState.FAILED, ExecutionState.TIMED_OUT})
"""Ends that may say nothing of the bundle: the network was gone, the disk full, the power out."""


def is_lost(
    record: UpdateRecord, wanted: SlotDesired, running: str | None, committed: Committed | None
) -> bool:
    """Whether it had succeeded and its bundle was lost since (a damaged file). It is not lost
    where a person went back from it."""
    succeeded = record.state is ExecutionState.SUCCEEDED and same_attempt(record.desired, wanted)
    if not succeeded or running == wanted.bundle_digest:
        return False
    return committed is None or committed.digest == wanted.bundle_digest


def is_lifted(record: UpdateRecord, wanted: SlotDesired) -> bool:
    """Whether it was rejected because its version was revoked, and that is revoked no more."""
    ended, version = record.desired, record.desired.version
    rejected = record.state is ExecutionState.REJECTED and ended.floor > version
    return rejected and same_attempt(ended, wanted) and wanted.floor <= version


def leaves_blind(record: UpdateRecord, wanted: SlotDesired, running: str | None) -> bool:
    """Whether nothing serves since it came to nothing by what may pass. On a new disk the hub may
    know that it succeeded long ago, and will not ask for another."""
    over = record.state in _PASSING and not record.left
    return over and running is None and same_attempt(record.desired, wanted)
