"""Statistics of one camera over one span of time, mergeable in any order.

Confidences are counted from a fixed floor that does not depend on serving thresholds,
so that changing a threshold never looks like drift.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from protocol.histograms import Histogram, confidence_histogram, milliseconds_histogram

CONFIDENCE_FLOOR = 0.05


class ClassStats(BaseModel):
    """Detections of one class at or above the floor, and those that were served."""

    model_config = ConfigDict(frozen=True, extra="allow")

    confidence: Histogram = Field(default_factory=confidence_histogram)
    served: int = Field(default=0, ge=0)

    def merge(self, other: ClassStats) -> ClassStats:
        return ClassStats(
            confidence=self.confidence.merge(other.confidence), served=self.served + other.served
        )


class WindowStats(BaseModel):
    """Counters of one camera and one build over a window.

    Attributes:
        served_confidence_sum: sum of confidences at or above the serving threshold; divided
            by the served count it is the exact mean confidence.
        frames_dropped: frames by cause that were captured and not inferred.
        empty_frames: inferred frames with nothing served.
        latency_ms, gap_ms: inference time per frame; time between consecutive results.
        luminance: mean grey level of the frames, 0..255.
        sharpness: variance of the Laplacian, log bins.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    frames_captured: int = Field(default=0, ge=0)
    frames_inferred: int = Field(default=0, ge=0)
    frames_dropped: dict[str, int] = Field(default_factory=dict, max_length=32)
    empty_frames: int = Field(default=0, ge=0)
    served_confidence_sum: float = Field(default=0.0, ge=0)
    classes: dict[int, ClassStats] = Field(default_factory=dict, max_length=4096)
    latency_ms: Histogram = Field(default_factory=milliseconds_histogram)
    gap_ms: Histogram = Field(default_factory=milliseconds_histogram)
    luminance: Histogram = Field(default_factory=lambda: Histogram.empty(0, 255, 16))
    sharpness: Histogram = Field(default_factory=lambda: Histogram.empty(1, 1e5, 25, "log"))

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
            served_confidence_sum=self.served_confidence_sum + other.served_confidence_sum,
            classes=classes,
            latency_ms=self.latency_ms.merge(other.latency_ms),
            gap_ms=self.gap_ms.merge(other.gap_ms),
            luminance=self.luminance.merge(other.luminance),
            sharpness=self.sharpness.merge(other.sharpness),
        )


def merge_all(windows: list[WindowStats]) -> WindowStats:
    """All windows as one; of an empty list, an empty window."""
    total = WindowStats()
    for window in windows:
        total = total.merge(window)
    return total
