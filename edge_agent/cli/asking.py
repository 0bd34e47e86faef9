"""What commands that ask something of the agent share: of which slots, and whom to ask."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from edge_agent.config import AgentConfig
from edge_agent.errors import EdgeError
from edge_agent.status import agent_runs
from edge_agent.store import Store
from edge_agent.update.requests import Answer, Kind, Request, await_answer, leave

ANSWER_S = 15.0


class UnknownSlotError(EdgeError):
    """A slot that no camera of this device feeds; the text names those that there are."""


def wanted_slots(config: AgentConfig, slot: str | None) -> tuple[str, ...]:
    """The slot that was named, or all. Raises UnknownSlotError."""
    if slot is None:
        return config.slots
    if slot not in config.slots:
        raise UnknownSlotError(
            f"no slot is called {slot}; this device has {', '.join(config.slots)}"
        )
    return (slot,)


def runs(config: AgentConfig) -> bool:
    """Whether an agent uses the data folder now."""
    return agent_runs(config.device.data_dir)


def opened(config: AgentConfig) -> Store:
    """The data folder, locked for this command. Raises StoreError where an agent has it."""
    store = Store(config.device.data_dir)
    store.open()
    return store


def ask(
    data_dir: Path,
    kind: Kind,
    slots: Sequence[str],
    wall: float,
    for_s: float = 0.0,
    *,
    force: bool = False,
) -> dict[str, Answer]:
    """Ask the running agent, and wait for what it says of each slot.

    Raises:
        RequestError: the request cannot be left, or the agent does not answer.
    """
    requests = [
        Request(
            id=secrets.token_hex(16),
            kind=kind,
            slot=s,
            asked_at=wall,
            for_s=for_s,
            force=force,
            by=_who(),
        )
        for s in slots
    ]
    for request in requests:
        leave(data_dir, request)
    return {request.slot: await_answer(data_dir, request, ANSWER_S) for request in requests}


def found(answers: dict[str, Answer], *, live: bool) -> dict[str, Any]:
    """What the command prints, as JSON can carry it."""
    return {
        "ok": all(told.ok for told in answers.values()),
        "agent_running": live,
        "slots": {slot: {"ok": told.ok, "text": told.text} for slot, told in answers.items()},
    }


def table(result: dict[str, Any]) -> Table:
    """The same for people."""
    made = Table("slot", "done")
    made.add_column("what", overflow="fold")
    for slot, told in result["slots"].items():
        made.add_row(slot, "yes" if told["ok"] else "NO", told["text"])
    return made


def _who() -> str:
    try:
        return f"{getpass.getuser()} at the device"[:128]
    except (KeyError, OSError):
        return "somebody at the device"
