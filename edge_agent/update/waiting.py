"""Why a candidate that is ready has to wait: the window, the line's veto, the hub's word. Pure."""

from __future__ import annotations

from edge_agent.update.maintenance import at_words, is_open, opening_words, zone_of
from edge_agent.update.states import UpdateRecord
from protocol.states import ExecutionState


def waits_for(
    record: UpdateRecord, wall: float, veto_until: float | None, *, held: bool = True
) -> str:
    """What an exchange waits for at `wall` (Unix s), in words; empty where for nothing.

    `veto_until` is until when the line says "not now", None where it does not. With
    `held=False` the hub's word is not asked for: a candidate may get ready without it. Where
    nothing has served yet the line is blind, and only the line itself keeps it so.
    """
    desired = record.desired
    if desired.window is not None and not record.is_first and not is_open(desired.window, wall):
        return opening_words(desired.window, wall)
    if veto_until is not None:
        return f"the line said not now, until {at_words(veto_until, zone_of(desired))}"
    if held and desired.hold and not record.is_first:
        return "the hub holds it until its whole site is ready"
    return ""


def ready(record: UpdateRecord, wall: float) -> bool:
    """Whether an attempt would go on at `wall` (Unix s) if the line said nothing against it.

    Until its window opens it gets ready without the hub's word; it is exchanged only with it.
    """
    if record.state is ExecutionState.WAITING_WINDOW:
        return not waits_for(record, wall, None, held=False)
    return record.state is ExecutionState.PREPARED and not waits_for(record, wall, None)
