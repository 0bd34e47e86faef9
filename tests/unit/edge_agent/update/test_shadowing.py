from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.detect.detector import Detections
from edge_agent.results import FrameResult
from edge_agent.update.pace import STRETCH_GAPS_MIN, STRETCH_S
from edge_agent.update.shadow import ShadowCounts, judge
from edge_agent.update.shadowing import Shadowing
from protocol.messages import ShadowPolicy
from protocol.states import Verdict
from tests.fixtures.seeing import detections, eventually, fake_bundle, result

SLOT = "tiny"
CANDIDATE = "b" * 64
GAP_S = 2 * STRETCH_S / STRETCH_GAPS_MIN
POLICY = ShadowPolicy(share=1.0, frames_min=5, detections_min=5)


class Line:
    """The delivery of one camera whose every frame may be shadowed, on a clock of its own."""

    def __init__(self, *, raises: Exception | None = None) -> None:
        self.offered: list[tuple[FrameResult, float]] = []
        self._raises = raises
        self.sink = Shadowing(0.98, _Lowest(), self._offer)
        self.now_s = 1000.0

    def _offer(self, frame: FrameResult, share: float) -> None:
        if self._raises is not None:
            raise self._raises
        self.offered.append((frame, share))

    @property
    def counts(self) -> ShadowCounts:
        counts = self.sink.counts(SLOT)
        assert counts is not None
        return counts

    def see(self, found: Detections, **more: Any) -> None:
        self.now_s += GAP_S
        self.sink.take(result(found, at_s=self.now_s, **more))

    def compare(self, frames: int, found: Detections, **more: Any) -> None:
        """Deliver until `frames` more are counted, or failed."""
        wanted = self.counts.frames + self.counts.errors + frames

        def reached() -> bool:
            self.see(found, **more)
            return self.counts.frames + self.counts.errors >= wanted

        eventually(reached, f"{wanted} frames compared")


class _Lowest(Random):
    """Draws what selects every frame."""

    def random(self) -> float:
        return 0.0


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.sink.close()


def candidate(**detector: object) -> LoadedBundle:
    return fake_bundle(CANDIDATE, 2, **detector)


def held_in_a_frame(line: Line) -> tuple[threading.Event, LoadedBundle]:
    """A candidate that looks at a frame and does not come back before the event is set."""
    hold, loaded = threading.Event(), candidate()
    loaded.detector.hold = hold  # type: ignore[attr-defined]
    line.sink.begin(SLOT, loaded, POLICY)

    def looks() -> bool:
        line.see(detections((0.5, 0)))
        return bool(loaded.detector.running)  # type: ignore[attr-defined]

    eventually(looks, "the candidate looks at a frame")
    return hold, loaded


def test_a_candidate_that_sees_the_same_passes(line: Line) -> None:
    line.sink.begin(SLOT, candidate(mark=0.5), POLICY)
    line.compare(10, detections((0.5, 0)))
    counts = line.counts
    assert counts.agreement == 1
    assert counts.candidate_boxes == counts.incumbent_boxes == counts.matched
    assert sum(counts.candidate_ms) == counts.frames
    assert line.offered == []
    assert counts.without_frames > 0, "the first stretch is without a shadow"


def test_only_what_is_served_is_compared(line: Line) -> None:
    """The second class is served from 0.6 on (`manifest`), the first from 0.25."""
    line.sink.begin(SLOT, candidate(mark=0.5, class_id=1), POLICY)
    line.compare(3, detections((0.2, 0), (0.1, 1)))
    assert line.counts.detections == 0


def test_frames_seen_otherwise_are_offered_with_their_probability(line: Line) -> None:
    line.sink.begin(SLOT, candidate(mark=0.9, class_id=1), POLICY)
    line.compare(10, detections((0.5, 0)))
    counts = line.counts
    assert counts.flips == counts.disagreeing == counts.matched
    assert judge(POLICY, counts).verdict is Verdict.FAIL
    eventually(lambda: len(line.offered) == line.counts.disagreeing, "all are offered")
    assert all(0 < share <= 1 for _, share in line.offered)
    assert line.offered[0][0].bundle_digest != CANDIDATE


