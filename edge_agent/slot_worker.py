"""One slot's two threads: one prepares the next frame while the other infers this one."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import structlog

from edge_agent.cameras.feed import Feed
from edge_agent.cameras.source import Frame
from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.detect.detector import Detections
from edge_agent.detect.letterbox import Prepared
from edge_agent.errors import DetectorError
from edge_agent.ledger import ERROR, NO_MODEL, Ledger
from edge_agent.results import FrameResult
from edge_agent.update.slot import Slot
from protocol.bundles import Manifest

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

_TAKE_TIMEOUT_S = 0.1
_NO_MODEL_PAUSE_S = 0.02


@dataclass(frozen=True)
class _Job:
    frame: Frame
    prepared: Prepared


class SlotWorker:
    """Takes frames from the slot's feed and hands results to `deliver`, in the feed's order.

    The bundle is read from the slot once per frame, and leased while it infers, so an
    exchange falls between two frames. A frame that was prepared for another input is
    prepared again.
    """

    def __init__(
        self,
        slot: Slot,
        feed: Feed,
        *,
        ledger: Ledger,
        clock: Clock,
        deliver: Callable[[FrameResult], None],
    ) -> None:
        self.name = slot.name
        self.last_error = ""
        self._slot, self._feed = slot, feed
        self._ledger, self._clock, self._deliver = ledger, clock, deliver
        self._thresholds = _ThresholdCache()
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
            if self._slot.current() is None:
                self._feed.drop_live(NO_MODEL)
                self._stopping.wait(_NO_MODEL_PAUSE_S)
                continue
            frame = self._feed.take(_TAKE_TIMEOUT_S)
            if frame is not None:
                prepared = self._with_bundle(frame, self._prepare)
                if prepared is not None:
                    self._prepared.put(_Job(frame, prepared))
        self._prepared.put(None)

    def _infer_all(self) -> None:
        while (job := self._prepared.get()) is not None:
            frame, prepared = job.frame, job.prepared
            result = self._with_bundle(frame, partial(self._infer, prepared=prepared))
            self._spare.append(prepared)
            if result is not None:
                self._deliver(result)

    def _with_bundle(self, frame: Frame, work: Callable[[LoadedBundle, Frame], _T]) -> _T | None:
        """Do `work` under a lease; a frame that fails is counted and seeing goes on."""
        with self._slot.lease() as bundle:
            if bundle is None:
                self._ledger.dropped(frame.camera, NO_MODEL)
                return None
            try:
                return work(bundle, frame)
            except DetectorError as error:
                self.last_error = str(error)
            except Exception as error:  # noqa: BLE001 - a defect must not end the slot's thread
                _log.exception("frame failed", slot=self.name, camera=frame.camera)
                self.last_error = f"unexpected {type(error).__name__}: {error}"
            self._ledger.dropped(frame.camera, ERROR)
            return None

    def _prepare(self, bundle: LoadedBundle, frame: Frame) -> Prepared:
        spare = self._spare.popleft() if self._spare else None
        return bundle.detector.prepare(frame.image, spare)

    def _infer(self, bundle: LoadedBundle, frame: Frame, prepared: Prepared) -> FrameResult:
        if not bundle.detector.fits(prepared):
            prepared = bundle.detector.prepare(frame.image)
        started_s = self._clock.monotonic()
        detections = bundle.detector.infer(prepared)
        ended_s = self._clock.monotonic()
        served = served_mask(bundle, detections, self._thresholds.of(bundle))
        self._ledger.inferred(frame.camera)
        return FrameResult(
            camera=frame.camera,
            slot=self.name,
            frame=frame,
            bundle_digest=bundle.digest,
            manifest=bundle.manifest,
            detections=detections,
            served=served,
            latency_ms=(ended_s - started_s) * 1000,
            result_at=self._clock.wall(),
            result_monotonic=ended_s,
            inner=prepared.inner,
        )


class _ThresholdCache:
    """The thresholds of the bundle that served last."""

    def __init__(self) -> None:
        self._bundle: LoadedBundle | None = None
        self._thresholds: npt.NDArray[np.float32] = np.empty(0, np.float32)

    def of(self, bundle: LoadedBundle) -> npt.NDArray[np.float32]:
        if bundle is not self._bundle:
            self._bundle, self._thresholds = bundle, class_thresholds(bundle.manifest)
        return self._thresholds


def class_thresholds(manifest: Manifest) -> npt.NDArray[np.float32]:
    """Serving threshold (classes,) by class id."""
    count = len(manifest.class_names)
    return np.array([manifest.thresholds.of(i) for i in range(count)], dtype=np.float32)


def served_mask(
    bundle: LoadedBundle, detections: Detections, thresholds: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Which detections reach their class's threshold, bool (N,).

    Raises DetectorError on a class that the manifest does not name.
    """
    ids = detections.class_ids
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(thresholds):
        raise DetectorError(
            f"the model of bundle {bundle.digest[:12]} answers with classes {ids.min()} to "
            f"{ids.max()}, its manifest names {len(thresholds)}; export it again"
        )
    reached: npt.NDArray[np.bool_] = detections.confidences >= thresholds[ids]
    return reached
