"""What a wave's gate looks at: what was measured of its cameras before and after. Pure.

Only sums of each window are kept. Confidences are the calibrated ones, counted from the fixed
floor, so that a build with other thresholds or another scale is measured by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic_core import from_json

from protocol.histograms import confidence_histogram, milliseconds_histogram

Floats = npt.NDArray[np.float64]

CONFIDENCE = confidence_histogram()
LATENCY_MS = milliseconds_histogram()
LATENCY_BINS = len(LATENCY_MS.counts)
_CENTRES = (np.array(CONFIDENCE.edges()[:-1]) + np.array(CONFIDENCE.edges()[1:])) / 2

WindowRow = tuple[float, float, str]
"""start and end (Unix seconds) of a window, and its message as JSON text."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of one camera under one build, N of them in the order of time.

    Attributes:
        start_s, length_s: (N,) Unix seconds, and seconds.
        frames, captured, dropped: (N,) inferred; captured; of those not inferred.
        luminance: (N,) mean grey level, 0..255; NaN where it was not measured.
        worth: (N,) sum of the calibrated confidences of all detections: how many are likely
            right.
        squares, cubes, fourths: (N,) sums of their powers.
        class_worth: (N, K) `worth` of each of `class_names`.
        latency: (N, 60) frames by inference time, in the bins of `milliseconds_histogram`.
    """

    class_names: tuple[str, ...]
    start_s: Floats
    length_s: Floats
    frames: Floats
    captured: Floats
    dropped: Floats
    luminance: Floats
    worth: Floats
    squares: Floats
    cubes: Floats
    fourths: Floats
    class_worth: Floats
    latency: Floats

    def __len__(self) -> int:
        return len(self.start_s)

    def only(self, kept: npt.NDArray[np.bool_]) -> Windows:
        """Those of the windows where `kept` (N,) is true."""
        columns = {name: getattr(self, name)[kept] for name in _COLUMNS}
        return Windows(self.class_names, **columns)


_COLUMNS = (
    "start_s",
    "length_s",
    "frames",
    "captured",
    "dropped",
    "luminance",
    "worth",
    "squares",
    "cubes",
    "fourths",
    "class_worth",
    "latency",
)


@dataclass(frozen=True, eq=False)
class CameraEvidence:
    """One camera on both sides of `exchanged_at`, by the clock of its device."""

    device_id: str
    camera: str
    exchanged_at: float
    before: Windows
    after: Windows

    @property
    def name(self) -> str:
        return f"{self.device_id}/{self.camera}"


@dataclass(frozen=True)
class DeviceEvidence:
    """What else speaks of a device of the wave.

    Attributes:
        starts: of the agent since the attempt began; an update causes none.
        overridden: what somebody at the device said against the build, in words; "": nothing.
        shadow: the figures of its shadow by name; empty where none ran.
    """

    device_id: str
    starts: int = 0
    overridden: str = ""
    shadow: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class WaveEvidence:
    """All that a gate looks at.

    Attributes:
        cameras: of the wave's devices that run the new build.
        controls: of devices of later waves, which keep the incumbent on both sides.
        devices: of the wave that run the new build, or did.
        cameras_unread: of the wave that were left out, for there are too many.
    """

    cameras: Sequence[CameraEvidence]
    controls: Sequence[CameraEvidence] = ()
    devices: Sequence[DeviceEvidence] = ()
    cameras_unread: int = 0


def read_windows(rows: Iterable[WindowRow], class_names: Sequence[str] = ()) -> Windows:
    """Windows from their messages as they were stored.

    class_names: of the build, by class id; an id that has none goes by its number. Confidences
    and latencies in other bins than the protocol's are left out, as unknown.
    """
    found = sorted((start, end, from_json(text)["stats"]) for start, end, text in rows)
    stats = [each for _, _, each in found]
    ids = sorted({int(i) for each in stats for i in each.get("classes", {})})
    names = tuple(class_names[i] if i < len(class_names) else str(i) for i in ids)
    count = len(found)
    bins = np.zeros((count, len(ids), len(_CENTRES)))
    latency = np.zeros((count, LATENCY_BINS))
    luminance = np.full(count, np.nan)
    place = {class_id: k for k, class_id in enumerate(ids)}
    for n, each in enumerate(stats):
        for class_id, seen in each.get("classes", {}).items():
            if _fits(seen.get("calibrated"), CONFIDENCE.high, len(_CENTRES)):
                bins[n, place[int(class_id)]] = seen["calibrated"]["counts"]
        if _fits(each.get("latency_ms"), LATENCY_MS.high, LATENCY_BINS):
            latency[n] = each["latency_ms"]["counts"]
        luminance[n] = _mean(each.get("luminance"))
    class_worth = bins @ _CENTRES
    return Windows(
        class_names=names,
        start_s=np.array([start for start, _, _ in found]),
        length_s=np.array([end - start for start, end, _ in found]),
        frames=np.array([float(each.get("frames_inferred", 0)) for each in stats]),
        captured=np.array([float(each.get("frames_captured", 0)) for each in stats]),
        dropped=np.array([float(sum(each.get("frames_dropped", {}).values())) for each in stats]),
        luminance=luminance,
        worth=class_worth.sum(axis=1),
        squares=(bins @ _CENTRES**2).sum(axis=1),
        cubes=(bins @ _CENTRES**3).sum(axis=1),
        fourths=(bins @ _CENTRES**4).sum(axis=1),
        class_worth=class_worth,
        latency=latency,
    )


def _fits(histogram: Mapping[str, Any] | None, high: float, bins: int) -> bool:
    return histogram is not None and histogram["high"] == high and len(histogram["counts"]) == bins


def _mean(histogram: Mapping[str, Any] | None) -> float:
    """Mean of a linear histogram by its bins' centres; NaN where nothing was counted."""
    total = sum(histogram["counts"]) if histogram else 0
    if not histogram or not total:
        return float("nan")
    counts, low, high = histogram["counts"], float(histogram["low"]), float(histogram["high"])
    step = (high - low) / len(counts)
    return low + step * float(sum((i + 0.5) * n for i, n in enumerate(counts)) / total)
