from __future__ import annotations

import json
import socket
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from edge_agent.cameras.source import Image
from edge_agent.ledger import Account
from edge_agent.local.address import read_address
from edge_agent.local.requests import read_head
from edge_agent.local.server import LocalServer
from edge_agent.local.settings import LocalSection, is_expected_host
from tests.fixtures.seeing import eventually, image, result
from tests.unit.edge_agent.local.views import Told, ask, get, serving


def test_the_pages_show_the_agent(tmp_path: Path) -> None:
    told = Told(counters={"outbox_events_written": 5, "outbox_events_acked": 3})
    with serving(told, tmp_path) as port:
        status, page = get(port, "/")
        assert (status, b"<title>" in page, b"{{" in page) == (200, True, False)
        document = json.loads(get(port, "/status.json")[1])
        assert document["cameras"]["cam"]["in_flight"] == 1
        assert document["cameras"]["dark"]["results_per_s"] is None
        assert document["health"]["gpu_percent"] == 0.0
        assert document["health"]["cpu_percent"] is None
        assert document["slots"]["tiny"]["digest"] == "a" * 64
        assert get(port, "/healthz") == (200, b"ok\n")
        told.stuck = ("tiny",)
        assert get(port, "/healthz") == (503, b"inference is stuck: tiny\n")
        told.stuck, told.bundle = (), None
        said = b"ok, but tiny: it waits for its first model; see /status.json\n"
        assert get(port, "/healthz") == (200, said), "nothing was ever committed"
        told.updates = {"tiny": {"committed": "a" * 64}}
        assert get(port, "/healthz") == (200, b"nothing serves: tiny; see /status.json\n")
        assert json.loads(get(port, "/status.json")[1])["blind_slots"] == ["tiny"]
    assert read_address(tmp_path) is None


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ({"committed": "a" * 64, "attempt": None, "floor": None}, ""),
        ({"committed": "a" * 64, "attempt": None, "floor": 1}, ""),
        ({"committed": "a" * 64, "attempt": None, "floor": 99}, "is revoked"),
        ({"committed": "b" * 64, "attempt": {"over": True}}, "what was committed cannot"),
        ({"committed": None, "attempt": None}, "what was committed cannot"),
        ({"committed": "b" * 64, "attempt": {"over": False, "state": "PROBATION"}}, ""),
        (
            {"committed": "b" * 64, "attempt": {"over": False, "state": "WAITING_WINDOW"}},
            "what was committed cannot",
        ),
    ],
)
def test_a_slot_that_serves_what_it_should_not_is_said(
    tmp_path: Path, account: dict[str, Any], said: str
) -> None:
    told = Told(updates={"tiny": account})
    with serving(told, tmp_path) as port:
        status, text = get(port, "/healthz")
        doubtful = json.loads(get(port, "/status.json")[1])["doubtful_slots"]
    assert status == 200, "a restart would not help"
    assert (text == b"ok\n") is (doubtful == {}) is (said == "")
    assert said in doubtful.get("tiny", "")
    assert said.encode() in text


