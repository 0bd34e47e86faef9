"""Statistics of one camera over one span of time, mergeable in any order.

Confidences are counted from a fixed floor that does not depend on serving thresholds,
so that changing a threshold never looks like drift.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from protocol.histograms import Histogram, confidence_histogram, milliseconds_histogram

CONFIDENCE_FLOOR = 0.05
GRID = 4
POSITIONS = GRID * GRID
AREA_SHARE_MIN = 1e-6


def area_histogram() -> Histogram:
    """An empty histogram of shares of a picture's area: log bins from a millionth to all."""
    return Histogram.empty(AREA_SHARE_MIN, 1.0, 24, "log")


def percent_histogram() -> Histogram:
    """An empty histogram of percentages."""
    return Histogram.empty(0, 100, 20)


def celsius_histogram() -> Histogram:
    """An empty histogram of temperatures of a machine's parts."""
    return Histogram.empty(0, 120, 24)


class ClassStats(BaseModel):
    """Detections of one class at or above the floor, and those that were served.

    Attributes:
        confidence, calibrated: before and after the bundle's calibration.
        area: of the box, as share of the picture, log bins.
        position: of the box's centre on a grid of 4 x 4, row by row from the top left.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    confidence: Histogram = Field(default_factory=confidence_histogram)
    calibrated: Histogram = Field(default_factory=confidence_histogram)
    area: Histogram = Field(default_factory=area_histogram)
    position: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0,) * POSITIONS, min_length=POSITIONS, max_length=POSITIONS
    )
    served: int = Field(default=0, ge=0)

    def merge(self, other: ClassStats) -> ClassStats:
        return ClassStats(
            confidence=self.confidence.merge(other.confidence),
            calibrated=self.calibrated.merge(other.calibrated),
            area=self.area.merge(other.area),
            position=tuple(a + b for a, b in zip(self.position, other.position, strict=True)),
            served=self.served + other.served,
        )


class WindowStats(BaseModel):
    """Counters of one camera and one build over a window.

    Attributes:
        served_confidence_sum: sum of confidences at or above the serving threshold; divided
            by the served count it is the exact mean confidence.
        frames_dropped: frames by cause that were captured and not inferred.
        empty_frames: inferred frames with nothing served.
        duplicate_boxes: served detections whose box another class of the same anchor, more
            confident, has too.
        latency_ms, gap_ms: inference time per frame; time between consecutive results.
        luminance: mean grey level of the frames, 0..255.
        sharpness: variance of the Laplacian, log bins.
        cpu_percent, gpu_percent, temperature_c: of the machine, read now and then during the
            window; empty where they cannot be read (unknown is never 0).
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    frames_captured: int = Field(default=0, ge=0)
    frames_inferred: int = Field(default=0, ge=0)
    frames_dropped: dict[str, int] = Field(default_factory=dict, max_length=32)
    empty_frames: int = Field(default=0, ge=0)
    duplicate_boxes: int = Field(default=0, ge=0)
    served_confidence_sum: float = Field(default=0.0, ge=0)
    classes: dict[int, ClassStats] = Field(default_factory=dict, max_length=4096)
    latency_ms: Histogram = Field(default_factory=milliseconds_histogram)
    gap_ms: Histogram = Field(default_factory=milliseconds_histogram)
    luminance: Histogram = Field(default_factory=lambda: Histogram.empty(0, 255, 16))
    sharpness: Histogram = Field(default_factory=lambda: Histogram.empty(1, 1e5, 25, "log"))
    cpu_percent: Histogram = Field(default_factory=percent_histogram)
    gpu_percent: Histogram = Field(default_factory=percent_histogram)
    temperature_c: Histogram = Field(default_factory=celsius_histogram)

    @property
    def served(self) -> int:
        return sum(c.served for c in self.classes.values())

    def mean_confidence(self) -> float | None:
        """Mean confidence of what was served; None where nothing was."""
        return self.served_confidence_sum / self.served if self.served else None

    def merge(self, other: WindowStats) -> WindowStats:
        """The statistics of both spans together. Raises MergeError on unlike bins."""
        classes = dict(self.classes)
        for class_id, stats in other.classes.items():
            classes[class_id] = classes[class_id].merge(stats) if class_id in classes else stats
        dropped = dict(self.frames_dropped)
        for cause, count in other.frames_dropped.items():
            dropped[cause] = dropped.get(cause, 0) + count
        return WindowStats(
            frames_captured=self.frames_captured + other.frames_captured,
            frames_inferred=self.frames_inferred + other.frames_inferred,
            frames_dropped=dropped,
            empty_frames=self.empty_frames + other.empty_frames,
            duplicate_boxes=self.duplicate_boxes + other.duplicate_boxes,
            served_confidence_sum=self.served_confidence_sum + other.served_confidence_sum,
            classes=classes,
            latency_ms=self.latency_ms.merge(other.latency_ms),
            gap_ms=self.gap_ms.merge(other.gap_ms),
            luminance=self.luminance.merge(other.luminance),
            sharpness=self.sharpness.merge(other.sharpness),
            cpu_percent=self.cpu_percent.merge(other.cpu_percent),
            gpu_percent=self.gpu_percent.merge(other.gpu_percent),
            temperature_c=self.temperature_c.merge(other.temperature_c),
        )


def merge_all(windows: list[WindowStats]) -> WindowStats:
    """All windows as one; of an empty list, an empty window."""
    total = WindowStats()
    for window in windows:
        total = total.merge(window)
    return total
