"""Counters of one camera and build that are cheap to add to and become protocol statistics."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Floats
from edge_agent.observe.reading import MachineReading
from edge_agent.results import FrameResult
from protocol.histograms import CONFIDENCE_BINS, Histogram, confidence_histogram
from protocol.windows import (
    AREA_SHARE_MIN,
    GRID,
    POSITIONS,
    ClassStats,
    WindowStats,
    area_histogram,
)

Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]

_AREA_EMPTY = area_histogram()
# Where each kind of bin begins in a class's row.
_CALIBRATED = CONFIDENCE_BINS
_AREA = _CALIBRATED + CONFIDENCE_BINS
_POSITION = _AREA + len(_AREA_EMPTY.counts)
_BINS = _POSITION + POSITIONS


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
    """Confidences, sizes, places and served detections by class.

    All bins of a class lie side by side in one array, so that a frame costs one addition.
    """

    def __init__(self, classes: int) -> None:
        self._bins: Counts = np.zeros((classes, _BINS), np.int64)
        self._served: Counts = np.zeros(classes, np.int64)
        self.served_confidence_sum = 0.0
        self.duplicate_boxes = 0

    def add(self, result: FrameResult) -> None:
        """Count a frame's detections; their class ids are below `classes`."""
        detections, served = result.detections, result.served
        if not len(detections):
            return
        rows = detections.class_ids * _BINS
        frame = result.frame
        places = (
            _confidence_bins(detections.confidences),
            _CALIBRATED + _confidence_bins(result.calibrated),
            _AREA + _area_bins(detections.boxes, frame.width * frame.height),
            _POSITION + _position_bins(detections.boxes, frame.width, frame.height),
        )
        flat = self._bins.reshape(-1)
        np.add.at(flat, np.concatenate([rows + place for place in places]), 1)
        if served.any():
            np.add.at(self._served, detections.class_ids[served], 1)
            # In double precision, as protocol.histograms bins them.
            confidences = detections.confidences[served].astype(np.float64)
            self.served_confidence_sum += float(confidences.sum())
            self.duplicate_boxes += _duplicates(detections.boxes[served])

    def stats(self) -> dict[int, ClassStats]:
        """Statistics of the classes that were seen."""
        empty, area = confidence_histogram(), area_histogram()
        return {
            int(i): ClassStats(
                confidence=_filled(empty, self._bins[i, :_CALIBRATED]),
                calibrated=_filled(empty, self._bins[i, _CALIBRATED:_AREA]),
                area=_filled(area, self._bins[i, _AREA:_POSITION]),
                position=tuple(self._bins[i, _POSITION:].tolist()),
                served=int(self._served[i]),
            )
            for i in np.flatnonzero(self._bins.any(axis=1))
        }


def _filled(empty: Histogram, counts: Counts) -> Histogram:
    return empty.model_copy(update={"counts": tuple(counts.tolist())})


def _confidence_bins(confidences: Floats) -> Places:
    places = (confidences.astype(np.float64) * CONFIDENCE_BINS).astype(np.intp)
    return np.clip(places, 0, CONFIDENCE_BINS - 1)


def _area_bins(boxes: Floats, picture_px: int) -> Places:
    sides = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    shares = np.maximum(sides[:, 0] * sides[:, 1] / picture_px, AREA_SHARE_MIN)
    bins = len(_AREA_EMPTY.counts)
    low = math.log10(AREA_SHARE_MIN)
    places = ((np.log10(shares) - low) / -low * bins).astype(np.intp)
    return np.clip(places, 0, bins - 1)


def _position_bins(boxes: Floats, width: int, height: int) -> Places:
    """The cell of the grid in which a box's centre lies, row by row from the top left."""
    columns = ((boxes[:, 0] + boxes[:, 2]) * (GRID / 2 / width)).astype(np.intp)
    rows = ((boxes[:, 1] + boxes[:, 3]) * (GRID / 2 / height)).astype(np.intp)
    return np.clip(rows, 0, GRID - 1) * GRID + np.clip(columns, 0, GRID - 1)


def _duplicates(boxes: Floats) -> int:
    """Boxes (N, 4) that are the very same as another's, but for one of each."""
    if len(boxes) < 2:
        return 0
    return len(boxes) - len({box.tobytes() for box in np.ascontiguousarray(boxes)})


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
        self.cpu_percent = Tally(empty.cpu_percent)
        self.gpu_percent = Tally(empty.gpu_percent)
        self.temperature_c = Tally(empty.temperature_c)

    def add(self, result: FrameResult) -> None:
        """Count a result, but for what only a stream of them or its pixels tell."""
        self.inferred += 1
        self.empty += not result.served.any()
        self.classes.add(result)
        self.latency_ms.add(result.latency_ms)

    def add_quality(self, luminance: float, sharpness: float) -> None:
        """Count how bright and how sharp a picture is."""
        self.luminance.add(luminance)
        self.sharpness.add(sharpness)

    def add_machine(self, reading: MachineReading) -> None:
        """Count what the meters say; what they do not say is not counted."""
        for tally, value in (
            (self.cpu_percent, reading.cpu_percent),
            (self.gpu_percent, reading.gpu_percent),
            (self.temperature_c, reading.temperature_c),
        ):
            if value is not None:
                tally.add(value)

    def stats(self, captured: int, dropped: dict[str, int]) -> WindowStats:
        return WindowStats(
            frames_captured=captured,
            frames_inferred=self.inferred,
            frames_dropped=dropped,
            empty_frames=self.empty,
            duplicate_boxes=self.classes.duplicate_boxes,
            served_confidence_sum=self.classes.served_confidence_sum,
            classes=self.classes.stats(),
            latency_ms=self.latency_ms.histogram(),
            gap_ms=self.gap_ms.histogram(),
            luminance=self.luminance.histogram(),
            sharpness=self.sharpness.histogram(),
            cpu_percent=self.cpu_percent.histogram(),
            gpu_percent=self.gpu_percent.histogram(),
            temperature_c=self.temperature_c.histogram(),
        )
