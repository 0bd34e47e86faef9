"""What the disk says of a slot."""

from __future__ import annotations

from edge_agent.store import Store
from edge_agent.update.retention import SlotState
from edge_agent.update.states import Committed, UpdateRecord, committed_name, record_name


def slot_state(slot: str, store: Store) -> SlotState:
    """What is committed and which attempt there is; what cannot be read is None."""
    return SlotState(
        slot,
        store.load(committed_name(slot), Committed),
        store.load(record_name(slot), UpdateRecord),
    )
