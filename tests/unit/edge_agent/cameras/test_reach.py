from __future__ import annotations

import contextlib
import time
from pathlib import Path

import cv2
import pytest

from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.opening import Opener
from edge_agent.cameras.reach import check_answers
from edge_agent.cameras.source import CameraSpec
from edge_agent.errors import CameraError
from protocol.states import CameraState
from tests.fixtures.seeing import image
from tests.unit.edge_agent.cameras.hostile_server import HOSTILE, answering
from tests.unit.edge_agent.cameras.seen import seeing


def rtsp(url: str) -> str:
    return url.replace("http://", "rtsp://user:secret@")


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("nothing", "closed the connection; check that it is a camera"),
        ("silence", r"does not answer \(timed out\); check its address, power and network"),
    ],
)
def test_a_server_that_says_nothing_is_no_camera(case: str, says: str) -> None:
    with answering(HOSTILE[case]) as url, pytest.raises(CameraError, match=says) as caught:
        check_answers(rtsp(url), 0.2)
    assert "secret" not in str(caught.value)


def test_any_answer_will_do_and_http_is_not_asked_twice() -> None:
    with answering(HOSTILE["no HTTP"]) as url:
        check_answers(rtsp(url), 5)
    with answering(HOSTILE["silence"]) as url:
        check_answers(url, 5)


@pytest.mark.parametrize(
    "url", ["rtsp://127.0.0.1:9/s", "http://127.0.0.1:9/s", "rtsp://" + "x" * 300 + "/s"]
)
def test_where_nobody_is_the_reason_is_given(url: str) -> None:
    with pytest.raises(CameraError, match="does not answer"):
        check_answers(url, 1)


def test_cameras_that_hang_keep_no_other_from_opening(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    writer.write(image())
    writer.release()
    limits = CaptureLimits(open_timeout_s=3, backoff_base_s=0.01, backoff_cap_s=0.01)
    with contextlib.ExitStack() as opened:
        urls = [opened.enter_context(answering(HOSTILE["silence"])) for _ in range(3)]
        cameras = [CameraSpec(f"bad{n}", rtsp(url), "tiny") for n, url in enumerate(urls)]
        seen = opened.enter_context(seeing(cameras, limits))
        began_s = time.monotonic()
        for _ in range(5):
            Opener()(CameraSpec("good", str(path), "tiny"), "t", limits).close()
        assert time.monotonic() - began_s < limits.open_timeout_s
        assert all(
            r.state in (CameraState.CONNECTING, CameraState.BACKING_OFF)
            for r in seen.pipeline.camera_reports().values()
        )
