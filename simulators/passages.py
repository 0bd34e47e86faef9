"""A virtual device's passage through an attempt: what it holds, and where it goes next. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol import chunks
from protocol.bundles import Manifest
from protocol.messages import SlotDesired
from protocol.states import ExecutionEvent, ExecutionState

_NEXT = {
    ExecutionState.QUEUED: ExecutionEvent.DOWNLOAD_STARTED,
    ExecutionState.DOWNLOADED: ExecutionEvent.VERIFY_PASSED,
    ExecutionState.VERIFIED: ExecutionEvent.PROOF_STARTED,
    ExecutionState.WAITING_WINDOW: ExecutionEvent.PREPARE_FINISHED,
    ExecutionState.PREPARED: ExecutionEvent.SWAP_STARTED,
    ExecutionState.SWAPPING: ExecutionEvent.EXCHANGED,
    ExecutionState.PROBATION: ExecutionEvent.PROBATION_PASSED,
    ExecutionState.COMMITTING: ExecutionEvent.COMMITTED,
}


@dataclass
class Download:
    """A blob on its way: which chunks are still to come. Without a list, a manifest."""

    sha256: str
    missing: set[int]
    ref: chunks.BlobRef | None = None
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Passage:
    """One attempt at one slot's build.

    Attributes:
        due: when the step that it is in is done, in Unix seconds.
        fails, unsure: drawn at its begin: its proof will fail, its shadow will not tell.
        asked: it has said that its shadow did not tell.
    """

    slot: str
    desired: SlotDesired
    state: ExecutionState
    due: float
    fails: bool
    unsure: bool
    downloads: dict[str, Download]
    manifest: Manifest | None = None
    wants_due: float = 0.0
    asked: bool = False

    @property
    def lacks(self) -> bool:
        """Whether chunks are still to come, or the manifest that says which."""
        return self.manifest is None or any(d.missing for d in self.downloads.values())


def asks_a_person(passage: Passage) -> bool:
    """Whether its shadow ended without a verdict, and nobody has accepted that."""
    shadow = passage.desired.shadow
    unanswered = shadow is not None and not shadow.accepted
    return passage.state is ExecutionState.SHADOWING and passage.unsure and unanswered


def waits_for_word(passage: Passage) -> bool:
    """Whether it stands still until the hub says more: its site is held, a person is asked."""
    held = passage.state is ExecutionState.PREPARED and passage.desired.hold
    return held or asks_a_person(passage)


def next_event(passage: Passage, *, has_incumbent: bool) -> ExecutionEvent:
    """The event that ends the passage's step well; maintenance windows are always open here."""
    desired, state = passage.desired, passage.state
    if state is ExecutionState.PROVING and desired.shadow and has_incumbent:
        return ExecutionEvent.SHADOW_STARTED
    if state in (ExecutionState.PROVING, ExecutionState.SHADOWING):
        awaits = desired.window is not None
        return ExecutionEvent.WINDOW_AWAITED if awaits else ExecutionEvent.PREPARE_FINISHED
    return _NEXT[state]
