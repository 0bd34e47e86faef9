"""A client reads every frame in order, and the truth log says what was in each."""

from __future__ import annotations

import json
import queue
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from simulators.camera import Camera, CameraSettings
from simulators.camera_server import CameraServer, parse_drift
from simulators.scenes import SCENES, Box, Drift
from simulators.scenes.scene import Image
from simulators.truth import TruthLog

_BITS = 24
_CELL_PX = 12


class NumberedScene:
    """Shows the frame number as black and white cells, so that a decoded frame can be named."""

    name = "numbered"
    class_names = ("cell", "never")
    size = (_BITS * _CELL_PX, 64)

    def render(self, frame_number: int, drift: Drift) -> tuple[Image, tuple[Box, ...]]:
        bits = [frame_number >> bit & 1 for bit in range(_BITS)]
        row = np.repeat(np.array(bits, np.uint8) * 255, _CELL_PX)
        frame = np.repeat(np.tile(row, (64, 1))[..., None], 3, axis=2)
        return frame, (Box(0, 0, 0, 1 + frame_number % 7, 1 + drift.lighting),)


def number_in(frame: Any) -> int:
    """The number that a frame of `NumberedScene` shows."""
    cells = frame[32, _CELL_PX // 2 :: _CELL_PX, 0] > 127
    return sum(int(cell) << bit for bit, cell in enumerate(cells))


@contextmanager
def serving(
    truth_file: Path | None = None, fps: float = 60.0, backlog_frames_max: int = 60
) -> Iterator[CameraServer]:
    settings = CameraSettings("cam", fps, backlog_frames_max=backlog_frames_max)
    server = CameraServer(Camera(NumberedScene(), settings), TruthLog(truth_file))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def fetch(url: str) -> Any:
    return httpx.get(url, timeout=20).raise_for_status().json()


def turn(server: CameraServer, dials: bytes) -> httpx.Response:
    return httpx.put(f"{server.url}/drift", content=dials, timeout=20)


def wait_for(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "the condition never came true"
        time.sleep(0.02)


def read_numbers(url: str, count: int) -> list[int]:
    """Frame numbers as OpenCV's FFmpeg backend, which the agent uses, decodes them."""
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
    try:
        numbers = []
        for _ in range(count):
            ok, frame = capture.read()
            assert ok
            numbers.append(number_in(frame))
        return numbers
    finally:
        capture.release()


def test_opencv_reads_every_frame_from_index_0_in_order(tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    with serving(log) as server:
        numbers = read_numbers(f"{server.url}/stream?connection=agent-1", 40)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    mine = [r for r in records if r["connection"] == "agent-1"][: len(numbers)]
    assert [r["index"] for r in mine] == list(range(40))
    assert [r["frame_number"] for r in mine] == numbers
    assert numbers == list(range(numbers[0], numbers[0] + 40))
    assert all(r["boxes"] == [[0, 0, 0, 1 + r["frame_number"] % 7, 1]] for r in mine)


def test_each_connection_counts_for_itself() -> None:
    with serving() as server:
        first = read_numbers(f"{server.url}/stream", 5)
        second = read_numbers(f"{server.url}/stream?connection=b", 5)
        records = fetch(f"{server.url}/truth?since=0")["records"]
    by_token = {
        token: [r["frame_number"] for r in records if r["connection"] == token][:5]
        for token in ("1", "b")
    }
    assert by_token == {"1": first, "b": second}


def test_truth_is_asked_for_piece_by_piece() -> None:
    with serving() as server:
        read_numbers(f"{server.url}/stream", 3)
        earlier = fetch(f"{server.url}/truth")
        read_numbers(f"{server.url}/stream", 3)
        later = fetch(f"{server.url}/truth?since={earlier['next']}")
        whole = fetch(f"{server.url}/truth?since=0")
    assert (earlier["records"] + later["records"])[: later["next"]] == whole["records"][
        : later["next"]
    ]
    assert later["records"]


def test_turned_dials_show_from_the_frame_that_the_answer_names() -> None:
    with serving() as server:
        answer = turn(server, b'{"lighting": 1}').json()
        assert answer["drift"]["lighting"] == 1
        assert fetch(f"{server.url}/drift")["lighting"] == 1
        read_numbers(f"{server.url}/stream", 2)
        records = fetch(f"{server.url}/truth")["records"]
    assert records[0]["frame_number"] >= answer["first_frame_number"]
    assert all(r["drift"]["lighting"] == 1 and r["boxes"][0][4] == 2 for r in records)


def test_snapshot_and_description() -> None:
    with serving() as server:
        about = fetch(server.url)
        picture = httpx.get(f"{server.url}/snapshot.jpg", timeout=20).content
    frame = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert about["scene"] == "numbered"
    assert number_in(frame) >= about["frame_number"] - 1


def test_a_client_that_falls_behind_is_told_and_dropped_without_a_gap() -> None:
    camera = Camera(NumberedScene(), CameraSettings("cam", 100.0, backlog_frames_max=5))
    slow = camera.connect(None)
    camera.start()
    try:
        assert slow.fell_behind.wait(30)
    finally:
        camera.stop()
    numbers = []
    while True:
        try:
            numbers.append(slow.frames.get_nowait().number)
        except queue.Empty:
            break
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert camera.describe()["connections"] == []


def test_a_client_that_leaves_is_forgotten() -> None:
    with serving() as server:
        read_numbers(f"{server.url}/stream?connection=gone", 2)
        wait_for(lambda: fetch(server.url)["connections"] == [])


@pytest.mark.parametrize(
    ("path", "reason"), [("/truth?since=-1", "since"), ("/stream?connection=a/b", "connection")]
)
def test_bad_questions_are_refused_with_the_reason(path: str, reason: str) -> None:
    with serving() as server:
        answer = httpx.get(server.url + path, timeout=20)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("dials", "reason"),
    [
        (b"not json", "JSON"),
        (b"[]", "dials"),
        (b'{"fog": 1}', "lighting"),
        (b'{"blur": 2}', "blur"),
        (b'{"blur": NaN}', "blur"),
        (b" " * 5000, "4096"),
    ],
)
def test_bad_dials_are_refused_with_the_reason_and_change_nothing(
    dials: bytes, reason: str
) -> None:
    with serving() as server:
        answer = turn(server, dials)
        assert server.camera.drift == Drift()
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


def test_a_path_that_is_not_there_is_answered_with_those_that_are() -> None:
    with serving() as server:
        answer = httpx.get(f"{server.url}/video", timeout=20)
    assert answer.status_code == 404
    assert "/stream" in answer.json()["error"]


def test_a_port_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        camera = Camera(NumberedScene(), CameraSettings("cam"))
        with pytest.raises(OSError, match="ddress"):
            CameraServer(camera, TruthLog(), port=taken.getsockname()[1])


def test_dials_that_are_not_named_stay() -> None:
    assert parse_drift(b'{"blur": 0.5}', Drift(lighting=0.3)) == Drift(lighting=0.3, blur=0.5)


def test_real_scenes_are_scenes() -> None:
    for name, make in SCENES.items():
        assert Camera(make(0), CameraSettings(name)).snapshot().jpeg[:2] == b"\xff\xd8"
