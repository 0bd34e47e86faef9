"""Carries out the steps of one slot's attempts: the shell around `states`.

What takes long runs on a worker and comes back as a StepEnded on the agent's thread; a
download is moved by the chunks that arrive. A token tells an outcome that is awaited from
one that was dropped meanwhile. What goes wrong becomes an outcome, never an exception.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from edge_agent.config import Limits
from edge_agent.detect.bundle import LoadedBundle, load_bundle
from edge_agent.detect.options import LoadOptions
from edge_agent.errors import EdgeError
from edge_agent.store import Store
from edge_agent.update.acquire import Acquire
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.prove import run_proof
from edge_agent.update.slot import Slot
from edge_agent.update.states import (
    FAILURE,
    Committed,
    Outcome,
    SlotHealth,
    Step,
    UpdateRecord,
    committed_name,
    judge_probation,
)
from protocol.errors import ProtocolError
from protocol.states import ExecutionEvent

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class StepEnded:
    """A step that ran on a worker is over, perhaps with a bundle that it loaded."""

    slot: str
    token: int
    outcome: Outcome
    loaded: LoadedBundle | None = None


@dataclass(frozen=True)
class StepContext:
    """What the steps of all slots share.

    Attributes:
        submit: run a job on the updates' worker.
        deliver: bring its end to the agent's thread.
        prune: remove the bundles that nothing pins.
    """

    store: Store
    bundles: BundleStore
    limits: Limits
    submit: Callable[[Callable[[], None]], None]
    deliver: Callable[[StepEnded], object]
    prune: Callable[[], None]


Job = Callable[[], tuple[Outcome, LoadedBundle | None]]


class SlotSteps:
    """The steps of one slot. Used by the agent's thread."""

    def __init__(
        self,
        slot: Slot,
        acquire: Acquire,
        context: StepContext,
        health: Callable[[], SlotHealth],
        options: LoadOptions,
    ) -> None:
        self._slot, self._acquire, self._context = slot, acquire, context
        self._health, self._options = health, options
        self._cancelled = threading.Event()
        self._candidate: LoadedBundle | None = None
        self._incumbent: LoadedBundle | None = None
        self._step: Step | None = None
        self._record: UpdateRecord | None = None
        self._token = 0
        self._began = 0.0
        self._health_before = SlotHealth()
        self._beginnings: dict[Step, Callable[[UpdateRecord, float], Outcome | None]] = {
            Step.LOOK: self._look,
            Step.FETCH: lambda record, now: self._acquire.fetch(record.desired, now),
            Step.PLACE: self._place,
            Step.PROCEED: lambda _record, _now: Outcome(),
            Step.PROVE_AND_LOAD: self._prove_and_load,
            Step.EXCHANGE: self._exchange,
            Step.WATCH: self._watch,
            Step.COMMIT: self._commit,
            Step.RESTORE: self._restore,
        }

    def running_digest(self) -> str | None:
        current = self._slot.current()
        return None if current is None else current.digest

    def begin(self, step: Step, record: UpdateRecord, token: int, now: float) -> Outcome | None:
        self._step, self._record, self._token, self._began = step, record, token, now
        return self._guarded(record, lambda: self._beginnings[step](record, now))

    def tick(self, now: float) -> Outcome | None:
        record = self._record
        if record is None:
            return None
        if self._step is Step.WATCH:
            seen = self._health().since(self._health_before)
            probation_s = record.desired.probation_s
            return judge_probation(seen, now - self._began, probation_s, self._context.limits)
        return self._guarded(record, lambda: self._acquire.tick(record.desired, now))

    def take_chunk(self, sha256: str, index: int, data: bytes, now: float) -> Outcome | None:
        """A chunk arrived; an outcome only where the disk refused it."""
        record = self._record
        if record is None:
            return None

        def take() -> None:
            self._acquire.take_chunk(sha256, index, data, now)

        return self._guarded(record, take)

    def link_restored(self) -> None:
        self._acquire.link_restored()

    def ended(self, ended: StepEnded) -> Outcome | None:
        """A worker's step is over; its outcome, or None where nobody waits for it any more."""
        record = self._record
        if ended.token != self._token or record is None:
            if ended.loaded is not None:
                ended.loaded.detector.close()
            return None
        loaded = ended.loaded
        if loaded is None:
            return ended.outcome
        if self._step is Step.RESTORE:
            return self._guarded(record, lambda: self._put_back(record, loaded))
        self._candidate = loaded
        return self._swap(loaded) if self._step is Step.EXCHANGE else ended.outcome

    def cancel(self) -> None:
        self._token, self._step, self._record = -1, None, None
        self._cancelled.set()
        self._acquire.close()
        candidate, self._candidate = self._candidate, None
        if candidate is not None and candidate is not self._slot.current():
            candidate.detector.close()

    # ---- before the exchange ---------------------------------------------------------

    def _look(self, record: UpdateRecord, now: float) -> Outcome | None:
        if self.running_digest() == record.desired.bundle_digest:
            return Outcome(ExecutionEvent.ALREADY_RUNNING, "this bundle runs already")
        return self._acquire.look(record.desired, now)

    def _place(self, record: UpdateRecord, _now: float) -> None:
        def job() -> tuple[Outcome, None]:
            self._acquire.place(record.desired)
            return Outcome(), None

        self._run(record, job)

    def _prove_and_load(self, record: UpdateRecord, _now: float) -> None:
        digest, limits = record.desired.bundle_digest, self._context.limits
        folder = self._context.bundles.path(digest)
        cancelled = self._cancelled = threading.Event()

        def job() -> tuple[Outcome, LoadedBundle | None]:
            proof = run_proof(
                folder,
                digest,
                timeout_s=limits.proof_timeout_s,
                memory_bytes=limits.proof_memory_bytes_max,
                cancel=cancelled,
            )
            if not proof.passed:
                return Outcome(ExecutionEvent.REFUSED, f"golden frames: {proof.reason}"), None
            figures = {
                "golden_frames": float(proof.frames),
                "golden_confidence_error_max": proof.confidence_error_max or 0.0,
                "golden_box_error_px_max": proof.box_error_px_max or 0.0,
            }
            return Outcome(figures=figures), self._load(digest)

        self._run(record, job)

    # ---- the exchange and after ------------------------------------------------------

    def _exchange(self, record: UpdateRecord, _now: float) -> Outcome | None:
        if self._candidate is not None:
            return self._swap(self._candidate)
        # A restart came between PREPARED and here; the proof is on record.
        digest = record.desired.bundle_digest
        self._run(record, lambda: (Outcome(), self._load(digest)))
        return None

    def _swap(self, candidate: LoadedBundle) -> Outcome:
        self._incumbent = self._slot.exchange(candidate)
        return Outcome()

    def _watch(self, _record: UpdateRecord, _now: float) -> None:
        self._health_before = self._health()

    def _commit(self, record: UpdateRecord, _now: float) -> Outcome:
        digest, store = record.desired.bundle_digest, self._context.store
        if self.running_digest() != digest:
            return Outcome(ExecutionEvent.ROLLBACK_STARTED, "the slot does not run the candidate")
        name = committed_name(self._slot.name)
        committed = store.load(name, Committed)
        if committed is None or committed.digest != digest:
            previous = None if committed is None else committed.digest
            store.save(name, Committed(digest=digest, previous_digest=previous))
        incumbent, self._incumbent, self._candidate = self._incumbent, None, None
        if incumbent is not None:
            self._slot.release(incumbent)
        self._acquire.forget()
        self._context.prune()
        return Outcome()

    def _restore(self, record: UpdateRecord, _now: float) -> Outcome | None:
        """Back to the last-known-good: still loaded, or from disk, or to nothing."""
        previous = record.previous_digest
        if previous is not None and self.running_digest() != previous and self._incumbent is None:
            self._run(record, lambda: (Outcome(), self._load(previous)))
            return None
        if previous is not None and self.running_digest() == previous:
            return Outcome()
        return self._put_back(record, self._incumbent)

    def _put_back(self, record: UpdateRecord, good: LoadedBundle | None) -> Outcome:
        dropped = self._slot.exchange(good)
        self._incumbent = self._candidate = None
        if dropped is not None:
            self._slot.release(dropped)
        store, name = self._context.store, committed_name(self._slot.name)
        if good is None:
            store.remove(name)
        else:
            store.save(name, Committed(digest=good.digest))
        log.warning("rolled_back", slot=self._slot.name, to=None if good is None else good.digest)
        return Outcome(reason=record.reason)

    def _load(self, digest: str) -> LoadedBundle:
        bundles = self._context.bundles
        cached = replace(self._options, cache=bundles.compiled(digest))
        return load_bundle(bundles.path(digest), digest, cached)

    def _run(self, record: UpdateRecord, job: Job) -> None:
        """Run a job on the worker; its end, whatever it is, comes back as a StepEnded."""
        token, slot = self._token, self._slot.name

        def run() -> None:
            try:
                outcome, loaded = job()
            except (EdgeError, ProtocolError, OSError) as error:
                outcome, loaded = _failure(record, str(error)), None
            except Exception as error:  # noqa: BLE001 - a runtime may raise anything
                outcome, loaded = _failure(record, f"{type(error).__name__}: {error}"), None
            self._context.deliver(StepEnded(slot, token, outcome, loaded))

        self._context.submit(run)

    def _guarded(
        self, record: UpdateRecord, action: Callable[[], Outcome | None]
    ) -> Outcome | None:
        try:
            return action()
        except (EdgeError, ProtocolError, OSError) as error:
            return _failure(record, str(error))


def _failure(record: UpdateRecord, reason: str) -> Outcome:
    return Outcome(FAILURE[record.state], reason)
