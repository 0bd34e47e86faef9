"""`argosy-agent hold`: the line says "not now", or takes it back."""

from __future__ import annotations

import re
from typing import Any

from edge_agent.cli.asking import ask, found, opened, runs, wanted_slots
from edge_agent.clock import Clock
from edge_agent.config import AgentConfig, Limits
from edge_agent.errors import EdgeError
from edge_agent.store import Store
from edge_agent.update.maintenance import zone_of
from edge_agent.update.requests import HOLD_S_MAX, Answer
from edge_agent.update.states import UpdateRecord, attempt_key, record_name
from edge_agent.update.veto import Vetoes, granted_words

_SPAN = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")


class SpanError(EdgeError):
    """A span of time that cannot be read, or is longer than any hold."""


def span_s(text: str, veto_s_max: float) -> float:
    """Seconds of "30m", "1h30m" or "90s"; what is beyond any hold names the device's bound.

    Raises:
        SpanError: it cannot be read, or is too long.
    """
    found = _SPAN.fullmatch(text.strip().lower())
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    span = 3600.0 * hours + 60.0 * minutes + seconds
    if span > HOLD_S_MAX:
        raise SpanError(
            f"--for {text!r} is too long: limits.veto_s_max of this device is {veto_s_max:g} s; "
            "ask for that or less"
        )
    if not span:
        raise SpanError(f'--for {text!r} is no span of time; write "30m", "1h30m" or "90s"')
    return span


def hold(
    config: AgentConfig, slot: str | None, for_s: float | None, clock: Clock
) -> dict[str, Any]:
    """Hold updates back in one slot or all for `for_s`; None: take that back.

    Raises:
        EdgeError: no such slot, the folder cannot be used, or the agent does not answer.
    """
    slots, wall = wanted_slots(config, slot), clock.wall()
    if runs(config):
        data_dir = config.device.data_dir
        if for_s is None:
            return found(ask(data_dir, "release", slots, wall), live=True)
        return found(ask(data_dir, "hold", slots, wall, for_s), live=True)
    store = opened(config)
    try:
        if for_s is None:
            answers = {name: _release(name, store, config.limits, wall) for name in slots}
        else:
            answers = {name: _hold(name, store, for_s, config.limits, wall) for name in slots}
    finally:
        store.close()
    return found(answers, live=False)


def _release(slot: str, store: Store, limits: Limits, wall: float) -> Answer:
    Vetoes((slot,), store, limits, wall).release(slot)
    return Answer(id="", ok=True, text=f"{slot} is held no longer")


def _hold(slot: str, store: Store, for_s: float, limits: Limits, wall: float) -> Answer:
    record = store.load(record_name(slot), UpdateRecord)
    desired = None if record is None or record.terminal else record.desired
    attempt = "" if desired is None else attempt_key(desired)
    granted_s = Vetoes((slot,), store, limits, wall).hold(slot, attempt, for_s, wall)
    ok, text = granted_words(slot, for_s, granted_s, wall, limits, zone=zone_of(desired))
    return Answer(id="", ok=ok, text=text)
