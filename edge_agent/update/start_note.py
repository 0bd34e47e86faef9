"""What the last start made of a slot, where that is not what was committed: for status.

Kept on the device (state/start-<slot>.json) only while there is something to explain.
"""

from __future__ import annotations

import structlog

from edge_agent.store import StateFile, Store
from protocol.messages import as_text

REASONS_MAX = 8
REASON_CHARS_MAX = 300

log = structlog.get_logger(__name__)


class StartNote(StateFile):
    """Which bundle a start took, and why not one that comes before it.

    Attributes:
        digest: what it served; None where nothing could be served.
        why: the reasons in words, in the order in which they were met.
    """

    version: int = 1
    digest: str | None = None
    why: tuple[str, ...] = ()


def start_note_name(slot: str) -> str:
    """The state file of a slot's last start."""
    return f"start-{slot}"


def note_start(store: Store, slot: str, digest: str | None, why: tuple[str, ...]) -> None:
    """Keep what is to be said of a start, or forget the last one's; a disk may refuse it."""
    name = start_note_name(slot)
    cut = tuple(as_text(reason)[:REASON_CHARS_MAX] for reason in why[:REASONS_MAX])
    note = StartNote(digest=digest, why=cut)
    known = store.load(name, StartNote)
    try:
        if why and note != known:
            store.save(name, note)
        elif not why and known is not None:
            store.remove(name)
    except OSError as error:
        log.warning("start_not_noted", slot=slot, error=str(error))
