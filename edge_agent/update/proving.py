"""Proves a candidate in a child, and loads what passed beside the incumbent; for `steps`."""

from __future__ import annotations

import threading

from edge_agent.config import Limits
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.load import Loader
from edge_agent.update.prove import Proof, run_proof
from edge_agent.update.states import Outcome
from protocol.states import ExecutionEvent


class Proving:
    """One slot's proofs. `prove` is for a worker, one at a time; `forget` for any thread."""

    def __init__(self, bundles: BundleStore, loader: Loader, limits: Limits) -> None:
        self._bundles, self._loader, self._limits = bundles, loader, limits
        self._proofs: dict[tuple[str, str | None], Proof] = {}

    def prove(
        self, digest: str, running: str | None, cancelled: threading.Event
    ) -> tuple[Outcome, LoadedBundle | None]:
        """The golden frames, against the incumbent `running`, then the bundle loaded.

        Begun again for want of memory, a proof that was passed is not repeated. Raises as
        `Loader.beside` does.
        """
        both = (digest, running)
        proof = self._proofs.get(both) or self._run(digest, running, cancelled)
        if not proof.passed:
            return Outcome(ExecutionEvent.REFUSED, proof.reason, proof.figures), None
        self._proofs = {both: proof}
        measured = proof.figures.get("proof_memory_bytes")
        return Outcome(figures=proof.figures), self._loader.beside(digest, measured)

    def forget(self) -> None:
        """Another attempt begins: it is proven anew."""
        self._proofs = {}

    def _run(self, digest: str, running: str | None, cancelled: threading.Event) -> Proof:
        incumbent = None if running is None else (self._bundles.path(running), running)
        return run_proof(
            self._bundles.path(digest),
            digest,
            incumbent,
            self._limits,
            cancelled,
            engines=self._bundles.engines,
        )
