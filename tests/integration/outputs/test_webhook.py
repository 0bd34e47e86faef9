"""POSTs to a real HTTP server: what is final, what is tried again, who may hold it up."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.integration.outputs.lines import line
from tests.unit.edge_agent.outputs.line_peer import detections, offered, rule, wait_until

pytestmark = pytest.mark.integration


class Hook(ThreadingHTTPServer):
    """Answers with `statuses` in turn, the last of them for ever."""

    daemon_threads = True

    def __init__(self, *statuses: int, headers: dict[str, str] | None, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.statuses = list(statuses)
        self.answer_headers = headers or {}
        self.got: list[tuple[dict[str, str], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Hook
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), json.loads(body)))
        left = self.server.statuses
        self.send_response(left.pop(0) if len(left) > 1 else left[0])
        for name, value in self.server.answer_headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        """Nothing on the tests' own output."""


@contextmanager
def hook(*statuses: int, headers: dict[str, str] | None = None, port: int = 0) -> Iterator[Hook]:
    server = Hook(*statuses, headers=headers, port=port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_signal_is_posted_with_its_token_and_key(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with (
        hook(200) as server,
        line(tmp_path, type="webhook", url=server.url, token_file=token, detections=True) as out,
    ):
        for signal in (rule("red", True), rule("red", True), detections()):
            out.offer(signal)
        wait_until(lambda: out.counters()["sent"] == 3, "all posted")
        headers, body = server.got[0]
        assert body == rule("red", True).body
        assert headers["Authorization"] == "Bearer s3cret"
        assert headers["Content-Type"] == "application/json"
        keys = [h["Idempotency-Key"] for h, _ in server.got]
        assert keys[0] == keys[1] != keys[2], "the same signal, the same key"


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_server_in_trouble_is_asked_again(status: int, tmp_path: Path) -> None:
    with hook(status, status, 200) as server, line(tmp_path, type="webhook", url=server.url) as out:
        out.offer(rule("red", True))
        wait_until(lambda: out.counters()["sent"] == 1, "the third try")
        assert len({h["Idempotency-Key"] for h, _ in server.got}) == 1
        assert len(server.got) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_a_refusal_is_final(status: int, tmp_path: Path) -> None:
    elsewhere = {"Location": "http://127.0.0.1:9/"}
    with (
        hook(status, 200, headers=elsewhere) as server,
        line(tmp_path, type="webhook", url=server.url) as out,
    ):
        out.offer(rule("red", True))
        out.offer(rule("blue", True))
        wait_until(lambda: out.counters()["sent"] == 1, "the second")
        assert out.counters()["failed"] == 1
        assert [b["source"] for _, b in server.got] == ["red", "blue"]


def test_a_signal_is_given_up_after_its_retries(tmp_path: Path) -> None:
    with hook(500) as server, line(tmp_path, type="webhook", url=server.url, retries_max=2) as out:
        out.offer(rule("red", True))
        wait_until(lambda: out.counters()["failed"] == 1, "the end of its tries")
        assert len(server.got) == 3


def test_a_server_that_was_away_gets_what_waited(tmp_path: Path) -> None:
    with hook(200) as server:
        url, port = server.url, server.server_port
    with line(tmp_path, type="webhook", url=url, retries_max=1000) as out:
        for number in range(5):
            out.offer(rule(f"r{number}", True))
        wait_until(lambda: out.counters().get("connections", 0) > 1, "a failed try")
        with hook(200, port=port) as server:
            wait_until(lambda: out.counters()["sent"] == 5, "all of them")
            assert [b["source"] for _, b in server.got] == [f"r{n}" for n in range(5)]


@pytest.mark.parametrize("dripping", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"nonsense\r\n\r\n"])
def test_a_server_that_drips_is_cut_off_as_a_whole(dripping: bytes, tmp_path: Path) -> None:
    """A byte now and then keeps every single read alive, and the whole for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            held = []
            listener.settimeout(0.05)
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                    connection.sendall(dripping)
                    held.append(connection)
                except TimeoutError:
                    for connection in held:
                        try:
                            connection.sendall(b"x")
                        except OSError:
                            continue
            for connection in held:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        keys: dict[str, Any] = {"timeout_s": 0.3, "retries_max": 1, "queue_max": 4}
        try:
            with line(tmp_path, type="webhook", url=url, close_s=0.5, **keys) as out:
                for number in range(500):
                    out.offer(rule("red", number % 2 == 0))
                wait_until(lambda: out.counters()["failed"] >= 1, "the end of its tries")
                assert offered(out) == 500
        finally:
            ended.set()
            thread.join()