def test_metrics_are_what_prometheus_reads(tmp_path: Path) -> None:
    told = Told(counters={"outbox_events_written": 5, "outbox_events_acked": 3, "link_sessions": 1})
    told.figures.take(result(at_s=1000.0))
    with serving(told, tmp_path) as port:
        text = get(port, "/metrics")[1].decode()
    found = {
        (s.name, *s.labels.values()): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    assert found["argosy_frames_captured_total", "cam"] == 10
    assert found["argosy_frames_dropped_total", "cam", "superseded"] == 3
    assert found["argosy_frames_in_flight", "cam"] == 1
    assert found["argosy_camera_state", "dark", "BACKING_OFF"] == 1
    assert found["argosy_camera_state", "dark", "STREAMING"] == 0
    assert found["argosy_inference_seconds_bucket", "cam", "0.0025"] == 0
    assert found["argosy_inference_seconds_bucket", "cam", "0.005"] == 1
    assert found["argosy_inference_seconds_count", "cam"] == 1
    assert found["argosy_slot_info", "a" * 64, "tiny", "tiny", "1"] == 1
    assert found["argosy_outbox_waiting", "events"] == 2
    assert found["argosy_channel_events_total", "plc", "sent"] == 4
    assert [found["argosy_channel_up", name] for name in ("plc", "mes")] == [1, 0]
    assert found["argosy_lost_classes", "reject"] == 1
    assert found["argosy_gpu_percent",] == 0
    assert ("argosy_cpu_percent",) not in found
    assert ("argosy_frames_per_second", "dark") not in found


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /preview/..%2f..%2fetc.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /preview/nobody.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (f"GET /preview/{'a' * 65}.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /healthz HTTP/1.1\r\nHost: evil.example:9464\r\n\r\n", 421),
        ("GET /healthz HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 421),
        ("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", 421),
        ("GET /healthz HTTP/1.1\r\nHost: [::1].evil.example\r\n\r\n", 421),
        ("GET /healthz HTTP/1.1\r\nHost: localhost:80:80\r\n\r\n", 421),
        ("GET /healthz HTTP/1.1\r\n\r\n", 421),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nhost: localhost\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHost: LocalHost:1\r\n\r\n", 200),
        ("GET /healthz?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200),
        ("POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 501),
        ("GET /healthz SMTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        ("\x00\xff\r\n\r\n", 400),
        (f"GET /{'a' * 20_000} HTTP/1.1\r\nHost: localhost\r\n\r\n", 0),
        ("GET / HTTP/1.1\r\n" + "X: y\r\n" * 150 + "\r\n", 431),
    ],
)
def test_hostile_requests_are_bounded_and_refused(tmp_path: Path, head: str, status: int) -> None:
    with serving(Told(), tmp_path) as port:
        try:
            assert ask(port, head)[0] == status
        except ConnectionResetError:
            assert status == 0
        assert get(port, "/healthz")[0] == 200


@given(st.text(max_size=40))
def test_any_host_is_judged(host: str) -> None:
    assert is_expected_host(host, ("line-1",)) in {True, False}


@bounded(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_a_request_is_read_up_to_its_empty_line_and_never_over_its_bound(
    pieces: list[bytes],
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for piece in pieces:
            theirs.sendall(piece)
        theirs.shutdown(socket.SHUT_WR)
        try:
            head = read_head(ours, 1000, 30)
        except OSError:
            sent = b"".join(pieces)
            assert len(sent) > 1000 or b"\r\n\r\n" not in sent
        else:
            assert b"\r\n\r\n" in head
            assert len(head) <= 1000


def test_a_request_that_never_ends_is_dropped(tmp_path: Path) -> None:
    settings = LocalSection(port=0, request_timeout_s=0.2)
    with (
        serving(Told(), tmp_path, settings) as port,
        socket.create_connection(("127.0.0.1", port), timeout=30) as slow,
    ):
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert slow.recv(1) == b""


def test_clients_that_ask_for_nothing_make_room(tmp_path: Path) -> None:
    settings = LocalSection(port=0, request_timeout_s=600, clients_max=2, streams_max=1)
    with serving(Told(), tmp_path, settings) as port, ExitStack() as idle:
        clients = [
            idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            for _ in range(8)
        ]
        assert get(port, "/healthz") == (200, b"ok\n")
        assert get(port, "/metrics")[0] == 200
        assert clients[0].recv(1) == b""


def test_pages_that_are_all_being_watched_leave_health(tmp_path: Path) -> None:
    told, entered, go_on = Told(), threading.Event(), threading.Event()

    def wait(_camera: str) -> Account:
        entered.set()
        go_on.wait(60)
        return Account()

    server = LocalServer(
        LocalSection(port=0, clients_max=2, streams_max=1),
        tmp_path,
        replace(told.view(), account=wait),
    )
    server.start()
    eventually(lambda: read_address(tmp_path), "the pages are open")
    port = int((read_address(tmp_path) or "").rpartition(":")[2])
    try:
        with ExitStack() as waiting:
            for _ in range(2):
                entered.clear()
                client = waiting.enter_context(socket.create_connection(("127.0.0.1", port)))
                client.sendall(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert entered.wait(30)
            assert get(port, "/")[0] == 503
            assert get(port, "/healthz") == (200, b"ok\n")
            told.stuck = ("tiny",)
            assert get(port, "/healthz")[0] == 503
    finally:
        go_on.set()
        server.stop(10)


def test_a_taken_port_is_tried_again_and_stops_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = LocalSection(port=other.getsockname()[1])
        server = LocalServer(settings, tmp_path, Told().view(), retry_s=0.01)
        server.start()
        assert read_address(tmp_path) is None
    try:
        eventually(lambda: read_address(tmp_path), "the freed port is taken")
    finally:
        server.stop(10)


def test_pages_that_are_off_are_off(tmp_path: Path) -> None:
    server = LocalServer(LocalSection(enabled=False), tmp_path, Told().view())
    server.start()
    server.stop(1)
    assert read_address(tmp_path) is None
    with serving(Told(), tmp_path, LocalSection(port=0, preview=False)) as port:
        assert get(port, "/preview/cam.jpg")[0] == 404


def decoded(jpeg: bytes) -> Image:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, dtype=np.uint8)


def test_pictures_are_drawn_when_somebody_looks(tmp_path: Path) -> None:
    told = Told()
    with serving(told, tmp_path) as port:
        get(port, "/status.json")
        assert told.looks == 0
        assert decoded(get(port, "/preview/cam.jpg")[1]).shape == (360, 640, 3)
        told.results["cam"] = result(picture=image(320, 240))
        eventually(
            lambda: decoded(get(port, "/preview/cam.jpg")[1]).shape == (240, 320, 3),
            "the new picture",
        )
        assert get(port, "/preview/cam.jpg", method="HEAD") == (200, b"")


def test_a_stream_follows_the_camera_and_streams_are_few(tmp_path: Path) -> None:
    told = Told()
    settings = LocalSection(port=0, streams_max=1, frames_per_s_max=60)
    with (
        serving(told, tmp_path, settings) as port,
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
    ):
        client.sendall(b"GET /preview/cam.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found = b""
        while found.count(b"--frame") < 1:
            found += client.recv(65536)
        assert b"multipart/x-mixed-replace" in found
        assert get(port, "/preview/cam.mjpg")[0] == 503
        told.results["cam"] = result()
        while found.count(b"--frame") < 2:
            found += client.recv(65536)


def test_a_client_that_does_not_read_loses_its_stream(tmp_path: Path) -> None:
    told = Told(results={"cam": result(picture=image(1280, 720))})
    settings = LocalSection(
        port=0, streams_max=1, frames_per_s_max=60, request_timeout_s=0.3, jpeg_quality=100
    )
    with serving(told, tmp_path, settings) as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /preview/cam.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def is_free() -> bool:
            told.results["cam"] = result(picture=image(1280, 720), index=told.looks)
            return get(port, "/preview/cam.mjpg", method="HEAD")[0] == 200

        eventually(lambda: told.looks, "the stream has begun")
        eventually(is_free, "the stream's place is free again")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"host": "0.0.0.0"}, "beyond_loopback"),  # noqa: S104
        ({"host": "example.org"}, "IP address"),
        ({"port": 70_000}, "65535"),
        ({"clients_max": 4, "streams_max": 4}, "write 5 or more"),
    ],
)
def test_pages_stay_on_loopback_unless_told(table: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        LocalSection.model_validate(table)


def test_beyond_loopback_on_purpose_and_names_that_are_allowed(tmp_path: Path) -> None:
    settings = LocalSection(
        host="0.0.0.0",  # noqa: S104
        port=0,
        beyond_loopback=True,
        hostnames=("line-1.factory",),
    )
    with serving(Told(), tmp_path, settings) as port:
        assert get(port, "/healthz", host=f"LINE-1.factory:{port}")[0] == 200
        assert get(port, "/healthz", host="line-2.factory")[0] == 421
