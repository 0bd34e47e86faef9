"""`argosy-agent rollback`: one step back in a slot, with or without a running agent."""

from __future__ import annotations

from typing import Any

from edge_agent.cli.asking import ask, found, opened, runs, wanted_slots
from edge_agent.clock import Clock
from edge_agent.config import AgentConfig
from edge_agent.store import Store
from edge_agent.update.offline import NoWayBackError, go_back
from edge_agent.update.requests import Answer


def roll_back(
    config: AgentConfig, slot: str | None, clock: Clock, *, force: bool = False
) -> dict[str, Any]:
    """Go back in one slot, or in all; for each what came of it. `force`: also to a bundle that
    was left by hand or did not stand its last attempt.

    Raises:
        EdgeError: no such slot, the folder cannot be used, or the agent does not answer.
    """
    slots = wanted_slots(config, slot)
    if runs(config):
        data_dir, wall = config.device.data_dir, clock.wall()
        return found(ask(data_dir, "rollback", slots, wall, force=force), live=True)
    store = opened(config)
    try:
        answers = {name: _offline(name, store, config, clock, force=force) for name in slots}
    finally:
        store.close()
    return found(answers, live=False)


def _offline(slot: str, store: Store, config: AgentConfig, clock: Clock, *, force: bool) -> Answer:
    try:
        went = go_back(slot, store, config.limits, clock.wall(), force=force)
    except NoWayBackError as error:
        return Answer(id="", ok=False, text=str(error))
    return Answer(id="", ok=True, text=went.text)
