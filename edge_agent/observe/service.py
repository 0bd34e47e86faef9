"""How a bundle serves: rate, latency, confidence and detections per slot and digest.

Statistics windows go to the hub; these figures stay here, cumulative, so that probation can
hold what a candidate does against what the incumbent did.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, field

from edge_agent.observe.counting import Tally
from edge_agent.observe.series import RunningSeries, Series
from edge_agent.results import FrameResult
from protocol.histograms import milliseconds_histogram

LATENCY_EMPTY = milliseconds_histogram()
BINS_PER_DECADE = len(LATENCY_EMPTY.counts) / math.log10(LATENCY_EMPTY.high / LATENCY_EMPTY.low)
RECENT_S = 300.0
MARK_EVERY_S = 10.0
DIGESTS_MAX = 4
NOTHING = Series()


@dataclass(frozen=True)
class ServiceFigures:
    """What a bundle did in a slot, over all of its cameras.

    Attributes:
        per_frame: served detections of each frame.
        gap_s: from one answer of the slot to the next.
        latency_ms, latency: time in the runtime and the head; `latency` counts it in the
            bins of `protocol.histograms.milliseconds_histogram`.
        confidence: mean calibrated confidence of what was served, of frames that had any.
        confidence_sum: calibrated confidence of everything served.
        emptied, appearances: frames that came after one without a served detection on the
            same camera, and those of them that had one.
    """

    per_frame: Series = NOTHING
    gap_s: Series = NOTHING
    latency_ms: Series = NOTHING
    latency: tuple[int, ...] = LATENCY_EMPTY.counts
    confidence: Series = NOTHING
    confidence_sum: float = 0.0
    emptied: int = 0
    appearances: int = 0

    @property
    def frames(self) -> int:
        return self.per_frame.count

    @property
    def seconds(self) -> float:
        """Time between answers, summed; the pause before the first one is not in it."""
        return self.gap_s.total

    @property
    def detections(self) -> int:
        return round(self.per_frame.total)

    @property
    def rate_fps(self) -> float | None:
        """Answers per second; None before the second one."""
        return self.gap_s.count / self.gap_s.total if self.gap_s.total > 0 else None

    @property
    def confidence_mean(self) -> float | None:
        """Mean calibrated confidence of what was served; None where nothing was."""
        return self.confidence_sum / self.detections if self.detections else None

    @property
    def detections_per_frame(self) -> float | None:
        return self.per_frame.mean if self.frames else None

    def latency_bin(self, quantile: float) -> float | None:
        """Where in `latency` the quantile (0 to 1) lies, in bins from the lowest edge.

        Values are taken to lie evenly in their bin. None where no frame was answered.
        """
        wanted, seen = quantile * sum(self.latency), 0
        for place, count in enumerate(self.latency):
            if count and seen + count >= wanted:
                return place + max(0.0, wanted - seen) / count
            seen += count
        return None

    def slower_share(self, place: float) -> float:
        """The share (0 to 1) of the frames whose latency lies above `place`, in bins."""
        within = int(place)
        if not self.frames or within >= len(self.latency):
            return 0.0
        above = self.latency[within] * (1.0 - place + within) + sum(self.latency[within + 1 :])
        return above / sum(self.latency)

    def p95_ms(self) -> float | None:
        """The latency that 95 % of the frames do not exceed; its bin is 26 % wide."""
        place = self.latency_bin(0.95)
        return None if place is None else LATENCY_EMPTY.low * 10 ** (place / BINS_PER_DECADE)

    def since(self, start: ServiceFigures) -> ServiceFigures:
        """What was counted after `start` had been read.

        All of it where `start` is not an earlier reading: the digest was forgotten meanwhile.
        """
        if start.frames > self.frames:
            return self
        return ServiceFigures(
            per_frame=self.per_frame.since(start.per_frame),
            gap_s=self.gap_s.since(start.gap_s),
            latency_ms=self.latency_ms.since(start.latency_ms),
            latency=tuple(a - b for a, b in zip(self.latency, start.latency, strict=True)),
            confidence=self.confidence.since(start.confidence),
            confidence_sum=self.confidence_sum - start.confidence_sum,
            emptied=self.emptied - start.emptied,
            appearances=self.appearances - start.appearances,
        )


@dataclass(frozen=True)
class Answer:
    """One frame's answer, as far as the figures need it.

    Attributes:
        at_s: monotonic time.
        confidence_sum: calibrated confidence of the served detections.
    """

    camera: str
    at_s: float
    latency_ms: float
    served: int
    confidence_sum: float


class ServiceTally:
    """The figures of one bundle in one slot as they grow. Not thread-safe."""

    def __init__(self) -> None:
        self._per_frame, self._gap_s = RunningSeries(), RunningSeries()
        self._latency_ms, self._confidence = RunningSeries(), RunningSeries()
        self._latency = Tally(LATENCY_EMPTY)
        self._confidence_sum = 0.0
        self._emptied = self._appearances = 0
        self._last_at_s: float | None = None
        self._last_gap_s: float | None = None
        self._last: dict[str, Answer] = {}

    def add(self, answer: Answer) -> None:
        before = self._last.get(answer.camera)
        self._last[answer.camera] = answer
        self._latency.add(answer.latency_ms)
        self._latency_ms.add(answer.latency_ms, before.latency_ms if before else None)
        self._per_frame.add(answer.served, before.served if before else None)
        if before is not None and not before.served:
            self._emptied += 1
            self._appearances += answer.served > 0
        if answer.served:
            self._confidence_sum += answer.confidence_sum
            mean = answer.confidence_sum / answer.served
            seen = before is not None and before.served > 0
            self._confidence.add(
                mean, before.confidence_sum / before.served if before and seen else None
            )
        if self._last_at_s is not None:
            # Threads side by side may have ended in another order than they are heard in.
            gap_s = max(0.0, answer.at_s - self._last_at_s)
            self._gap_s.add(gap_s, self._last_gap_s)
            self._last_gap_s = gap_s
        self._last_at_s = max(answer.at_s, self._last_at_s or answer.at_s)

    def pause(self) -> None:
        """Another bundle answers now: what comes later does not follow what came before."""
        self._last_at_s = self._last_gap_s = None
        self._last.clear()

    def figures(self) -> ServiceFigures:
        return ServiceFigures(
            per_frame=self._per_frame.read(),
            gap_s=self._gap_s.read(),
            latency_ms=self._latency_ms.read(),
            latency=self._latency.histogram().counts,
            confidence=self._confidence.read(),
            confidence_sum=self._confidence_sum,
            emptied=self._emptied,
            appearances=self._appearances,
        )


@dataclass
class _Served:
    """A tally with readings of it at times past, oldest first."""

    tally: ServiceTally = field(default_factory=ServiceTally)
    last_at_s: float = 0.0
    marks: deque[tuple[float, ServiceFigures]] = field(
        default_factory=lambda: deque(maxlen=int(RECENT_S / MARK_EVERY_S) + 2)
    )

    def take(self, answer: Answer) -> None:
        self.last_at_s = answer.at_s
        if not self.marks or answer.at_s - self.marks[-1][0] >= MARK_EVERY_S:
            self.marks.append((answer.at_s, self.tally.figures()))
        self.tally.add(answer)


class ServiceSink:
    """Sink `service`: cumulative figures per slot and digest.

    `figures` and `recent` may be called by any thread, the rest by the delivery's. Of each
    slot the digests that answered last are kept, so that a device that gets a new model every
    day does not grow.
    """

    name = "service"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: dict[str, dict[str, _Served]] = {}

    def take(self, result: FrameResult) -> None:
        confidences = result.calibrated[result.served]
        answer = Answer(
            result.camera,
            result.result_monotonic,
            result.latency_ms,
            len(confidences),
            float(confidences.sum(dtype="float64")),
        )
        with self._lock:
            self._serving(result.slot, result.bundle_digest).take(answer)

    def tick(self, now_s: float) -> None:
        """Nothing is due: the figures change with answers only."""

    def close(self) -> None:
        """The figures stay readable."""

    def figures(self, slot: str, digest: str) -> ServiceFigures:
        """Everything that the bundle did in the slot since the agent started."""
        with self._lock:
            served = self._slots.get(slot, {}).get(digest)
            return ServiceFigures() if served is None else served.tally.figures()

    def recent(self, slot: str, digest: str, seconds: float = RECENT_S) -> ServiceFigures:
        """What the bundle did in the last `seconds` (300 at most) before its last answer.

        The baseline of a probation: what a camera saw last night says little of now.
        """
        with self._lock:
            served = self._slots.get(slot, {}).get(digest)
            if served is None:
                return ServiceFigures()
            since_s = served.last_at_s - min(seconds, RECENT_S)
            start = ServiceFigures()
            for at_s, figures in served.marks:
                if at_s > since_s:
                    break
                start = figures
            return served.tally.figures().since(start)

    def _serving(self, slot: str, digest: str) -> _Served:
        """The digest's figures; the newest of a slot's stands last."""
        digests = self._slots.setdefault(slot, {})
        newest = next(reversed(digests), None)
        if newest == digest:
            return digests[digest]
        if newest is not None:
            digests[newest].tally.pause()
        served = digests.pop(digest, None) or _Served()
        digests[digest] = served
        if len(digests) > DIGESTS_MAX:
            del digests[next(iter(digests))]
        return served
