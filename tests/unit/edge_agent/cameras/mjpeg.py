"""A tiny camera: numbered pictures as MJPEG over HTTP on loopback."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np

from edge_agent.cameras.source import Image

_BITS = 12
_CELL = 16


def numbered(number: int) -> Image:
    """A picture that shows `number` as black and white columns."""
    columns = [255 * (number >> bit & 1) for bit in range(_BITS)]
    row = np.repeat(np.array(columns, dtype=np.uint8), _CELL)
    picture: Image = np.repeat(np.tile(row, (128, 1))[:, :, None], 3, axis=2)
    return picture


def number_of(picture: Image) -> int:
    """The number that a picture shows."""
    levels = picture[64, _CELL // 2 :: _CELL, 0]
    return sum(1 << bit for bit in range(_BITS) if levels[bit] > 127)


class MjpegCamera:
    """Serves pictures 0, 1, 2, … to each connection, `per_connection` of them at most.

    With `hangs` it then says nothing more and keeps the connection; the picture at
    `broken_index` is no JPEG.
    """

    def __init__(
        self,
        per_connection: int,
        fps: float = 100.0,
        *,
        frozen: bool = False,
        hangs: bool = False,
        broken_index: int = -1,
    ) -> None:
        self.per_connection, self.period_s, self.frozen = per_connection, 1 / fps, frozen
        self.hangs, self.broken_index = hangs, broken_index
        self.tokens: list[str] = []
        self.paths: list[str] = []
        self.stopping = threading.Event()


@contextlib.contextmanager
def serving(camera: MjpegCamera) -> Iterator[str]:
    """Serve `camera`; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            camera.paths.append(self.path)
            camera.tokens += query.get("connection", [])
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=edge")
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self._send_all()

        def _send_all(self) -> None:
            for index in range(camera.per_connection):
                picture = numbered(0 if camera.frozen else index)
                data = cv2.imencode(".jpg", picture)[1].tobytes()
                if index == camera.broken_index:
                    data = b"no picture" * 20
                head = f"--edge\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                if camera.stopping.wait(camera.period_s):
                    return
            if camera.hangs:
                camera.stopping.wait()

        def log_message(self, format: str, *args: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/stream"
    finally:
        camera.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
