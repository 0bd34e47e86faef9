"""One slot's two threads: one prepares the next frame while the other infers this one."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from edge_agent.cameras.feed import Feed
from edge_agent.cameras.source import Frame
from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.detect.letterbox import Prepared, check_frame
from edge_agent.detect.serving import Serving
from edge_agent.errors import DetectorError
from edge_agent.ledger import ERROR, NO_MODEL, Ledger
from edge_agent.results import FrameResult
from edge_agent.update.slot import Slot

_log = structlog.get_logger(__name__)

_TAKE_TIMEOUT_S = 0.1
_NO_MODEL_PAUSE_S = 0.02


@dataclass(frozen=True)
class _Job:
    frames: tuple[Frame, ...]
    prepared: Prepared


class SlotWorker:
    """Takes frames from the slot's feed and hands results to `deliver`, in the feed's order.

    As many frames as the model takes at once are inferred together, and none waits for
    another longer than `gather_s`. The bundle is read from the slot once per batch, and
    leased while it infers, so an exchange falls between two batches. Frames that were
    prepared for another input are prepared again; where a batch fails, each of its frames
    is tried by itself, so that one camera's frame costs no other camera its own.
    """

    def __init__(
        self,
        slot: Slot,
        feed: Feed,
        *,
        ledger: Ledger,
        clock: Clock,
        deliver: Callable[[FrameResult], None],
        gather_s: float = 0.0,
    ) -> None:
        self.name = slot.name
        self.last_error = ""
        self._slot, self._feed = slot, feed
        self._ledger, self._clock, self._deliver = ledger, clock, deliver
        self._gather_s = gather_s
        self._serving = _ServingCache()
        self._spare: deque[Prepared] = deque(maxlen=2)
        self._prepared: queue.Queue[_Job | None] = queue.Queue(maxsize=1)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._prepare_all, name=f"prepare-{slot.name}", daemon=True),
            threading.Thread(target=self._infer_all, name=f"infer-{slot.name}", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask both threads to end after the frames they have; the feed is closed by its owner."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        for thread in self._threads:
            thread.join(timeout_s)

    def _prepare_all(self) -> None:
        while not self._stopping.is_set():
            bundle = self._slot.current()
            if bundle is None:
                self._feed.drop_live(NO_MODEL)
                self._stopping.wait(_NO_MODEL_PAUSE_S)
                continue
            batch_max = bundle.detector.batch_max
            gather_s = self._gather_s if batch_max > 1 else 0.0
            job = self._prepare(self._feed.take(batch_max, _TAKE_TIMEOUT_S, gather_s))
            if job is not None:
                self._prepared.put(job)
        self._prepared.put(None)

    def _prepare(self, frames: Sequence[Frame]) -> _Job | None:
        usable = tuple(f for f in frames if self._is_usable(f))
        if not usable:
            return None
        spare = self._spare.popleft() if self._spare else None
        with self._slot.lease() as bundle:
            if bundle is None:
                self._drop(usable, NO_MODEL)
                return None
            try:
                some = usable[: bundle.detector.batch_max]
                return _Job(usable, bundle.detector.prepare([f.image for f in some], spare))
            except Exception as error:  # noqa: BLE001 - a defect must not end the slot's thread
                self._failed(usable, error)
                return None

    def _is_usable(self, frame: Frame) -> bool:
        try:
            check_frame(frame.image)
        except DetectorError as error:
            self._failed((frame,), error)
            return False
        return True

    def _infer_all(self) -> None:
        while (job := self._prepared.get()) is not None:
            with self._slot.lease() as bundle:
                results = self._answers(bundle, job)
            self._spare.append(job.prepared)
            for result in results:
                self._deliver(result)

    def _answers(self, bundle: LoadedBundle | None, job: _Job) -> list[FrameResult]:
        """What the bundle that serves now says of the frames; those that fail are counted."""
        if bundle is None:
            self._drop(job.frames, NO_MODEL)
            return []
        if len(job.frames) == len(job.prepared) and bundle.detector.fits(job.prepared):
            return self._try(bundle, job.frames, job.prepared)
        batch_max = bundle.detector.batch_max
        starts = range(0, len(job.frames), batch_max)
        batches = (job.frames[start : start + batch_max] for start in starts)
        return [result for batch in batches for result in self._try(bundle, batch)]

    def _try(
        self, bundle: LoadedBundle, frames: tuple[Frame, ...], prepared: Prepared | None = None
    ) -> list[FrameResult]:
        try:
            return self._infer(
                bundle, frames, prepared or bundle.detector.prepare([f.image for f in frames])
            )
        except Exception as error:  # noqa: BLE001 - a defect must not end the slot's thread
            if len(frames) == 1:
                self._failed(frames, error)
                return []
        return [result for frame in frames for result in self._try(bundle, (frame,))]

    def _infer(
        self, bundle: LoadedBundle, frames: tuple[Frame, ...], prepared: Prepared
    ) -> list[FrameResult]:
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

    def _failed(self, frames: Sequence[Frame], error: Exception) -> None:
        """Count the frames and keep the reason; seeing goes on."""
        if isinstance(error, DetectorError):
            self.last_error = str(error)
        else:
            _log.error("frame failed", slot=self.name, exc_info=error)
            self.last_error = f"unexpected {type(error).__name__}: {error}"
        self._drop(frames, ERROR)

    def _drop(self, frames: Sequence[Frame], cause: str) -> None:
        for frame in frames:
            self._ledger.dropped(frame.camera, cause)


class _ServingCache:
    """How the bundle that served last turns scores into service."""

    def __init__(self) -> None:
        self._bundle: LoadedBundle | None = None
        self._serving: Serving | None = None

    def of(self, bundle: LoadedBundle) -> Serving:
        if bundle is not self._bundle or self._serving is None:
            self._bundle, self._serving = bundle, Serving(bundle.manifest)
        return self._serving
