"""Loads the bundles of a slot: a candidate beside what serves, or what is to serve at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_agent.config import Limits
from edge_agent.detect.bundle import LoadedBundle, load_bundle
from edge_agent.detect.options import LoadOptions
from edge_agent.errors import EdgeError
from edge_agent.store import StoreError
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.memory import available_bytes, room_for
from edge_agent.update.quiet import quiet
from protocol.bundles import Manifest

BYTES_PER_FILE_BYTE = 3.0
"""What a bundle is taken to need, for each byte of its files, where no proof has measured it:
the file, the runtime's copy of its weights, and as much again to compute with."""


class NoMemoryError(EdgeError):
    """There is no room to load a bundle beside the one that serves; it may come."""


class Loader:
    """Loads the bundles of one slot. Any thread may use it; loading takes a while."""

    def __init__(
        self,
        bundles: BundleStore,
        options: LoadOptions,
        limits: Limits,
        available: Callable[[], int | None] = available_bytes,
    ) -> None:
        self._bundles, self._options, self._limits = bundles, options, limits
        self._available = available

    def beside(self, digest: str, measured_bytes: float | None = None) -> LoadedBundle:
        """Load and warm a candidate at a low priority, if memory allows.

        `measured_bytes` is what its proof took.

        Raises:
            NoMemoryError: loading it would take memory that the incumbent may need.
            EdgeError, ProtocolError: it cannot be loaded, or not run.
        """
        manifest = self._bundles.manifest(digest)
        needed_bytes = measured_bytes or manifest.size_bytes * BYTES_PER_FILE_BYTE
        reason = room_for(needed_bytes, self._available(), self._limits.memory_free_bytes_min)
        if reason:
            raise NoMemoryError(reason)
        with quiet():
            return self._load(digest)

    def at_once(self, digest: str) -> LoadedBundle:
        """Load and warm what is to serve next, nothing asked. Raises as `beside` does."""
        return self._load(digest)

    def manifest(self, digest: str) -> Manifest:
        """The manifest of a bundle that is held. Raises BundleError."""
        return self._bundles.manifest(digest)

    def _load(self, digest: str) -> LoadedBundle:
        bundles = self._bundles
        kept = replace(self._options, cache=bundles.compiled(digest), engines=bundles.engines)
        return load_bundle(bundles.path(digest), digest, kept)


def passes(error: Exception) -> bool:
    """Whether what went wrong may pass by itself: the disk, the network, memory."""
    return isinstance(error, OSError | StoreError | NoMemoryError | MemoryError)
