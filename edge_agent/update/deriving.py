"""Whether the device compiles an engine of a bundle before it runs it, and the compiling."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from edge_agent.detect.tensorrt.derived import SUFFIX, is_derived, key_of
from edge_agent.detect.tensorrt.probe import machine, probe
from edge_agent.errors import BundleError, DetectorError
from edge_agent.update.engine import EngineCache, build, needs_engine
from edge_agent.update.judging import Judging
from edge_agent.update.states import Outcome
from protocol.bundles import Manifest
from protocol.chunks import Sha256
from protocol.errors import ProtocolError
from protocol.states import ExecutionEvent

TOLD_PERCENT = 5
"""Each figure that is told is written to the disk, so few are."""


class Deriving:
    """The engines of one slot's bundles.

    Args:
        pinned: the bundles that must stay, and so their engines.
    """

    def __init__(self, judging: Judging, pinned: Callable[[], Collection[str]]) -> None:
        self._judging, self._pinned = judging, pinned
        self._share: float | None = None
        self._engine: tuple[str, Sha256 | None] | None = None

    def decide(self, digest: str) -> Outcome:
        """Compile first, or prove at once. Raises BundleError where the bundle is not whole."""
        manifest = self._judging.bundles.manifest(digest)
        if needs_engine(manifest, self._judging.capabilities()):
            return Outcome(ExecutionEvent.BUILD_STARTED)
        return Outcome(ExecutionEvent.PROOF_STARTED)

    def build(self, digest: str, cancelled: threading.Event) -> Outcome:
        """Compile the engine, unless it is there. Runs on a worker's thread.

        Raises:
            EdgeError: it cannot be compiled here.
            OSError: the disk refused it.
        """
        bundles, limits = self._judging.bundles, self._judging.limits
        cache = EngineCache(bundles.engines, limits.engine_cache_bytes_max)
        self._share = 0.0
        try:
            build(
                bundles.path(digest),
                bundles.manifest(digest),
                cache,
                limits,
                cancelled,
                on_progress=self._told,
                kept=self._kept(),
            )
        finally:
            self._share = None
        return Outcome()

    def progress(self) -> Outcome | None:
        """How far the compiling is, in steps."""
        share = self._share
        if share is None:
            return None
        percent = int(share * 100 // TOLD_PERCENT * TOLD_PERCENT)
        figures = {"engine_percent": float(percent)}
        return Outcome(reason=f"the engine is built: {percent} %", note=True, figures=figures)

    def engine(self, digest: str | None) -> Sha256 | None:
        """The digest of the engine that stands for a bundle that runs; None where none does."""
        if digest is None:
            return None
        if self._engine is None or self._engine[0] != digest:
            self._engine = digest, self._engine_of(digest)
        return self._engine[1]

    def _told(self, share: float) -> None:
        self._share = share

    def _engine_of(self, digest: str) -> Sha256 | None:
        """By its name: it was read whole when it was loaded."""
        bundles = self._judging.bundles
        try:
            manifest = bundles.manifest(digest)
            if not is_derived(manifest):
                return None
            names = bundles.engines.glob(f"{key_of(manifest, machine(probe()))}.*{SUFFIX}")
            return next((path.name.split(".")[1] for path in sorted(names)), None)
        except (BundleError, DetectorError, OSError):
            return None

    def _kept(self) -> Iterator[Manifest]:
        for digest in self._pinned():
            with suppress(BundleError, ProtocolError):
                yield self._judging.bundles.manifest(digest)
