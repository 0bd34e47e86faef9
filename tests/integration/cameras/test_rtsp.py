"""A real RTSP camera that is killed, freezes and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from edge_agent.cameras.source import CameraSpec, Region, Transport
from protocol.states import CameraState
from tests.integration.cameras.rtsp import RtspCamera, rtsp_camera
from tests.unit.edge_agent.cameras.seen import LIMITS, Seen, seeing

pytestmark = [pytest.mark.integration, pytest.mark.alone]


@pytest.fixture
def video(shared_data: Path) -> Path:
    return shared_data / "video" / "bottle-detection.mp4"


@pytest.fixture
def camera(video: Path) -> Iterator[RtspCamera]:
    with rtsp_camera(video) as running:
        yield running


def cameras(camera: RtspCamera, video: Path) -> list[CameraSpec]:
    return [
        CameraSpec("line", camera.url, "tiny"),
        CameraSpec("file", str(video), "tiny", loop=True, fps_max=25),
    ]


def show(what: str, seconds: float) -> None:
    print(f"{what}: {seconds:.2f} s")  # noqa: T201 - a figure that the run is read for


def seconds_to_frame(seen: Seen) -> float:
    """From now until the next frame of the line was answered."""
    began_s = time.monotonic()
    seen.wait_frames("line", 1)
    return time.monotonic() - began_s


def assert_never_stopped(seen: Seen, camera: str) -> None:
    """Every frame of a camera that is read in order was answered, with no gap in time."""
    account, answered = seen.ledger.account(camera), seen.of(camera)
    assert account.retries == 0
    assert account.inferred == account.captured - account.in_flight
    gaps = [b.result_monotonic - a.result_monotonic for a, b in pairwise(answered)]
    assert max(gaps) < LIMITS.read_timeout_s, "it waited for the other camera"


def test_a_camera_that_is_killed_is_reported_and_seen_again(
    camera: RtspCamera, video: Path
) -> None:
    with seeing(cameras(camera, video)) as seen:
        seen.wait_frames("line")
        killed_s = time.monotonic()
        camera.kill()
        noticed_s = seen.wait_state("line", CameraState.BACKING_OFF, killed_s) - killed_s
        show("killed, until it was reported", noticed_s)
        assert noticed_s < LIMITS.read_timeout_s + 1
        captured = seen.ledger.account("line").captured
        seen.wait_frames("file", 50)
        assert seen.ledger.account("line").captured == captured
        assert "127.0.0.1" in seen.pipeline.camera_reports()["line"].detail
        camera.start()
        show("serving again, until its first frame was answered", seconds_to_frame(seen))
        seen.wait_frames("line")
        assert seen.ledger.account("line").retries >= 1
        assert_never_stopped(seen, "file")
    assert len({r.frame.connection for r in seen.of("line")}) == 2


def test_a_camera_that_hangs_is_reported_and_seen_again(camera: RtspCamera, video: Path) -> None:
    with seeing(cameras(camera, video)) as seen:
        seen.wait_frames("line")
        frozen_s = time.monotonic()
        camera.freeze()
        noticed_s = seen.wait_state("line", CameraState.BACKING_OFF, frozen_s) - frozen_s
        show("hanging, until it was reported", noticed_s)
        assert noticed_s < LIMITS.read_timeout_s + 1
        trying_s = seen.wait_state("line", CameraState.CONNECTING, frozen_s)
        seen.wait_state("line", CameraState.BACKING_OFF, trying_s)
        camera.thaw()
        show("going on, until its first frame was answered", seconds_to_frame(seen))
        seen.wait_frames("line")
        assert_never_stopped(seen, "file")


def test_udp_is_taken_where_it_is_asked_for(camera: RtspCamera) -> None:
    with seeing([CameraSpec("line", camera.url, "tiny", transport=Transport.UDP)]) as seen:
        seen.wait_frames("line")


def test_what_leaves_is_turned_and_cut(camera: RtspCamera) -> None:
    spec = CameraSpec("line", camera.url, "tiny", rotate=90, region=Region(0.0, 0.5, 1.0, 0.5))
    with seeing([spec]) as seen:
        seen.wait_frames("line", 5)
        report = seen.pipeline.camera_reports()["line"]
    assert (report.width, report.height) == (360, 320)
    assert {r.frame.image.shape for r in seen.of("line")} == {(320, 360, 3)}
