"""A hub, or what pretends to be one, gets no hold on the device by what it answers to an image."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_agent.link import http
from edge_agent.link.http import HttpError, HubHttp

SHA, IMAGE = "a" * 64, b"image" * 1000
PIECE, PIECES = b"x" * 65_536, 1000
OK = b"HTTP/1.1 200 OK\r\n"

Answer = Callable[[socket.socket], object]


class Hub:
    """Takes images on a port of its own and answers as it is told, without any manners."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.images, self.connections = answer, list[bytes](), 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        port = self._listening.getsockname()[1]
        self.http = HubHttp(f"http://127.0.0.1:{port}", "secret", timeout_s=10.0)

    def close(self) -> None:
        self.http.close()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                try:
                    while self._take(connection):
                        self.answer(connection)
                except OSError:
                    pass  # the device has left

    def _take(self, connection: socket.socket) -> bool:
        received = b""
        while not received.endswith(IMAGE):
            piece = connection.recv(65_536)
            if not piece:
                return False
            received += piece
        assert received.startswith(f"PUT /api/v1/device/samples/{SHA}".encode())
        self.images.append(received[-len(IMAGE) :])
        return True


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Hub]]:
    hubs: list[Hub] = []

    def make(answer: Answer) -> Hub:
        hubs.append(Hub(answer))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.close()


def test_a_short_answer_leaves_the_connection_for_the_next_image(serve: Any) -> None:
    hub = serve(lambda connection: connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}"))
    for _ in range(3):
        hub.http.put_sample(SHA, IMAGE)
    assert hub.images == [IMAGE] * 3
    assert hub.connections == 1


@pytest.mark.parametrize("length", [b"Content-Length: 1000000000\r\n\r\n", b"\r\n"])
def test_a_long_answer_is_not_read(serve: Any, length: bytes) -> None:
    sent: list[int] = []
    ended = threading.Event()

    def answer(connection: socket.socket) -> None:
        try:
            connection.sendall(OK + length)
            for _ in range(PIECES):
                connection.sendall(PIECE)
                sent.append(len(PIECE))
        finally:
            ended.set()

    hub = serve(answer)
    hub.http.put_sample(SHA, IMAGE)
    assert ended.wait(30)
    assert len(sent) < PIECES / 2, "the device has left before"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"Content-Length: 300\r\n\r\n", b"x"),
        (b"\r\n", b"x"),
        (b"Transfer-Encoding: chunked\r\n\r\n1", b";"),
    ],
)
def test_an_answer_that_drips_keeps_nobody(
    serve: Any, monkeypatch: pytest.MonkeyPatch, head: bytes, piece: bytes
) -> None:
    monkeypatch.setattr(http, "ANSWER_S_MAX", 0.1)
    sent: list[bytes] = []
    returned = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(OK + head)
        for _ in range(300):
            if returned.is_set():
                break
            connection.sendall(piece)
            sent.append(piece)
            time.sleep(0.01)

    hub = serve(answer)
    hub.http.put_sample(SHA, IMAGE)
    returned.set()
    assert len(sent) < 300, "the device did not wait for all of it"


def test_an_answer_that_breaks_off_after_its_status_has_said_enough(serve: Any) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(OK + b"Content-Length: 5\r\n\r\n{")
        connection.shutdown(socket.SHUT_RDWR)

    hub = serve(answer)
    hub.http.put_sample(SHA, IMAGE)
    assert hub.images == [IMAGE]


def test_a_refusal_is_told_with_its_status(serve: Any) -> None:
    refusal = b"HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 0\r\n\r\n"
    hub = serve(lambda connection: connection.sendall(refusal))
    with pytest.raises(HttpError, match="507") as refused:
        hub.http.put_sample(SHA, IMAGE)
    assert refused.value.status == 507
