"""Which bundles must stay on the disk, and which go when there are too many or too little room.

Pure. A bundle is pinned by whoever refers to it; what nobody refers to is loose. Loose bundles
are kept for a while all the same: what is proven on this device may be its last resort, and a
later version may share files with any of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_agent.update.slot_state import SlotState
from edge_agent.update.standing import proven


@dataclass(frozen=True)
class Held:
    """A bundle on the disk; `files` are bytes by sha256. Bundles share the files they can."""

    digest: str
    files: Mapping[str, int] = field(default_factory=dict)


def references(states: Iterable[SlotState]) -> dict[str, tuple[str, ...]]:
    """Every bundle that must stay, and for each who needs it, in words."""
    found: dict[str, list[str]] = {}
    for state in states:
        for digest, why in _needs(state):
            if digest is not None:
                found.setdefault(digest, []).append(f"{state.slot}: {why}")
    return {digest: tuple(who) for digest, who in found.items()}


def _needs(state: SlotState) -> list[tuple[str | None, str]]:
    committed, record = state.committed, state.record
    needs: list[tuple[str | None, str]] = []
    if committed is not None:
        needs += [
            (committed.digest, "committed"),
            (committed.previous_digest, "committed before"),
        ]
    if record is not None and not record.terminal:
        needs += [
            (record.desired.bundle_digest, "wanted by the attempt"),
            (record.previous_digest, "last known good of the attempt"),
        ]
    return needs


@dataclass(frozen=True)
class Needs:
    """What all slots need of the disk: `pinned` must stay, and of the rest those that are
    `proven` (the newest first) go last. `attempts` are the slots with an open attempt."""

    pinned: frozenset[str] = frozenset()
    proven: tuple[str, ...] = ()
    attempts: frozenset[str] = frozenset()


def needs(states: Collection[SlotState], serving: Collection[str] = ()) -> Needs:
    """What the slots need; `serving` are the bundles that serve now, which may be others than
    the disk refers to."""
    kept = [digest for state in states for digest in proven(state)]
    return Needs(
        frozenset({*references(states), *serving}),
        tuple(dict.fromkeys(kept)),
        frozenset(state.slot for state in states if state.record and not state.record.terminal),
    )


def to_prune(
    held: Sequence[Held], needed: Needs, kept_max: int, needed_bytes: int = 0
) -> list[str]:
    """The loose bundles that go: first what is not proven here, the first of `held` (the oldest)
    first, then what is, the newest last; never a pinned one.

    Those over `kept_max` go anyway, then more until `needed_bytes` are freed. Where all of
    them together would not free as much, these stay: it would help nobody.
    """
    worth = {digest: -at for at, digest in enumerate(needed.proven)}
    least = -len(held) - len(worth)
    loose = [bundle.digest for bundle in held if bundle.digest not in needed.pinned]
    loose.sort(key=lambda digest: worth.get(digest, least))  # stable: else the oldest first
    over = max(0, len(loose) - kept_max)
    for count in range(over, len(loose) + 1):
        if freed_bytes(held, loose[:count]) >= needed_bytes:
            return loose[:count]
    return loose[:over]


def freed_bytes(held: Iterable[Held], gone: Collection[str]) -> int:
    """What the disk gets back: a file counts once, and only where no other bundle has it."""
    going: dict[str, int] = {}
    staying: set[str] = set()
    for bundle in held:
        if bundle.digest in gone:
            going.update(bundle.files)
        else:
            staying.update(bundle.files)
    return sum(size for sha256, size in going.items() if sha256 not in staying)
