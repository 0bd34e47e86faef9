"""One slot's threads: each takes frames, prepares and infers them, and delivers in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import structlog

from edge_agent.cameras.feed import Feed
from edge_agent.cameras.source import Frame
from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.detect.letterbox import Prepared
from edge_agent.detect.serving import Serving
from edge_agent.errors import DetectorError
from edge_agent.ledger import ERROR, NO_MODEL, NOBODY, Ledger
from edge_agent.results import FrameResult
from edge_agent.update.slot import Slot

_log = structlog.get_logger(__name__)

_TAKE_TIMEOUT_S = 0.1
_NO_MODEL_PAUSE_S = 0.02


class SlotWorker:
    """Takes frames from the slot's feed and hands results to `deliver`, in the feed's order.

    `streams` threads do so side by side: while one prepares its frames another has the
    runtime. Each turn takes as many frames as the model takes at once, and none waits for
    another longer than `gather_s`; the bundle is read from the slot with them, and leased
    until they are answered, so an exchange falls between two batches. Where a batch fails,
    each of its frames is tried by itself, so that one camera's frame costs no other camera
    its own.
    """

    def __init__(
        self,
        slot: Slot,
        feed: Feed,
        *,
        ledger: Ledger,
        clock: Clock,
        deliver: Callable[[FrameResult], None],
        streams: int = 1,
        gather_s: float = 0.0,
    ) -> None:
        self.name = slot.name
        self.last_error = ""
        self._slot, self._feed = slot, feed
        self._ledger, self._clock, self._deliver = ledger, clock, deliver
        self._gather_s = gather_s
        self._serving = _ServingCache()
        self._stopping = threading.Event()
        self._turn = threading.Lock()
        self._taken = 0
        self._order = threading.Condition()
        self._given = 0
        self._threads = [
            threading.Thread(target=self._run, name=f"infer-{slot.name}-{number}", daemon=True)
            for number in range(streams)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask all threads to end after the frames they have; the feed is closed by its owner."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        for thread in self._threads:
            thread.join(timeout_s)

    def _run(self) -> None:
        memory = _Memory()
        while not self._stopping.is_set():
            with ExitStack() as held:
                # One lock for both, or a later frame could meet an earlier bundle.
                with self._turn:
                    frames = self._take()
                    if not frames:
                        continue
                    number, self._taken = self._taken, self._taken + 1
                    bundle = held.enter_context(self._slot.lease())
                results = self._answers(bundle, frames, memory)
            self._give(number, results)

    def _take(self) -> list[Frame]:
        """The frames of the next turn; none where none came in time, or nothing serves."""
        bundle = self._slot.current()
        if bundle is None:
            self._feed.drop_live(NO_MODEL)
            self._stopping.wait(_NO_MODEL_PAUSE_S)
            return []
        batch_max = bundle.detector.batch_max
        return self._feed.take(batch_max, _TAKE_TIMEOUT_S, self._gather_s if batch_max > 1 else 0.0)

    def _give(self, number: int, results: Sequence[FrameResult]) -> None:
        """Deliver when all that was taken before has been delivered."""
        with self._order:
            self._order.wait_for(lambda: self._given == number)
        for result in results:
            self._deliver(result)
        with self._order:
            self._given += 1
            self._order.notify_all()

    def _answers(
        self, bundle: LoadedBundle | None, frames: Sequence[Frame], memory: _Memory
    ) -> list[FrameResult]:
        """What the bundle says of the frames; those that fail are counted."""
        if bundle is None:
            self._drop(frames, NO_MODEL, NOBODY)
            return []
        batch_max = bundle.detector.batch_max
        batches = (frames[at : at + batch_max] for at in range(0, len(frames), batch_max))
        return [result for batch in batches for result in self._try(bundle, batch, memory)]

    def _try(
        self, bundle: LoadedBundle, frames: Sequence[Frame], memory: _Memory
    ) -> list[FrameResult]:
        try:
            return self._infer(bundle, frames, memory)
        except Exception as error:  # noqa: BLE001 - a defect must not end the slot's thread
            if len(frames) == 1:
                self._failed(bundle, frames[0], error)
                return []
        return [result for frame in frames for result in self._try(bundle, (frame,), memory)]

    def _infer(
        self, bundle: LoadedBundle, frames: Sequence[Frame], memory: _Memory
    ) -> list[FrameResult]:
        prepared = bundle.detector.prepare([frame.image for frame in frames], memory.last)
        memory.last = prepared
        started_s = self._clock.monotonic()
        answers = bundle.detector.infer(prepared)
        ended_s, wall_s = self._clock.monotonic(), self._clock.wall()
        serving = self._serving.of(bundle)
        results = [
            FrameResult(
                camera=frame.camera,
                slot=self.name,
                frame=frame,
                bundle_digest=bundle.digest,
                manifest=bundle.manifest,
                detections=detections,
                served=serving.mask(detections),
                calibrated=serving.calibrated(detections),
                latency_ms=(ended_s - started_s) * 1000,
                result_at=wall_s,
                result_monotonic=ended_s,
                inner=inner,
            )
            for frame, detections, inner in zip(frames, answers, prepared.inners, strict=True)
        ]
        for frame in frames:
            self._ledger.inferred(frame.camera)
        return results

    def _failed(self, bundle: LoadedBundle, frame: Frame, error: Exception) -> None:
        """Count the frame and keep the reason; seeing goes on."""
        if isinstance(error, DetectorError):
            self.last_error = str(error)
        else:
            _log.error("frame failed", slot=self.name, exc_info=error)
            self.last_error = f"unexpected {type(error).__name__}: {error}"
        self._drop((frame,), ERROR, bundle.digest)

    def _drop(self, frames: Sequence[Frame], cause: str, by: str) -> None:
        for frame in frames:
            self._ledger.dropped(frame.camera, cause, by=by)


class _Memory:
    """The input's memory of one thread, from batch to batch."""

    last: Prepared | None = None


class _ServingCache:
    """How the bundle that served last turns scores into service."""

    def __init__(self) -> None:
        self._bundle: LoadedBundle | None = None
        self._serving: Serving | None = None

    def of(self, bundle: LoadedBundle) -> Serving:
        if bundle is not self._bundle or self._serving is None:
            self._bundle, self._serving = bundle, Serving(bundle.manifest)
        return self._serving
