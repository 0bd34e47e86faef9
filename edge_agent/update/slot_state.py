"""What the disk says of a slot."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.store import Store
from edge_agent.update.history import History, history_of
from edge_agent.update.states import Committed, UpdateRecord, committed_name, record_name


@dataclass(frozen=True)
class SlotState:
    """What a slot committed, its last attempt, and what became of those before."""

    slot: str
    committed: Committed | None = None
    record: UpdateRecord | None = None
    history: History | None = None


def slot_state(slot: str, store: Store) -> SlotState:
    """What the disk says of a slot; what cannot be read is None."""
    return SlotState(
        slot,
        store.load(committed_name(slot), Committed),
        store.load(record_name(slot), UpdateRecord),
        history_of(slot, store),
    )
