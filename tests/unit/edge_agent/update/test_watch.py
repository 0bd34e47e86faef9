"""An exchange waits until something is known of what serves, and not for ever."""

from __future__ import annotations

import pytest

from edge_agent.config import Limits
from edge_agent.observe.service import ServiceSink
from edge_agent.update.probation import SlotHealth
from edge_agent.update.states import UpdateRecord
from edge_agent.update.watch import Watch
from protocol.messages import SlotDesired
from protocol.states import ExecutionEvent
from tests.fixtures.seeing import detections, result

SLOT, INCUMBENT, OTHER = "tiny", "a" * 64, "c" * 64
LIMITS = Limits()


class Line:
    def __init__(self) -> None:
        self.service, self.frames = ServiceSink(), 0
        self.watch = Watch(SLOT, self.service, SlotHealth, lambda: INCUMBENT, LIMITS)

    def lacks(self, incumbent: str | None, now: float, attempt: int = 1) -> str:
        desired = SlotDesired(
            bundle_digest="b" * 64, manifest_bytes=100, model="tiny", version=2, attempt=attempt
        )
        return self.watch.lacks(UpdateRecord(slot=SLOT, desired=desired), incumbent, now)

    def see(self, frames: int, digest: str = INCUMBENT) -> None:
        for _ in range(frames):
            self.frames += 1
            self.service.take(result(detections((0.5, 0)), at_s=self.frames / 30, digest=digest))


@pytest.fixture
def line() -> Line:
    return Line()


def test_a_first_install_waits_for_nothing(line: Line) -> None:
    assert line.lacks(None, 0.0) == ""


def test_it_waits_until_what_serves_was_seen_on_enough_frames(line: Line) -> None:
    line.see(LIMITS.probation_frames_min - 1)
    why = line.lacks(INCUMBENT, 0.0)
    assert f"on {LIMITS.probation_frames_min} frames" in why
    line.see(1)
    assert line.lacks(INCUMBENT, 1.0) == ""


def test_a_dark_camera_keeps_no_update_waiting_for_ever(line: Line) -> None:
    assert line.lacks(INCUMBENT, 100.0)
    assert line.lacks(INCUMBENT, 99.9 + LIMITS.probation_idle_s)
    assert line.lacks(INCUMBENT, 100.0 + LIMITS.probation_idle_s) == ""


def test_another_that_serves_is_waited_for_anew(line: Line) -> None:
    assert line.lacks(INCUMBENT, 0.0)
    assert line.lacks(OTHER, LIMITS.probation_idle_s)
    line.see(LIMITS.probation_frames_min)
    assert line.lacks(OTHER, LIMITS.probation_idle_s), "frames of another tell nothing"
    assert line.lacks(OTHER, 2 * LIMITS.probation_idle_s) == ""


def test_another_attempt_waits_anew(line: Line) -> None:
    assert line.lacks(INCUMBENT, 0.0)
    assert line.lacks(INCUMBENT, LIMITS.probation_idle_s) == ""
    assert line.lacks(INCUMBENT, LIMITS.probation_idle_s, attempt=2)


def test_a_candidate_that_hangs_after_some_answers_goes_back() -> None:
    """The last frames before the end of probation are answered, or it is not over."""
    service, health, digest = ServiceSink(), SlotHealth(), "b" * 64
    watch = Watch(SLOT, service, lambda: health, lambda: digest, LIMITS)
    wanted = SlotDesired(
        bundle_digest=digest, manifest_bytes=100, model="tiny", version=2, probation_s=5.0
    )
    record = UpdateRecord(slot=SLOT, desired=wanted)
    watch.begin(digest, 100.0)
    at_s, outcome = 100.0, None
    for frame in range(400):
        at_s += 0.1
        answers = frame < 45
        health = SlotHealth(frame + 1, min(frame + 1, 45))
        if answers:
            service.take(result(detections((0.5, 0)), at_s=at_s, digest=digest))
        outcome = watch.judge(record, at_s)
        if outcome is not None:
            break
    assert outcome is not None
    assert outcome.event is ExecutionEvent.ROLLBACK_STARTED
    assert "none was answered" in outcome.reason
    assert at_s == pytest.approx(100.0 + 4.5 + LIMITS.probation_answer_s, abs=0.3)


def test_a_candidate_passes_on_an_answer() -> None:
    service, health, digest = ServiceSink(), SlotHealth(), "b" * 64
    watch = Watch(SLOT, service, lambda: health, lambda: digest, LIMITS)
    wanted = SlotDesired(
        bundle_digest=digest, manifest_bytes=100, model="tiny", version=2, probation_s=5.0
    )
    record = UpdateRecord(slot=SLOT, desired=wanted)
    watch.begin(digest, 100.0)
    health = SlotHealth(3, 0)
    assert watch.judge(record, 105.0) is None, "three frames wait"
    health = SlotHealth(3, 3)
    service.take(result(detections((0.5, 0)), at_s=105.1, digest=digest))
    outcome = watch.judge(record, 105.1)
    assert outcome is not None and outcome.event is None