def test_classes_are_known_by_name_and_not_by_number(line: Line) -> None:
    loaded = candidate(mark=0.9, class_id=1)
    names = tuple(reversed(loaded.manifest.class_names))
    turned = replace(loaded, manifest=loaded.manifest.model_copy(update={"class_names": names}))
    line.sink.begin(SLOT, turned, POLICY)
    line.compare(3, detections((0.5, 0)))
    assert line.counts.flips == 0


@pytest.mark.parametrize("detector", [{"fails": True}, {"class_id": 7}])
def test_a_candidate_that_raises_fails(line: Line, detector: dict[str, Any]) -> None:
    line.sink.begin(SLOT, candidate(**detector), POLICY)
    line.compare(6, detections((0.5, 0)))
    assert line.counts.frames == 0
    assert judge(POLICY, line.counts).verdict is Verdict.FAIL


def test_an_image_that_is_lost_is_no_fault_of_the_candidate() -> None:
    line = Line(raises=OSError("no room"))
    line.sink.begin(SLOT, candidate(mark=0.9, class_id=1), POLICY)
    line.compare(3, detections((0.5, 0)))
    assert line.counts.errors == 0
    line.sink.close()


def test_the_delivery_never_waits_and_the_end_waits_for_the_candidate(line: Line) -> None:
    hold, loaded = held_in_a_frame(line)
    for _ in range(100):
        line.see(detections((0.5, 0)))
    assert line.counts.frames == 0, "frames that came meanwhile are not kept"
    thread = threading.Thread(target=line.sink.end, args=(SLOT,))
    thread.start()
    eventually(lambda: line.sink.counts(SLOT) is None, "the end has begun")
    assert thread.is_alive()
    hold.set()
    thread.join(30)
    assert not thread.is_alive()
    loaded.detector.close()


def test_a_candidate_that_hangs_keeps_nobody_waiting(line: Line) -> None:
    hold, _ = held_in_a_frame(line)
    assert not line.sink.end(SLOT, timeout_s=0.05)
    assert line.sink.end(SLOT), "there is no shadow any more"
    hold.set()


def test_another_incumbent_begins_another_comparison(line: Line) -> None:
    line.sink.begin(SLOT, candidate(mark=0.5), POLICY)
    line.compare(3, detections((0.5, 0)), digest="a" * 64)
    before = line.counts.frames

    def changed() -> bool:
        line.see(detections((0.5, 0)), digest="c" * 64)
        return line.counts.frames < before

    eventually(changed, "counting began again")


def test_the_candidates_own_answers_and_other_slots_are_not_compared(line: Line) -> None:
    line.sink.begin("another", candidate(), POLICY)
    line.see(detections((0.5, 0)))
    assert line.sink.counts("another") == ShadowCounts()
    line.sink.begin(SLOT, candidate(), POLICY)
    for _ in range(50):
        line.see(detections((0.5, 0)), digest=CANDIDATE)
    assert line.counts == ShadowCounts()


def test_a_slot_has_one_shadow_and_its_end_may_be_asked_for_again(line: Line) -> None:
    line.sink.begin(SLOT, candidate(), POLICY)
    with pytest.raises(ValueError, match="already"):
        line.sink.begin(SLOT, candidate(), POLICY)
    line.sink.end(SLOT)
    line.sink.end(SLOT)
    assert line.sink.counts(SLOT) is None
    line.sink.begin(SLOT, candidate(), POLICY)


def test_the_thread_has_the_lowest_priority_and_ends(line: Line) -> None:
    import os

    line.sink.begin(SLOT, candidate(), POLICY)
    [thread] = [t for t in threading.enumerate() if t.name == f"shadow-{SLOT}"]
    eventually(
        lambda: os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) == 19, "it is lowered"
    )
    line.sink.end(SLOT)
    assert not thread.is_alive()


def test_a_frame_of_another_size_each_time_is_no_trouble(line: Line) -> None:
    line.sink.begin(SLOT, candidate(mark=0.5), POLICY)
    for width in (32, 64, 96):
        line.compare(2, detections((0.5, 0)), picture=np.zeros((48, width, 3), np.uint8))
    assert line.counts.errors == 0
