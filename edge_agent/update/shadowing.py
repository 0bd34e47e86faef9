"""Lets a candidate look at live frames beside the incumbent; the shell around `shadow`.

The delivery thread hands a frame over only while the candidate is at rest, and never waits.
Everything else is done by a thread of the lowest priority, which takes what the line leaves.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt
import structlog

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.detect.detector import Detections, Floats
from edge_agent.detect.letterbox import Prepared
from edge_agent.detect.serving import Serving
from edge_agent.dice import Dice
from edge_agent.results import FrameResult
from edge_agent.update.pace import Pace
from edge_agent.update.quiet import LOWEST
from edge_agent.update.shadow import FAILED_FRAME, Seen, ShadowCounts, compare
from protocol.bundles import Manifest
from protocol.messages import ShadowPolicy

WAITED = Path("/proc/thread-self/schedstat")
TOLD_ERRORS_MAX = 3
END_TIMEOUT_S = 10.0
# What an earlier look still says of how long one takes.
LOOK_KEPT = 0.8

Disagreed = Callable[[FrameResult, float], None]
"""Takes the incumbent's answer to a frame that the candidate saw otherwise, and the share of
frames that the candidate looks at. Called by the shadow's thread."""

_log = structlog.get_logger(__name__)


class Shadowing:
    """Sink `shadow`: at most one candidate for each slot.

    `take`, `tick` and `close` are the delivery's; the rest is for the agent's thread, and
    `counts` for any.
    """

    name = "shadow"

    def __init__(self, rate_share_min: float, rng: Dice, disagreed: Disagreed) -> None:
        self._rate_share_min, self._rng, self._disagreed = rate_share_min, rng, disagreed
        self._lock = threading.Lock()
        self._shadows: dict[str, _Shadow] = {}

    def begin(self, slot: str, candidate: LoadedBundle, policy: ShadowPolicy) -> None:
        """Let `candidate` see frames of the slot from now on, counted from nothing.

        It has been loaded and run: threads that its runtime begins later would inherit the
        lowest priority. Raises ValueError where another one is not ended yet.
        """
        pace = Pace.of(policy.share, self._rate_share_min)
        shadow = _Shadow(slot, candidate, pace, self._rng, self._disagreed)
        with self._lock:
            if slot in self._shadows:
                raise ValueError(f"a candidate shadows {slot} already; end it first")
            self._shadows[slot] = shadow
        shadow.start()

    def counts(self, slot: str) -> ShadowCounts | None:
        """What was counted since `begin`; None where no candidate shadows the slot."""
        shadow = self._shadows.get(slot)
        return None if shadow is None else shadow.counts()

    def end(self, slot: str, timeout_s: float = END_TIMEOUT_S) -> bool:
        """End the slot's shadow, if there is one; whether its candidate is not used any more,
        which takes one inference at most. One that hangs in it is left to hang."""
        with self._lock:
            shadow = self._shadows.pop(slot, None)
        return shadow is None or shadow.stop(timeout_s)

    def take(self, result: FrameResult) -> None:
        shadow = self._shadows.get(result.slot)
        if shadow is not None:
            shadow.take(result)

    def tick(self, now_s: float) -> None:
        """Nothing is due by time."""

    def close(self) -> None:
        for slot in tuple(self._shadows):
            self.end(slot)


