"""Why a candidate that is ready has to wait: the window, the line's veto, the hub's word. Pure."""

from __future__ import annotations

from datetime import datetime, timezone

from edge_agent.update.maintenance import is_open, opening_words
from protocol.messages import SlotDesired


def waits_for(
    desired: SlotDesired, wall: float, veto_until: float | None, *, held: bool = True
) -> str:
    """What an exchange waits for at `wall` (Unix s), in words; empty where for nothing.

    `veto_until` is until when the line says "not now", None where it does not. With
    `held=False` the hub's word is not asked for: a candidate may get ready without it.
    """
    if desired.window is not None and not is_open(desired.window, wall):
        return opening_words(desired.window, wall)
    if veto_until is not None:
        return f"the line said not now, until {_at(veto_until)}"
    if held and desired.hold:
        return "the hub holds it until its whole site is ready"
    return ""


def _at(wall: float) -> str:
    return f"{datetime.fromtimestamp(wall, timezone.utc):%Y-%m-%d %H:%M} UTC"
