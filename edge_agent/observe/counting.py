"""Counters of one camera and build that are cheap to add to and become protocol statistics."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Detections
from protocol.histograms import CONFIDENCE_BINS, Histogram, confidence_histogram
from protocol.windows import ClassStats, WindowStats

Counts = npt.NDArray[np.int64]


class Tally:
    """Counts into the bins of a protocol histogram without building one for each value."""

    def __init__(self, empty: Histogram) -> None:
        self._empty = empty
        self._counts = [0] * len(empty.counts)
        log = empty.scale == "log"
        self._axis = math.log10 if log else float
        self._low = self._axis(empty.low)
        self._span = self._axis(empty.high) - self._low

    def add(self, value: float) -> None:
        """Count `value`; one that is no number is left out."""
        if math.isnan(value):
            return
        last = len(self._counts) - 1
        if value <= self._empty.low:
            place = 0
        elif value >= self._empty.high:
            place = last
        else:
            share = (self._axis(value) - self._low) / self._span
            place = min(last, int(share * len(self._counts)))
        self._counts[place] += 1

    def histogram(self) -> Histogram:
        return self._empty.model_copy(update={"counts": tuple(self._counts)})


class ClassCounts:
    """Confidences and served detections by class."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._bins: Counts = np.zeros(classes * CONFIDENCE_BINS, np.int64)
        self._served: Counts = np.zeros(classes, np.int64)
        self.served_confidence_sum = 0.0

    def add(self, detections: Detections, served: npt.NDArray[np.bool_]) -> None:
        """Count detections whose class ids are below `classes`; `served` is bool (N,)."""
        if not len(detections):
            return
        ids = detections.class_ids
        # In double precision, as protocol.histograms bins them.
        confidences = detections.confidences.astype(np.float64)
        bins = np.clip((confidences * CONFIDENCE_BINS).astype(np.intp), 0, CONFIDENCE_BINS - 1)
        self._bins += np.bincount(ids * CONFIDENCE_BINS + bins, minlength=len(self._bins))
        if served.any():
            self._served += np.bincount(ids[served], minlength=self._classes)
            self.served_confidence_sum += float(confidences[served].sum())

    def stats(self) -> dict[int, ClassStats]:
        """Statistics of the classes that were seen."""
        by_class = self._bins.reshape(self._classes, CONFIDENCE_BINS)
        empty = confidence_histogram()
        return {
            int(i): ClassStats(
                confidence=empty.model_copy(update={"counts": tuple(by_class[i].tolist())}),
                served=int(self._served[i]),
            )
            for i in np.flatnonzero(by_class.any(axis=1))
        }


class WindowCounts:
    """Everything that a window counts of results; captured and dropped frames come apart."""

    def __init__(self, classes: int) -> None:
        empty = WindowStats()
        self.inferred = 0
        self.empty = 0
        self.classes = ClassCounts(classes)
        self.latency_ms = Tally(empty.latency_ms)
        self.gap_ms = Tally(empty.gap_ms)
        self.luminance = Tally(empty.luminance)
        self.sharpness = Tally(empty.sharpness)

    def stats(self, captured: int, dropped: dict[str, int]) -> WindowStats:
        return WindowStats(
            frames_captured=captured,
            frames_inferred=self.inferred,
            frames_dropped=dropped,
            empty_frames=self.empty,
            served_confidence_sum=self.classes.served_confidence_sum,
            classes=self.classes.stats(),
            latency_ms=self.latency_ms.histogram(),
            gap_ms=self.gap_ms.histogram(),
            luminance=self.luminance.histogram(),
            sharpness=self.sharpness.histogram(),
        )