class _Shadow:
    """One slot's candidate.

    No lock is shared with the delivery: a thread of the lowest priority that held one could
    keep the line waiting. Each figure has one thread that writes it, by one assignment.
    """

    def __init__(
        self, slot: str, candidate: LoadedBundle, pace: Pace, rng: Dice, disagreed: Disagreed
    ) -> None:
        self._slot, self._candidate, self._rng = slot, candidate, rng
        self._disagreed = disagreed
        self._serving = Serving(candidate.manifest)
        self._frames: SimpleQueue[FrameResult | None] = SimpleQueue()
        self._stopping = threading.Event()
        # The delivery's.
        self._pace, self._rates, self._passed, self._given = pace, ShadowCounts(), 0, 0
        # The shadow's thread's.
        self._compared, self._incumbent, self._told = ShadowCounts(), "", 0
        self._look_s: float | None = None
        self._memory: Prepared | None = None
        # Set by the delivery, cleared by the shadow's thread.
        self._busy = False
        self._thread = threading.Thread(target=self._run, name=f"shadow-{slot}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Whether the thread has ended within `timeout_s`."""
        self._stopping.set()
        self._frames.put(None)
        self._hurry()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def counts(self) -> ShadowCounts:
        return self._compared.merge(self._rates)

    def take(self, result: FrameResult) -> None:
        if result.bundle_digest == self._candidate.digest:
            return
        self._passed += 1
        at_rest = not self._busy
        self._pace, stretch = self._pace.after(result.result_monotonic, at_rest, self._look_s)
        if stretch is not None:
            self._rates = self._rates.merge(stretch)
        share = self._pace.share_now
        if at_rest and share > 0 and self._rng.random() < share:
            self._busy, self._given = True, self._given + 1
            self._frames.put(result)

    def _run(self) -> None:
        _lower(threading.get_native_id())
        while True:
            result = self._frames.get()
            if result is None or self._stopping.is_set():
                return
            with _computing() as took:
                self._look(result)
            self._look_s = _smoothed(self._look_s, took.seconds)
            # The frame is not kept while the next one is waited for.
            del result
            self._busy = False

    def _look(self, result: FrameResult) -> None:
        if result.bundle_digest != self._incumbent:
            # Another incumbent is another comparison.
            self._incumbent, self._compared = result.bundle_digest, ShadowCounts()
        try:
            counts = compare(_incumbent_saw(result), self._candidate_sees(result))
        except Exception as error:  # noqa: BLE001 - a runtime may raise anything
            self._compared = self._compared.merge(FAILED_FRAME)
            self._tell("shadow_frame_failed", error)
            return
        self._compared = self._compared.merge(counts)
        if counts.disagreeing:
            self._offer(result)

    def _candidate_sees(self, result: FrameResult) -> Seen:
        detector = self._candidate.detector
        self._memory = detector.prepare((result.frame.image,), self._memory)
        with _computing() as took:
            found = detector.infer(self._memory)[0]
        return seen(
            self._candidate.manifest,
            found,
            self._serving.mask(found),
            self._serving.calibrated(found),
            took.seconds * 1000,
        )

    def _offer(self, result: FrameResult) -> None:
        try:
            self._disagreed(result, min(1.0, self._given / max(1, self._passed)))
        except Exception as error:  # noqa: BLE001 - no image is worth the comparison
            self._tell("shadow_sample_lost", error)

    def _tell(self, what: str, error: Exception) -> None:
        """Log the first few: a candidate may fail at every frame."""
        if self._told < TOLD_ERRORS_MAX:
            self._told += 1
            _log.warning(what, slot=self._slot, error=f"{type(error).__name__}: {error}")

    def _hurry(self) -> None:
        """Let the last inference end soon, where the process may raise a priority."""
        own, other = threading.get_native_id(), self._thread.native_id
        if other is not None:
            # It may have ended by itself, or the right may be lacking.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, other, os.getpriority(os.PRIO_PROCESS, own))


def seen(
    manifest: Manifest,
    found: Detections,
    served: npt.NDArray[np.bool_],
    calibrated: Floats,
    latency_ms: float | None,
) -> Seen:
    """What a build would serve of a frame."""
    names = manifest.class_names
    return Seen(
        boxes=found.boxes[served],
        names=tuple(names[number] for number in found.class_ids[served].tolist()),
        confidences=calibrated[served],
        latency_ms=latency_ms,
    )


def _incumbent_saw(result: FrameResult) -> Seen:
    return seen(
        result.manifest, result.detections, result.served, result.calibrated, result.latency_ms
    )


def _lower(thread: int) -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, LOWEST)


@dataclass
class _Took:
    """How long a block took (s), but for the time in which its thread waited for a core."""

    seconds: float = 0.0


@contextlib.contextmanager
def _computing() -> Iterator[_Took]:
    """Measure the block. This thread waits for its priority's sake, which is no fault of the
    candidate and costs the incumbent nothing."""
    took, waited_s, started_s = _Took(), _waited_s(), time.monotonic()
    yield took
    took.seconds = max(0.0, time.monotonic() - started_s - (_waited_s() - waited_s))


def _smoothed(before_s: float | None, now_s: float) -> float:
    return now_s if before_s is None else LOOK_KEPT * before_s + (1 - LOOK_KEPT) * now_s


def _waited_s() -> float:
    """How long this thread has stood ready without a core, since it began; 0 where the system
    does not say."""
    try:
        return int(WAITED.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
