"""The download's child: a real one, at a real server on loopback."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from edge_agent.config import HubSection, Limits
from edge_agent.link.http import HttpError, Span
from edge_agent.update import http_child
from edge_agent.update.http_child import HttpReader

SHA = "a" * 64
TOKEN = "secret-of-the-device"
BLOB = random.Random(1).randbytes(700_000)


class Server(BaseHTTPRequestHandler):
    """Ranges of one blob, for who has the token."""

    short: ClassVar[int] = 0
    told: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.told.append(self.path)
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        if self.headers["Authorization"] != f"Bearer {TOKEN}" or span is None:
            self.send_error(401)
            return
        body = BLOB[int(span[1]) : int(span[2]) + 1 - self.short]
        self.send_response(206)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Server, "short", 0)
    monkeypatch.setattr(Server, "told", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class Reading:
    """What came of one reading."""

    def __init__(self, url: str, token: str = TOKEN, **limits: int) -> None:
        self._reader = HttpReader(HubSection(url=url, token=token), Limits(**limits))
        self.cancel = threading.Event()
        self.came: dict[int, bytes] = {}

        self.heard: Callable[[], None] = lambda: None

    def take(self, number: int, piece: bytes) -> None:
        self.came[number] = self.came.get(number, b"") + piece
        self.heard()

    def read(self, *spans: tuple[int, int]) -> dict[int, bytes]:
        asked = [Span(SHA, start, length) for start, length in spans]
        self._reader.read(asked, self.take, self.cancel)
        return self.came


def test_spans_come_in_pieces(url: str) -> None:
    came = Reading(url).read((0, 300_000), (400_000, 300_000), (5, 1))
    assert came == {0: BLOB[:300_000], 1: BLOB[400_000:], 2: BLOB[5:6]}
    assert Server.told == [f"/api/v1/blobs/{SHA}"] * 3


def test_a_hub_that_refuses_cuts_short_or_is_gone_is_an_error_in_words(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HttpError, match="the hub answered 401"):
        Reading(url, token="stolen").read((0, 10))
    monkeypatch.setattr(Server, "short", 3)
    with pytest.raises(HttpError, match="7 bytes came of 10"):
        Reading(url).read((0, 10))
    with pytest.raises(HttpError, match="HTTP to the hub failed"):
        Reading("http://127.0.0.1:9").read((0, 10))


def test_it_keeps_to_the_pace(url: str) -> None:
    began = time.monotonic()
    Reading(url, download_bytes_per_s_max=300_000).read((0, 700_000))
    assert time.monotonic() - began > 1.0


def test_the_token_is_in_no_list_of_processes_and_a_cancelled_child_goes(url: str) -> None:
    reading = Reading(url, download_bytes_per_s_max=10_000)
    seen: list[bytes] = []

    def hear() -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes()
                line += (path.parent / "environ").read_bytes()
            except OSError:
                continue
            if b"edge_agent.update.http_child" in line:
                seen.append(line)
        reading.cancel.set()

    reading.heard = hear
    reading.read((0, 700_000))
    assert seen and not any(TOKEN.encode() in line for line in seen)


def test_a_child_that_says_nonsense_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_child, "MODULE", "tests.unit.edge_agent.update.test_http_child")
    with pytest.raises(HttpError, match="what is no piece"):
        Reading(url).read((0, 10))


if __name__ == "__main__":  # the child of the last test
    import sys

    sys.stdout.write("0 no base64!\n")
