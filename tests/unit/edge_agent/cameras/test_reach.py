from __future__ import annotations

import base64
import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import pytest

from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.opening import Opener
from edge_agent.cameras.reach import check_answers
from edge_agent.cameras.source import CameraSpec
from edge_agent.errors import CameraError
from protocol.states import CameraState
from tests.fixtures.seeing import eventually, image
from tests.unit.edge_agent.cameras.hostile_server import HOSTILE, Answer, answering
from tests.unit.edge_agent.cameras.seen import seeing


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    writer.write(image())
    writer.release()
    return path


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


def test_over_rtsp_any_answer_will_do() -> None:
    with answering(HOSTILE["no HTTP"]) as url:
        check_answers(rtsp(url), 5)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("nothing", "closed the connection; check that it is a camera"),
        ("silence", r"does not answer \(timed out\); check its address, power and network"),
        ("no HTTP", "does not speak HTTP; check that it is a camera"),
        ("401", "answers 401 Unauthorized; check the user and the password in its source"),
        ("404", "answers 404 Not Found; check the path in its source"),
        ("500", "answers 500 Internal Server Error; check the camera"),
    ],
)
def test_an_http_camera_is_asked_for_its_status(case: str, says: str) -> None:
    with answering(HOSTILE[case]) as url, pytest.raises(CameraError, match=says) as caught:
        check_answers(url.replace("http://", "http://user:secret@") + "?hidden", 0.2)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("case", ["page", "redirects to itself", "endless header"])
def test_an_http_camera_that_answers_is_opened(case: str) -> None:
    with answering(HOSTILE[case]) as url:
        check_answers(url, 5)


def refusing(scheme: str) -> Answer:
    head = f"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {scheme}\r\n\r\n"
    return lambda: [head[:30].encode(), head[30:].encode()]


def test_digest_is_left_to_ffmpeg_where_there_is_a_password() -> None:
    with answering(refusing('Digest realm="camera", nonce="1"')) as url:
        check_answers(url.replace("http://", "http://user:secret@"), 5)
        with pytest.raises(CameraError, match="401 Unauthorized"):
            check_answers(url, 5)
    refused = pytest.raises(CameraError, match="401 Unauthorized")
    with answering(refusing('Basic realm="camera"')) as url, refused:
        check_answers(url.replace("http://", "http://user:secret@"), 5)


def test_what_is_asked_of_an_http_camera_and_that_it_is_left_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        checked = pool.submit(check_answers, f"http://me:p%40ss@{address}/s?user&a=%2F", 10)
        client, _ = listener.accept()
        with client:
            client.settimeout(10)
            asked = client.recv(65_536).decode().split("\r\n")
            client.sendall(b"HTTP/1.0 200 OK\r\n")
            checked.result(10)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    assert asked[0] == "GET /s?user&a=%2F HTTP/1.1"
    assert f"Host: {address}" in asked
    assert f"Authorization: Basic {base64.b64encode(b'me:p@ss').decode()}" in asked


def test_https_is_asked_too_and_what_python_cannot_decrypt_is_left_to_ffmpeg() -> None:
    silent = pytest.raises(CameraError, match="does not answer")
    with answering(HOSTILE["silence"]) as url, silent:
        check_answers(url.replace("http://", "https://"), 0.2)
    with answering(HOSTILE["no HTTP"]) as url:
        check_answers(url.replace("http://", "https://"), 5)


def test_an_http_server_that_hangs_keeps_no_file_from_opening(video: Path) -> None:
    asked = threading.Event()

    def hang() -> Iterator[bytes]:
        asked.set()
        return itertools.repeat(b"")

    limits = CaptureLimits(open_timeout_s=20)
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as server:
        url = server.enter_context(answering(hang))
        seen = stack.enter_context(seeing([CameraSpec("bad", url, "tiny")], limits))
        eventually(asked.is_set, "the server is asked")
        source = Opener()(CameraSpec("good", str(video), "tiny"), "t", limits)
        assert source.read() is not None
        source.close()
        assert not seen.states, "the file waited for the server"
        server.close()


@pytest.mark.parametrize(
    "url", ["rtsp://127.0.0.1:9/s", "http://127.0.0.1:9/s", "rtsp://" + "x" * 300 + "/s"]
)
def test_where_nobody_is_the_reason_is_given(url: str) -> None:
    with pytest.raises(CameraError, match="does not answer"):
        check_answers(url, 1)


def test_cameras_that_hang_keep_no_other_from_opening(video: Path) -> None:
    limits = CaptureLimits(open_timeout_s=3, backoff_base_s=0.01, backoff_cap_s=0.01)
    with contextlib.ExitStack() as opened:
        urls = [opened.enter_context(answering(HOSTILE["silence"])) for _ in range(3)]
        cameras = [CameraSpec(f"bad{n}", rtsp(url), "tiny") for n, url in enumerate(urls)]
        seen = opened.enter_context(seeing(cameras, limits))
        began_s = time.monotonic()
        for _ in range(5):
            Opener()(CameraSpec("good", str(video), "tiny"), "t", limits).close()
        assert time.monotonic() - began_s < limits.open_timeout_s
        assert all(
            r.state in (CameraState.CONNECTING, CameraState.BACKING_OFF)
            for r in seen.pipeline.camera_reports().values()
        )
