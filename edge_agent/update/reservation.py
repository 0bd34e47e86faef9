"""Room on the disk for a whole download, before its first byte.

The partial files themselves are the reservation: all of them are allocated in their full size
(`posix_fallocate`) before anything is asked for. A number in memory would do for this process
alone; allocated blocks are also kept from the outbox, from other slots' downloads and from
other programs, they survive a kill, and they go when the files go.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from edge_agent.store import Store
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.fetch import FileBlob
from edge_agent.update.retention import Needs
from protocol.chunks import BlobRef

BLOCK_BYTES = 512


def require_room(
    needed_bytes: int,
    wanted: Collection[str],
    *,
    store: Store,
    bundles: BundleStore,
    needed: Needs,
    kept_free_bytes: int,
) -> None:
    """Return if there is room, which loose bundles make where they must.

    A loose bundle that holds some of the `wanted` files stays: they would have to be fetched.

    Raises:
        DiskFullError: there is none, even without what nobody needs.
    """
    spared = needed.pinned | bundles.lenders(wanted)
    bundles.make_room(needed_bytes + kept_free_bytes, replace(needed, pinned=spared))
    store.require_free(needed_bytes, kept_free_bytes)


def lacking_bytes(folder: Path, lacking: Mapping[str, BlobRef]) -> int:
    """What the files still need beyond the blocks that they were given before."""
    return sum(
        max(0, ref.size_bytes - _allocated_bytes(folder / sha256))
        for sha256, ref in lacking.items()
    )


def reserve_files(folder: Path, lacking: Mapping[str, BlobRef]) -> dict[str, FileBlob]:
    """Allocate every file of a download, or none.

    Raises:
        OSError: the disk has no room for all; what had arrived of them before stays.
    """
    made: list[Path] = []
    blobs: dict[str, FileBlob] = {}
    try:
        for sha256, ref in lacking.items():
            path = folder / sha256
            if not path.exists():
                made.append(path)
            blobs[sha256] = FileBlob(ref, path)
    except OSError:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    return blobs


def _allocated_bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * BLOCK_BYTES
    except OSError:
        return 0
