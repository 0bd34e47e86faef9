"""Carries out the steps of one slot's attempts: the shell around `states`.

What takes long runs on a worker and comes back as a StepEnded on the agent's thread; a
download is moved by the chunks that arrive. A token tells an outcome that is awaited from
one that was dropped meanwhile. What goes wrong becomes an outcome, never an exception: what
may pass by itself is tried again, anything else is final.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from edge_agent import faults
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.errors import BundleError, EdgeError
from edge_agent.reserve import is_full
from edge_agent.update.fetch import ChunkRead
from edge_agent.update.judging import refused
from edge_agent.update.load import passes
from edge_agent.update.maintenance import check
from edge_agent.update.states import FAILURE, Outcome, Step, UpdateRecord
from edge_agent.update.step_parts import SlotParts, StepContext, StepEnded
from edge_agent.update.trust import Accepted, Refused
from edge_agent.update.waiting import waits_for
from protocol.errors import ProtocolError
from protocol.states import BEFORE_EXCHANGE, ExecutionEvent, ExecutionState

LEFT = (
    "a person at the device left this very attempt; it is not taken up again: roll the version out "
    "anew where it is to serve after all"
)

Job = Callable[[], tuple[Outcome, LoadedBundle | None]]


class SlotSteps:
    """The steps of one slot. Used by the agent's thread."""

    def __init__(self, slot: str, parts: SlotParts, context: StepContext) -> None:
        self._slot, self._parts, self._context = slot, parts, context
        self._acquire, self._exchange = parts.acquire, parts.exchange
        self._cancelled = threading.Event()
        self._candidate: LoadedBundle | None = None
        self._step: Step | None = None
        self._record: UpdateRecord | None = None
        self._token = 0
        self._busy = False
        self._damaged = False
        self._beginnings: dict[Step, Callable[[UpdateRecord, float], Outcome | None]] = {
            Step.LOOK: self._look,
            Step.FETCH: lambda record, now: self._acquire.fetch(record.desired, now),
            Step.PLACE: self._place,
            Step.DERIVE: self._derive,
            Step.BUILD: self._build,
            Step.PROVE: self._prove,
            Step.SHADOW: self._wait,
            Step.AWAIT_WINDOW: self._wait,
            Step.AWAIT_WORD: self._wait,
            Step.EXCHANGE: self._swap,
            Step.WATCH: self._watch,
            Step.COMMIT: self._commit,
            Step.RESTORE: self._restore,
        }
        self._goings: dict[Step, Callable[[UpdateRecord, float, float], Outcome | None]] = {
            Step.LOOK: self._download,
            Step.FETCH: self._download,
            Step.PLACE: self._mend,
            Step.BUILD: lambda *_: self._parts.deriving.progress(),
            Step.SHADOW: self._compare,
            Step.AWAIT_WINDOW: self._await_window,
            Step.AWAIT_WORD: self._await_word,
            Step.WATCH: lambda record, now, _wall: self._parts.watch.judge(record, now),
        }

    def running_digest(self) -> str | None:
        return self._exchange.running

    def begin(self, step: Step, record: UpdateRecord, token: int, now: float) -> Outcome | None:
        self._step, self._record, self._token, self._busy = step, record, token, False
        if step is not Step.SHADOW:
            self._parts.comparing.end()

        def action() -> Outcome | None:
            faults.point(f"update.{record.state.value}.step")
            # What a look asks first is whether the bundle runs already.
            revoked = None if step is Step.LOOK else self._revoked(record)
            return revoked or self._beginnings[step](record, now)

        return self._guarded(record, action)

    def tick(self, record: UpdateRecord, now: float, wall: float) -> Outcome | None:
        self._record = record
        going = None if self._step is None else self._goings.get(self._step)
        revoked = None if self._step is None else self._revoked(record)
        if revoked is not None or going is None:
            return revoked
        return self._guarded(record, lambda: going(record, now, wall))

    def take_chunk(self, chunk: ChunkRead, now: float) -> Outcome | None:
        """A chunk arrived; an outcome only where the disk refused it."""
        record = self._record
        if record is None:
            return None

        def take() -> None:
            self._acquire.take_chunk(chunk, now)

        return self._guarded(record, take)

    def link_restored(self) -> None:
        self._acquire.link_restored()

    def ended(self, ended: StepEnded) -> Outcome | None:
        """A worker's step is over; its outcome, or None where nobody waits for it any more."""
        record, loaded = self._record, ended.loaded
        if ended.token != self._token or record is None:
            if loaded is not None:
                self._exchange.let_go(loaded)
            return None
        self._busy = False
        if self._step is Step.RESTORE:
            return self._guarded(record, lambda: self._restored(record, ended))
        if loaded is None:
            return ended.outcome
        self._candidate = loaded
        if self._step is Step.EXCHANGE:
            return self._guarded(record, lambda: self._serve(record, loaded))
        if self._step is Step.SHADOW:
            return Outcome(note=True)  # what was said while it could not be loaded is over
        return ended.outcome if self._step is Step.PROVE else None

    def cancel(self, *, overdue: bool = False) -> None:
        if overdue and self._busy:
            self._context.renew()
        self._token, self._step, self._record = -1, None, None
        self._cancelled.set()
        self._acquire.close()
        self._let_candidate_go()

    def retreat(self) -> None:
        if self._exchange.retreat():
            self._candidate = None

    # ---- before the exchange ---------------------------------------------------------

    def _look(self, record: UpdateRecord, now: float) -> Outcome | None:
        digest, window = record.desired.bundle_digest, record.desired.window
        wrong = "" if window is None else check(window)
        if wrong:
            return Outcome(FAILURE[record.state], f"its maintenance window never opens: {wrong}")
        self._parts.proving.forget()
        if self._exchange.running == digest:
            self._exchange.commit(digest)  # it may serve in the place of one that was damaged
            return Outcome(ExecutionEvent.ALREADY_RUNNING, "this bundle runs already")
        if self._context.left(record.desired):
            return Outcome(ExecutionEvent.CANCEL_REQUESTED, LEFT)
        return self._acquire.look(record.desired, now)

    def _download(self, record: UpdateRecord, now: float, _wall: float) -> Outcome | None:
        return self._acquire.tick(record.desired, now)

    def _place(self, record: UpdateRecord, now: float) -> None:
        """Put the bundle together; begun again after damage, first fetch what was bad."""
        if self._damaged and self._acquire.fetch(record.desired, now) is None:
            return
        self._put_together(record)

    def _mend(self, record: UpdateRecord, now: float, _wall: float) -> None:
        if self._acquire.tick(record.desired, now) is not None:
            self._put_together(record)

    def _put_together(self, record: UpdateRecord) -> None:
        self._damaged = False

        def job() -> tuple[Outcome, None]:
            try:
                return self._acquire.place(record.desired), None
            except BundleError as error:
                self._damaged = True
                return Outcome(retry=True, reason=str(error)), None

        self._run(record, job)

    def _derive(self, record: UpdateRecord, _now: float) -> Outcome:
        self._acquire.forget()  # the bundle is placed
        return self._parts.deriving.decide(record.desired.bundle_digest)

    def _build(self, record: UpdateRecord, _now: float) -> None:
        cancelled = self._cancelled = threading.Event()
        digest = record.desired.bundle_digest
        self._run(record, lambda: (self._parts.deriving.build(digest, cancelled), None))

    def _prove(self, record: UpdateRecord, _now: float) -> None:
        cancelled = self._cancelled = threading.Event()
        digest, running = record.desired.bundle_digest, self._exchange.running
        self._run(record, lambda: self._parts.proving.prove(digest, running, cancelled))

    def _wait(self, _record: UpdateRecord, _now: float) -> None:
        """What is awaited is looked at by `tick`."""

    def _compare(self, record: UpdateRecord, now: float, _wall: float) -> Outcome | None:
        policy, comparing = record.desired.shadow, self._parts.comparing
        if policy is None:
            return Outcome()
        if self._exchange.running is None:
            idle_s = self._context.limits.probation_idle_s
            return comparing.blind(now, 0.0 if record.is_first else idle_s)
        candidate = self._ready(record)
        return None if candidate is None else comparing.go_on(candidate, record, policy, now)

    def _await_window(self, record: UpdateRecord, _now: float, wall: float) -> Outcome | None:
        """While the window is shut the candidate takes no memory. Whether it may is on the disk
        before it is loaded: should that end the agent, it is not the incumbent's doing."""
        why = self._waits_for(record, wall, held=False)
        if why:
            self._let_candidate_go()
        if why or (record.waiting and self._candidate is None and not self._busy):
            return Outcome(reason=why, note=True)
        return None if self._ready(record) is None else Outcome()

    def _await_word(self, record: UpdateRecord, now: float, wall: float) -> Outcome | None:
        if self._ready(record) is None:
            return None
        lacks = self._parts.watch.lacks(record, self._exchange.running, now)
        why = self._waits_for(record, wall, held=True) or lacks
        return Outcome(reason=why, note=True) if why else self._judged(record) or Outcome()

    def _waits_for(self, record: UpdateRecord, wall: float, *, held: bool) -> str:
        veto_until = self._context.veto_until(self._slot, record, wall)
        return waits_for(record, wall, veto_until, held=held)

    def _ready(self, record: UpdateRecord) -> LoadedBundle | None:
        """The candidate, loaded; None while it is loaded again (after a restart, a wait)."""
        if self._candidate is None and not self._busy:
            digest = record.desired.bundle_digest
            measured = record.figures.get("proof_memory_bytes")

            def job() -> tuple[Outcome, LoadedBundle | None]:
                # It was read when it was placed, which may be days ago.
                try:
                    self._check(digest)
                except BundleError as error:
                    return Outcome(retry=True, reason=str(error)), None
                return Outcome(), self._parts.loader.beside(digest, measured)

            self._run(record, job)
        return self._candidate

    def _check(self, digest: str, *, to_serve: bool = False) -> None:
        """Read a bundle that is to be loaded. Raises BundleError where it is damaged, which is
        told."""
        try:
            self._context.judging.bundles.verify(digest, to_serve=to_serve)
        except BundleError:
            self._context.damaged(digest)
            raise

    def _revoked(self, record: UpdateRecord) -> Outcome | None:
        """A floor that is raised ends at once what was not exchanged, whatever it waits for; in
        probation it takes the candidate back, where what was before may serve."""
        answer = self._context.judging.promised(record.desired)
        if answer is None:
            return None
        if record.state in BEFORE_EXCHANGE:
            return refused(answer, record.state)
        watched = record.state is ExecutionState.PROBATION
        if watched and self._may_serve(record.previous_digest):
            return Outcome(ExecutionEvent.ROLLBACK_STARTED, answer.reason)
        return None

    def _may_serve(self, digest: str | None) -> bool:
        """Whether a bundle of before lies on the disk and is not revoked."""
        try:
            return digest is not None and isinstance(self._context.judging.held(digest), Accepted)
        except OSError:
            return False

    def _judged(self, record: UpdateRecord) -> Outcome | None:
        """A floor may have been raised since the bundle was placed."""
        judging, desired = self._context.judging, record.desired
        answer = judging.of(judging.manifest_bytes(desired.bundle_digest), desired)
        return refused(answer, record.state) if isinstance(answer, Refused) else None

    def _let_candidate_go(self) -> None:
        self._parts.comparing.end()
        candidate, self._candidate = self._candidate, None
        if candidate is not None and self._parts.comparing.free(candidate):
            self._exchange.let_go(candidate)

    # ---- the exchange and after ------------------------------------------------------

    def _swap(self, record: UpdateRecord, _now: float) -> Outcome | None:
        if self._candidate is not None:
            return self._serve(record, self._candidate)
        # A restart came between PREPARED and here on a first install; the proof is on record.
        self._ready(record)
        return None

    def _serve(self, record: UpdateRecord, candidate: LoadedBundle) -> Outcome:
        refusal = self._judged(record)
        if refusal is not None:
            return refusal
        self._parts.watch.before(self._exchange.running)
        self._exchange.serve(candidate)
        return Outcome()

    def _watch(self, record: UpdateRecord, now: float) -> None:
        self._parts.watch.begin(record.desired.bundle_digest, now)

    def _commit(self, record: UpdateRecord, _now: float) -> Outcome:
        digest = record.desired.bundle_digest
        if self._exchange.running != digest:
            return Outcome(ExecutionEvent.ROLLBACK_STARTED, "the slot does not run the candidate")
        self._exchange.commit(digest, record.previous_digest)
        self._candidate = None
        self._context.prune()
        return Outcome()

    def _restore(self, record: UpdateRecord, _now: float) -> Outcome | None:
        """Back to the last-known-good: still loaded, or from disk, or to nothing."""
        self.retreat()
        candidate, previous = record.desired.bundle_digest, record.previous_digest
        running = self._exchange.running
        if running is not None and running != candidate:
            return self._settled(record)
        if previous is None:
            return self._put_back(record, None)

        def job() -> tuple[Outcome, LoadedBundle | None]:
            self._check(previous, to_serve=True)
            return Outcome(), self._parts.loader.at_once(previous)

        self._run(record, job, self._context.rescue)
        return None

    def _restored(self, record: UpdateRecord, ended: StepEnded) -> Outcome:
        """Whether it could be loaded or not, what was found wanting serves no more: then nothing
        does, until something can. The memory that it took may be what was lacking."""
        if ended.loaded is not None:
            return self._put_back(record, ended.loaded)
        serves = self._exchange.running == record.desired.bundle_digest
        settled = self._put_back(record, None) if serves else self._settled(record)
        if ended.outcome.retry:
            return ended.outcome
        why = f"{record.reason}; what was before cannot serve: {ended.outcome.reason}"
        return replace(settled, reason=why)

    def _put_back(self, record: UpdateRecord, good: LoadedBundle | None) -> Outcome:
        if self._exchange.replace(good) is self._candidate:
            self._candidate = None  # else it never served, and is let go with the attempt
        return self._settled(record)

    def _settled(self, record: UpdateRecord) -> Outcome:
        self._let_candidate_go()
        self._exchange.settle(record.desired.bundle_digest, record.previous_digest)
        return Outcome(reason=record.reason)

    # ---- jobs ------------------------------------------------------------------------

    def _run(
        self,
        record: UpdateRecord,
        job: Job,
        submit: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Run a job on a worker; its end, whatever it is, comes back as a StepEnded."""
        token, slot = self._token, self._slot
        self._busy = True

        def run() -> None:
            loaded = None
            try:
                outcome, loaded = job()
            except Exception as error:  # noqa: BLE001 - a runtime may raise anything
                outcome = _failure(record, error)
            self._context.deliver(StepEnded(slot, token, outcome, loaded))

        (submit or self._context.submit)(run)

    def _guarded(
        self, record: UpdateRecord, action: Callable[[], Outcome | None]
    ) -> Outcome | None:
        try:
            return action()
        except (EdgeError, ProtocolError, OSError) as error:
            self._acquire.close()
            return _failure(record, error)


def _failure(record: UpdateRecord, error: Exception) -> Outcome:
    if passes(error):
        remedy = "; make room there" if isinstance(error, OSError) and is_full(error) else ""
        return Outcome(retry=True, reason=f"{str(error) or type(error).__name__}{remedy}")
    known = isinstance(error, EdgeError | ProtocolError)
    reason = str(error) if known else f"{type(error).__name__}: {error}"
    return Outcome(FAILURE[record.state], reason)
