"""Frozen streams, losses and their backing off, on a clock that the test moves."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from edge_agent.cameras.source import Image, Region
from edge_agent.errors import CameraError
from edge_agent.ledger import STALE
from protocol.states import CameraState
from tests.fixtures.seeing import image
from tests.unit.edge_agent.cameras.scripted import QUICK, Shot, live, play

GREY: Image = np.full((48, 64, 3), 128, dtype=np.uint8)


def moving(count: int, first: int = 0, **shot: float) -> list[Shot]:
    return [Shot(image(seed=s), **shot) for s in range(first, first + count)]


def test_a_camera_that_sends_only_grey_is_stale_and_counted_but_never_seen() -> None:
    played = play([Shot(GREY)] * 20)
    assert [s for s, _ in played.states[:3]] == [
        CameraState.STREAMING,
        CameraState.STALE,
        CameraState.BACKING_OFF,
    ]
    assert "stood still for 10 s; check the camera" in played.states[1][1]
    assert len(played.frames) == 10
    assert played.account.captured == 20
    assert played.account.dropped == {STALE: 10}
    assert played.account.in_flight == 0


def test_a_picture_that_moves_again_is_seen_again() -> None:
    played = play([*[Shot(GREY)] * 15, *moving(5)])
    assert [s for s, _ in played.states[:3]] == [
        CameraState.STREAMING,
        CameraState.STALE,
        CameraState.STREAMING,
    ]
    assert [f.index for f in played.frames] == [*range(10), *range(15, 20)]
    assert played.account.dropped == {STALE: 5}


def test_a_stream_whose_own_clock_stands_still_is_stale_though_its_pixels_change() -> None:
    going = [Shot(image(seed=s), stream_ms=40.0 * s) for s in range(5)]
    standing = [Shot(image(seed=s), stream_ms=160.0) for s in range(5, 20)]
    again = [Shot(image(seed=s), stream_ms=40.0 * s) for s in range(20, 23)]
    played = play([*going, *standing, *again])
    assert played.account.dropped == {STALE: 6}
    assert [f.index for f in played.frames][-3:] == [20, 21, 22]


@pytest.mark.parametrize("stream_ms", [None, 0.0, -1.0])
def test_a_stream_without_a_clock_of_its_own_is_judged_by_its_pixels(
    stream_ms: float | None,
) -> None:
    played = play([Shot(image(seed=s), stream_ms) for s in range(30)])
    assert played.account.dropped == {}
    assert len(played.frames) == 30


def test_a_stream_that_is_frozen_is_opened_again_and_stays_out_until_it_moves() -> None:
    played = play([Shot(GREY)] * 100, [*[Shot(GREY)] * 3, *moving(4)])
    states = [s for s, _ in played.states]
    assert states[:6] == [
        CameraState.STREAMING,
        CameraState.STALE,
        CameraState.BACKING_OFF,
        CameraState.CONNECTING,
        CameraState.STREAMING,
        CameraState.STALE,
    ]
    assert "opening again" in played.states[2][1]
    assert played.account.dropped == {STALE: 50 + 3}
    assert len(played.frames) == 10 + 4
    assert played.scripted.closed == 2


def test_files_are_never_stale() -> None:
    played = play([Shot(GREY)] * 30, spec=live(source="/memory.mp4"))
    assert played.account.dropped == {}
    assert len(played.frames) == 30


def test_a_frame_that_comes_after_the_time_limit_is_a_loss() -> None:
    late = Shot(image(seed=9), after_s=QUICK.read_timeout_s)
    played = play([*moving(3), late, *moving(3)])
    assert len(played.frames) == 3
    assert "sent no frame for 30 s" in played.states[1][1]
    assert played.states[1][0] is CameraState.BACKING_OFF


def test_it_is_tried_for_ever_and_every_try_is_counted() -> None:
    failures = [CameraError(f"try {n}") for n in range(40)]
    played = play(*failures, moving(3))
    assert len(played.frames) == 3
    assert played.account.retries >= 40
    details = [d for s, d in played.states if s is CameraState.BACKING_OFF]
    assert details[:40] == [f"try {n}" for n in range(40)]


def test_an_error_that_nobody_foresaw_is_reported_and_tried_again() -> None:
    played = play(RuntimeError("driver"), moving(2))
    assert played.states[0] == (CameraState.BACKING_OFF, "unexpected RuntimeError: driver")
    assert len(played.frames) == 2


def test_a_live_camera_is_thinned_to_its_rate_and_what_is_passed_over_is_not_captured() -> None:
    played = play(moving(30, after_s=0.1), spec=live(fps_max=2))
    assert [f.index for f in played.frames] == [0, 4, 9, 14, 19, 24, 29]
    assert played.account.captured == 7


@pytest.mark.parametrize(
    ("uptime_s", "attempts"), [(5.0, [1, 2, 3, 4]), (40.0, [1, 1, 1, 1])], ids=["short", "stable"]
)
def test_only_a_stable_uptime_forgets_failures(
    uptime_s: float, attempts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def noted(attempt: int, _base_s: float, _cap_s: float, _rng: Random) -> float:
        asked.append(attempt)
        return 0.0

    monkeypatch.setattr("edge_agent.cameras.capture.backoff_s", noted)
    script = [*moving(1), *moving(1, first=1, after_s=uptime_s)]
    limits = QUICK.__class__(read_timeout_s=100, stable_after_s=30)
    play(*[script] * 4, limits=limits)
    assert asked[:4] == attempts


def test_frames_leave_turned_cut_and_contiguous() -> None:
    region = Region(0.25, 0.0, 0.5, 1.0)
    whole = image(40, 20, seed=3)
    played = play([Shot(whole)], spec=live(rotate=90, region=region))
    seen = played.frames[0].image
    assert seen.flags.c_contiguous
    assert seen.shape == (40, 10, 3)
    assert (seen == np.rot90(whole, -1)[:, 5:15]).all()


def test_a_stream_may_change_its_size_and_its_form() -> None:
    shots = [
        Shot(image(64, 48)),
        Shot(image(32, 24)),
        Shot(image(64, 48)[:, :, 0]),
        Shot(image(64, 48, seed=2).astype(np.uint16) << 8),  # type: ignore[arg-type]
    ]
    played = play(shots)
    assert [f.image.shape for f in played.frames] == [
        (48, 64, 3),
        (24, 32, 3),
        (48, 64, 3),
        (48, 64, 3),
    ]
    assert all(f.image.dtype == np.uint8 for f in played.frames)


def test_a_stream_of_what_is_no_picture_is_lost_and_says_so() -> None:
    floats = image().astype(np.float32)
    floats[0, 0] = np.nan
    played = play([Shot(floats)], moving(2))  # type: ignore[arg-type]
    assert "float32 is no picture" in played.states[1][1]
    assert played.account.unreadable == 1
    assert len(played.frames) == 2
