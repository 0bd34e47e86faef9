"""The sink that counts for the local pages: frames per second and where the time went."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from edge_agent.results import FrameResult

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
RATE_WINDOW_S = 5.0
TIMES_MAX = 512


@dataclass(frozen=True)
class Spread:
    """Durations counted in the bins that `BOUNDS_S` bound from above, and a last one."""

    counts: tuple[int, ...]
    sum_s: float

    def mean_ms(self) -> float | None:
        total = sum(self.counts)
        return 1000 * self.sum_s / total if total else None


@dataclass
class _Bins:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def spread(self) -> Spread:
        return Spread(tuple(self.counts), self.sum_s)


@dataclass
class _Camera:
    latency: _Bins = field(default_factory=_Bins)
    age: _Bins = field(default_factory=_Bins)
    times_s: deque[float] = field(default_factory=lambda: deque(maxlen=TIMES_MAX))
    served: int = 0


@dataclass(frozen=True)
class CameraFigures:
    """What came of one camera since the start.

    Attributes:
        results_per_s: over the last seconds; None before the first result, 0 when none came.
        latency: time in the runtime and the head.
        age: from the frame's capture to its result.
        served: detections that reached the serving threshold.
    """

    results_per_s: float | None
    latency: Spread
    age: Spread
    served: int


class Figures:
    """Sink `local`. `of` may be called by any thread."""

    name = "local"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cameras: dict[str, _Camera] = {}

    def take(self, result: FrameResult) -> None:
        with self._lock:
            camera = self._cameras.setdefault(result.camera, _Camera())
            camera.latency.add(result.latency_ms / 1000)
            camera.age.add(max(0.0, result.result_monotonic - result.frame.captured_monotonic))
            camera.times_s.append(result.result_monotonic)
            camera.served += int(result.served.sum())

    def tick(self, now_s: float) -> None:
        """Everything is counted as it comes."""

    def close(self) -> None:
        """The figures stay readable."""

    def silent_s(self, camera: str, now_s: float) -> float:
        """How long a camera has given no result at `now_s` (monotonic); inf before the first."""
        with self._lock:
            found = self._cameras.get(camera)
            return now_s - found.times_s[-1] if found is not None else float("inf")

    def of(self, camera: str, now_s: float) -> CameraFigures:
        """The figures of a camera at `now_s` (monotonic)."""
        with self._lock:
            found = self._cameras.get(camera, _Camera())
            return CameraFigures(
                _per_second(found.times_s, now_s),
                found.latency.spread(),
                found.age.spread(),
                found.served,
            )


def _per_second(times_s: deque[float], now_s: float) -> float | None:
    if not times_s:
        return None
    recent = [t for t in times_s if now_s - t <= RATE_WINDOW_S]
    span_s = now_s - recent[0] if recent else 0.0
    return (len(recent) - 1) / span_s if span_s > 0 else 0.0
