from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.observe.service import (
    DIGESTS_MAX,
    RECENT_S,
    Answer,
    ServiceFigures,
    ServiceSink,
    ServiceTally,
)
from tests.fixtures.seeing import detections, result

A, B = "a" * 64, "b" * 64

Answers = st.lists(
    st.builds(
        Answer,
        camera=st.sampled_from(["left", "right"]),
        at_s=st.floats(0, 100),
        latency_ms=st.floats(0.1, 1000),
        served=st.integers(0, 3),
        confidence_sum=st.floats(0, 3),
    ),
    max_size=30,
)


def tally(answers: list[Answer]) -> ServiceTally:
    counted = ServiceTally()
    for answer in answers:
        counted.add(answer)
    return counted


def test_what_a_bundle_did_is_counted() -> None:
    sink = ServiceSink()
    sink.take(result(at_s=10.0, found=detections((0.5, 0), (0.9, 0))))
    sink.take(result(at_s=10.5, found=detections()))
    sink.take(result(at_s=11.0, found=detections((0.7, 0), (0.1, 0))))
    figures = sink.figures("tiny", A)
    assert (figures.frames, figures.detections) == (3, 3)
    assert figures.confidence_sum == pytest.approx(2.1)
    assert figures.confidence_mean == pytest.approx(0.7)
    assert figures.detections_per_frame == pytest.approx(1.0)
    assert figures.seconds == pytest.approx(1.0)
    assert figures.rate_fps == pytest.approx(2.0)
    assert (figures.emptied, figures.appearances) == (1, 1)
    assert sum(figures.latency) == 3


def test_what_is_not_known_is_not_zero() -> None:
    nothing = ServiceSink().figures("tiny", A)
    assert nothing == ServiceFigures()
    assert nothing.rate_fps is None
    assert nothing.confidence_mean is None
    assert nothing.detections_per_frame is None
    assert nothing.p95_ms() is None


def test_the_pause_of_a_bundle_that_did_not_serve_is_not_its_own() -> None:
    sink = ServiceSink()
    for at_s, digest in ((0.0, A), (1.0, A), (2.0, B), (3.0, B), (10.0, A), (11.0, A)):
        sink.take(result(at_s=at_s, digest=digest))
    assert sink.figures("tiny", A).seconds == pytest.approx(2.0)
    assert sink.figures("tiny", B).seconds == pytest.approx(1.0)


def test_figures_of_many_digests_do_not_grow() -> None:
    sink = ServiceSink()
    digests = [f"{number:064d}" for number in range(DIGESTS_MAX + 3)]
    for digest in digests:
        sink.take(result(digest=digest))
    kept = [digest for digest in digests if sink.figures("tiny", digest).frames]
    assert kept == digests[-DIGESTS_MAX:]


def test_recent_figures_forget_what_is_long_ago() -> None:
    sink = ServiceSink()
    for second in range(1000):
        sink.take(result(at_s=float(second)))
    assert sink.figures("tiny", A).frames == 1000
    assert RECENT_S <= sink.recent("tiny", A).frames <= RECENT_S + 11
    assert 60 <= sink.recent("tiny", A, 60.0).frames <= 71
    assert sink.recent("tiny", B).frames == 0


def test_a_life_shorter_than_recent_is_whole() -> None:
    sink = ServiceSink()
    for second in range(20):
        sink.take(result(at_s=float(second)))
    assert sink.recent("tiny", A) == sink.figures("tiny", A)


@given(Answers, Answers)
def test_two_stretches_add_up(first: list[Answer], later: list[Answer]) -> None:
    start, whole = tally(first).figures(), tally([*first, *later]).figures()
    part = whole.since(start)
    assert part.frames == len(later)
    assert part.detections == sum(answer.served for answer in later)
    assert sum(part.latency) == len(later)
    assert min(part.latency) >= 0
    assert part.seconds >= -1e-6
    assert 0 <= part.appearances <= part.emptied <= part.frames
    assert whole.since(whole).frames == 0


def test_a_start_that_is_none_of_this_life_is_left_out() -> None:
    longer, shorter = ServiceTally(), ServiceTally()
    for at_s in range(5):
        longer.add(Answer("left", float(at_s), 1.0, 0, 0.0))
    shorter.add(Answer("left", 0.0, 1.0, 0, 0.0))
    assert shorter.figures().since(longer.figures()) == shorter.figures()


def test_it_is_read_while_it_is_written() -> None:
    sink, read = ServiceSink(), []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            figures = sink.figures("tiny", A)
            read.append(figures.frames == sum(figures.latency))

    reader = threading.Thread(target=look)
    reader.start()
    for second in range(300):
        sink.take(result(at_s=float(second)))
    done.set()
    reader.join(10)
    assert all(read)
