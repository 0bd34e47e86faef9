"""Whether the device compiles an engine of a bundle before it runs it, and the compiling."""

from __future__ import annotations

import threading

from edge_agent.update.judging import Judging
from edge_agent.update.states import Outcome
from protocol.states import ExecutionEvent


class Deriving:
    """The engines of one slot's bundles."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging

    def decide(self, digest: str) -> Outcome:
        """Compile first, or prove at once. Raises BundleError where the bundle is not whole."""
        self._judging.bundles.manifest(digest)
        return Outcome(ExecutionEvent.PROOF_STARTED)

    def build(self, digest: str, cancelled: threading.Event) -> Outcome:
        return Outcome()

    def progress(self) -> Outcome | None:
        return None

    def engine(self, digest: str | None) -> str | None:
        return None
