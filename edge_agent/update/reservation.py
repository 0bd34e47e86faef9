"""Room on the disk for a whole download, before its first byte.

The partial files themselves are the reservation: all of them are allocated in their full size
(`posix_fallocate`) before anything is asked for. A number in memory would do for this process
alone; allocated blocks are also kept from the outbox, from other slots' downloads and from
other programs, they survive a kill, and they go when the files go. Those of an attempt that ended
go when something else needs their room: until then it may be asked for again, and goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.store import Store
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.fetch import FileBlob
from edge_agent.update.retention import Needs
from protocol.chunks import BlobRef

BLOCK_BYTES = 512


@dataclass(frozen=True)
class Room:
    """The disk as one download meets it.

    Attributes:
        folder: where its files go, and may lie in part.
        needed: what must stay.
        kept_free_bytes: what stays free besides.
    """

    folder: Path
    store: Store
    bundles: BundleStore
    needed: Needs
    kept_free_bytes: int

    def make(self, needed_bytes: int, wanted: Collection[str]) -> None:
        """Take away what nobody needs, as far as it must be.

        Of other downloads goes what no open attempt goes on with: what one that ended had
        reserved would starve those after it, but is worth keeping while there is room. A loose
        bundle that holds some of the `wanted` files stays: they would have to be fetched.
        """
        lacking_bytes = needed_bytes + self.kept_free_bytes
        for take_away in (self._drop_unlisted, self._drop_ended, self._drop_loose):
            if lacking_bytes <= self.store.free_bytes():
                return
            take_away(lacking_bytes, wanted)

    def require(self, needed_bytes: int, wanted: Collection[str]) -> None:
        """Return if there is room, or some can be made. Raises DiskFullError."""
        self.make(needed_bytes, wanted)
        self.store.require_free(needed_bytes, self.kept_free_bytes)

    def _drop_unlisted(self, _bytes: int, wanted: Collection[str]) -> None:
        drop_unlisted(self.folder, wanted)

    def _drop_ended(self, _bytes: int, _wanted: Collection[str]) -> None:
        self.store.drop_partials({self.folder.name, *self.needed.attempts}, hidden=True)

    def _drop_loose(self, lacking_bytes: int, wanted: Collection[str]) -> None:
        spared = self.needed.pinned | self.bundles.lenders(wanted)
        self.bundles.make_room(lacking_bytes, replace(self.needed, pinned=spared))


def drop_unlisted(folder: Path, wanted: Collection[str]) -> None:
    """Remove from a download's folder what it does not want. Raises OSError."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name in wanted:
            continue
        if path.is_dir() and not path.is_symlink():  # somebody may have left a folder there
            shutil.rmtree(path)
        else:
            path.unlink()


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
