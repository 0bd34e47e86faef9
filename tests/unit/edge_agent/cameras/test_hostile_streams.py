"""Network cameras that are none: each is reported in time and tried again, and none hangs."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import cv2
import pytest

from edge_agent.cameras.images import ImageLimits
from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.source import CameraSpec
from protocol.states import CameraState
from tests.fixtures.seeing import eventually, image
from tests.unit.edge_agent.cameras.hostile_server import HOSTILE, answering, jpegs, parts
from tests.unit.edge_agent.cameras.seen import seeing

LIMITS = CaptureLimits(
    open_timeout_s=0.5,
    read_timeout_s=0.5,
    backoff_base_s=0.05,
    backoff_cap_s=0.1,
    images=ImageLimits(pixels_max=30_000),
)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_camera_that_is_none_is_reported_and_tried_again(case: str) -> None:
    with (
        answering(HOSTILE[case]) as url,
        seeing([CameraSpec("a", url, "tiny")], LIMITS) as seen,
    ):
        began_s = time.monotonic()
        first_s = seen.wait_state("a", CameraState.BACKING_OFF, began_s, deadline_s=10)
        seen.wait_state("a", CameraState.BACKING_OFF, first_s + 1e-6, deadline_s=10)
        details = [d for _, _, s, d in seen.states if s is CameraState.BACKING_OFF]
    assert all("127.0.0.1" in d or "over 30000 pixels" in d for d in details), details
    assert not seen.of("a")


def test_other_cameras_go_on_beside_all_of_them(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image(seed=number))
    folder = CameraSpec("good", str(tmp_path), "tiny", loop=True, fps_max=20)
    with contextlib.ExitStack() as servers:
        urls = [servers.enter_context(answering(answer)) for answer in HOSTILE.values()]
        bad = [CameraSpec(f"bad{n}", url, "tiny") for n, url in enumerate(urls)]
        with seeing([folder, *bad], LIMITS) as seen:
            eventually(
                lambda: all(seen.ledger.account(c.id).retries for c in bad),
                "every bad camera is noticed",
            )
            seen.wait_frames("good", 40)
            account = seen.ledger.account("good")
            assert account.retries == 0
            assert account.dropped == {}


def test_a_stream_that_changes_its_size_is_seen_in_each() -> None:
    bodies = [*jpegs(160, 120), *jpegs(64, 48), *jpegs(120, 160)]
    with (
        answering(parts(*bodies)) as url,
        seeing([CameraSpec("a", url, "tiny", live=False)], LIMITS) as seen,
    ):
        seen.wait_frames("a", 60)
        assert seen.ledger.account("a").retries == 0
    shapes = [r.frame.image.shape[:2] for r in seen.of("a")]
    assert set(shapes) == {(120, 160), (48, 64), (160, 120)}
    assert all(r.frame.image.flags.c_contiguous for r in seen.of("a"))


def test_an_http_stream_that_freezes_is_stale_and_moves_again() -> None:
    still, moving = jpegs(64, 48, 1) * 100, jpegs(64, 48, 50)
    spec = CameraSpec("a", "", "tiny", live=False, stale_after_s=0.5, reopen_after_s=60)
    with (
        answering(parts(*still, *moving)) as url,
        seeing([CameraSpec(**{**spec.__dict__, "source": url})], LIMITS) as seen,
    ):
        stale_s = seen.wait_state("a", CameraState.STALE, 0)
        seen.wait_state("a", CameraState.STREAMING, stale_s)
        account = seen.ledger.account("a")
    assert account.retries == 0
    assert account.dropped["stale"] >= 10
