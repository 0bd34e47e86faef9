from __future__ import annotations

import numpy as np
import pytest

from edge_agent.ledger import ERROR, SUPERSEDED, Ledger
from edge_agent.observe.quality import luminance_and_sharpness
from edge_agent.observe.reading import MachineReading
from edge_agent.observe.windows import WindowSink
from protocol.windows import WindowStats
from tests.fixtures.seeing import detections, image, result

Emitted = tuple[str, str, str, float, float, WindowStats]
OTHER = "b" * 64


@pytest.fixture
def emitted() -> list[Emitted]:
    return []


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(["cam", "other"])


@pytest.fixture
def sink(ledger: Ledger, emitted: list[Emitted]) -> WindowSink:
    return WindowSink(10.0, ledger, lambda *window: emitted.append(window))


def _see(sink: WindowSink, ledger: Ledger, *at_s: float, **kwargs: object) -> None:
    for at in at_s:
        one = result(at_s=at, **kwargs)  # type: ignore[arg-type]
        ledger.captured(one.camera)
        ledger.inferred(one.camera)
        sink.take(one)


def test_a_window_ends_when_its_time_is_over(
    sink: WindowSink, ledger: Ledger, emitted: list[Emitted]
) -> None:
    _see(sink, ledger, 100.0, 100.1, 100.3)
    sink.tick(109.9)
    assert emitted == []
    sink.tick(110.0)
    [(camera, slot, digest, start, end, stats)] = emitted
    assert (camera, slot, digest, start, end) == ("cam", "tiny", "a" * 64, 100.0, 110.0)
    assert (stats.frames_captured, stats.frames_inferred) == (3, 3)
    assert stats.served_confidence_sum == pytest.approx(1.5)
    assert stats.classes[0].served == 3
    assert stats.latency_ms.total == 3
    assert stats.gap_ms.total == 2
    assert stats.luminance.total == stats.sharpness.total == 1
    sink.tick(125.0)
    assert len(emitted) == 1, "nothing happened in the second window"


def test_an_exchange_cuts_the_window_at_the_first_answer_of_the_new_bundle(
    sink: WindowSink, ledger: Ledger, emitted: list[Emitted]
) -> None:
    _see(sink, ledger, 100.0, 101.0)
    _see(sink, ledger, 102.0, 103.0, 104.0, digest=OTHER)
    sink.close()
    assert [(w[2][0], w[3], w[4], w[5].frames_inferred) for w in emitted] == [
        ("a", 100.0, 102.0, 2),
        ("b", 102.0, 104.0, 3),
    ]


def test_windows_add_up_to_the_ledger(
    sink: WindowSink, ledger: Ledger, emitted: list[Emitted]
) -> None:
    _see(sink, ledger, 100.0)
    for _ in range(4):
        ledger.captured("cam")
    ledger.dropped("cam", SUPERSEDED, 3)
    sink.tick(111.0)
    ledger.dropped("cam", ERROR)
    _see(sink, ledger, 112.0, digest=OTHER)
    sink.close()
    account = ledger.account("cam")
    assert sum(w[5].frames_captured for w in emitted) == account.captured == 6
    assert sum(w[5].frames_inferred for w in emitted) == account.inferred == 2
    assert [w[5].frames_dropped for w in emitted] == [{SUPERSEDED: 3}, {ERROR: 1}, {}]


def test_cameras_have_windows_of_their_own(
    sink: WindowSink, ledger: Ledger, emitted: list[Emitted]
) -> None:
    _see(sink, ledger, 100.0)
    _see(sink, ledger, 105.0, camera="other")
    sink.tick(110.0)
    assert [w[0] for w in emitted] == ["cam"]
    sink.tick(115.0)
    assert [w[0] for w in emitted] == ["cam", "other"]


def test_every_fourth_frame_of_each_camera_is_looked_at(emitted: list[Emitted]) -> None:
    cameras = ["a", "b", "c", "d"]
    ledger = Ledger(cameras)
    sink = WindowSink(10.0, ledger, lambda *window: emitted.append(window))
    for turn in range(8):
        for camera in cameras:
            _see(sink, ledger, 100.0 + turn, camera=camera)
    sink.close()
    assert [w[5].luminance.total for w in emitted] == [2, 2, 2, 2]


def test_the_floor_counts_and_the_threshold_serves(
    sink: WindowSink, ledger: Ledger, emitted: list[Emitted]
) -> None:
    # Class 1 has a threshold of its own: 0.6.
    _see(sink, ledger, 100.0, found=detections((0.9, 0), (0.5, 1), (0.1, 0)))
    _see(sink, ledger, 101.0, found=detections((0.55, 1)))
    sink.close()
    stats = emitted[0][5]
    assert {c: (s.confidence.total, s.served) for c, s in stats.classes.items()} == {
        0: (2, 1),
        1: (2, 0),
    }
    assert stats.empty_frames == 1
    assert stats.mean_confidence() == pytest.approx(0.9)


def test_a_shorter_window_and_a_clock_set_back_both_end_it(
    sink: WindowSink, ledger: Ledger, emitted: list[Emitted]
) -> None:
    _see(sink, ledger, 100.0)
    sink.set_window_s(2.0)
    sink.tick(102.0)
    assert len(emitted) == 1
    _see(sink, ledger, 102.5)
    sink.tick(50.0)
    assert (emitted[1][3], emitted[1][4]) == (102.0, 102.0)


def test_brightness_and_sharpness_follow_the_picture() -> None:
    dark, light = (np.full((48, 64, 3), level, dtype=np.uint8) for level in (20, 220))
    assert luminance_and_sharpness(dark) == pytest.approx((20, 0), abs=1)
    assert luminance_and_sharpness(light)[0] == pytest.approx(220, abs=1)
    noise = image()
    blurred = ((noise[:-1, :-1].astype(int) + noise[1:, 1:]) // 2).astype(np.uint8)
    assert luminance_and_sharpness(noise)[1] > luminance_and_sharpness(blurred)[1] > 0


def test_the_machine_is_read_every_five_seconds_while_a_window_is_open(
    ledger: Ledger, emitted: list[Emitted]
) -> None:
    readings = iter(MachineReading(cpu_percent=float(load)) for load in (10, 30))
    sink = WindowSink(10.0, ledger, lambda *w: emitted.append(w), lambda: next(readings))
    sink.tick(99.0)
    _see(sink, ledger, 100.0)
    for now_s in (100.0, 102.0, 104.9, 105.0, 108.0):
        sink.tick(now_s)
    sink.close()
    stats = emitted[0][-1]
    assert stats.cpu_percent.total == 2
    assert stats.gpu_percent.total == 0
