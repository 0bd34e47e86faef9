"""A slot's update as its device's folder tells it: for `argosy-agent status` and the local page.

Every transition is on the disk before it is acted upon, so the folder is the truth, with or
without a running agent. Nothing here writes, and what cannot be read is None.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from edge_agent.errors import BundleError
from edge_agent.store import Store
from edge_agent.update.boot_guard import BootCount, boot_name
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.floors import FLOORS, Floors
from edge_agent.update.history import History, history_of
from edge_agent.update.maintenance import opening_words, zone_of
from edge_agent.update.retention import references
from edge_agent.update.slot_state import slot_state
from edge_agent.update.start_note import StartNote, start_note_name
from edge_agent.update.states import (
    Committed,
    UpdateRecord,
    committed_name,
    record_name,
)
from edge_agent.update.veto import Veto, left_after, veto_name
from protocol.errors import ProtocolError
from protocol.states import BEFORE_EXCHANGE, ExecutionState

_BEFORE_WINDOW = (ExecutionState.WAITING_WINDOW, ExecutionState.PREPARED)


def slot_account(store: Store, slot: str, wall: float) -> dict[str, Any]:
    """What is committed and why, what was before, what the last start passed over, the attempt
    with why it waits, the line's veto, the count of starts, and the model's floor. `wall` is
    Unix time (s), and so are all times."""
    committed = store.load(committed_name(slot), Committed)
    record = store.load(record_name(slot), UpdateRecord)
    boot = store.load(boot_name(slot), BootCount)
    start = store.load(start_note_name(slot), StartNote)
    bundles = BundleStore(store.bundles)
    served = None if committed is None else committed.digest
    before = _before(committed, record, bundles)
    known, previous = _bundle(bundles, served), _bundle(bundles, before)
    return {
        "committed": served,
        "committed_model": None if known is None else known["model"],
        "committed_version": None if known is None else known["version"],
        "by_hand": None if committed is None else committed.by_hand,
        "why": None if committed is None else _why(store, committed, bundles),
        "last_start": None if start is None else {"digest": start.digest, "why": start.why},
        "served_before": before,
        "before_model": None if previous is None else previous["model"],
        "before_version": None if previous is None else previous["version"],
        "attempt": None if record is None else _attempt(record, wall),
        "veto_until": _veto_until(store.load(veto_name(slot), Veto), wall),
        "boot": None if boot is None else {"digest": boot.digest, "starts": boot.starts},
        "floor": _floor(store, None if known is None else known["model"], record),
    }


def is_revoked(store: Store, model: str | None, version: int | None) -> bool:
    """Whether a version lies below its model's floor; nothing is known of None."""
    floors = store.load(FLOORS, Floors) or Floors()
    return model is not None and version is not None and version < floors.by_model().get(model, 1)


def slot_history(store: Store, slot: str) -> list[dict[str, Any]]:
    """The attempts that are over, the last first; times are Unix time (s)."""
    history = history_of(slot, store) or History()
    return [attempt.model_dump(mode="json") for attempt in reversed(history.attempts)]


def bundles_account(store: Store, slots: Collection[str]) -> dict[str, Any] | None:
    """How many bundles are on the disk, how much they take (files that several share once),
    which of them must stay, and who needs them. None where the folder cannot be read."""
    bundles = BundleStore(store.bundles)
    states = [slot_state(slot, store) for slot in slots]
    try:
        held, damaged = bundles.held(), bundles.damaged()
    except OSError:
        return None
    sizes: dict[str, int] = {}
    for bundle in held:
        sizes.update(bundle.files)
    return {
        "count": len(held),
        "bytes": sum(sizes.values()),
        "pinned": {digest: list(why) for digest, why in references(states).items()},
        "damaged": damaged,
    }


def _why(store: Store, committed: Committed, bundles: BundleStore) -> str | None:
    """What made the committed bundle take over by itself, and whether that is so no more."""
    left = _bundle(bundles, committed.previous_digest) if committed.revoked else None
    if left is not None and not is_revoked(store, left["model"], left["version"]):
        return f"{committed.why}; it was then, and is revoked no more"
    return committed.why or None


def _before(
    committed: Committed | None, record: UpdateRecord | None, bundles: BundleStore
) -> str | None:
    """What a rollback goes to: the incumbent while a candidate serves. None where there is
    nothing, or where it serves already because the committed bundle is damaged."""
    if record is not None and not record.terminal and record.state not in BEFORE_EXCHANGE:
        return record.previous_digest
    if committed is None or not bundles.has(committed.digest):
        return None
    return committed.previous_digest


def _attempt(record: UpdateRecord, wall: float) -> dict[str, Any]:
    window = None
    if record.desired.window is not None and record.state in _BEFORE_WINDOW:
        window = opening_words(record.desired.window, wall)
    return {
        **record.report().model_dump(mode="json"),
        "model": record.desired.model,
        "version": record.desired.version,
        "since": record.entered_at,
        "waiting": record.waiting or None,
        "window": window,
        "time_zone": zone_of(record.desired),
        "hold": record.desired.hold,
        "over": record.terminal,
    }


def _bundle(bundles: BundleStore, digest: str | None) -> dict[str, Any] | None:
    if digest is None:
        return None
    try:
        manifest = bundles.manifest(digest)
    except (BundleError, ProtocolError, OSError):
        return None
    return {"model": manifest.model, "version": manifest.version}


def _veto_until(veto: Veto | None, wall: float) -> float | None:
    """What was granted was bounded then; here it is enough that it has not ended."""
    left_s = 0.0 if veto is None else left_after(veto, wall)
    return wall + left_s if left_s else None


def _floor(store: Store, model: str | None, record: UpdateRecord | None) -> int | None:
    """The floor of the model that is committed, or else of the one that is wanted."""
    name = model or (None if record is None else record.desired.model)
    floors = store.load(FLOORS, Floors) or Floors()
    return None if name is None else floors.by_model().get(name)
