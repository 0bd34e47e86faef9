"""MJPEG over HTTP, as network cameras speak it, with the truth beside the pictures.

`GET /stream` sends multipart/x-mixed-replace. Each connection has a token (`?connection=`, else the
camera numbers it) and begins at index 0, so the nth frame that a client reads is the record
(connection, n) of the truth log.

Also `GET /` (what this is), `GET /snapshot.jpg`, `GET|PUT /drift`, `GET /truth?since=`.
"""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from simulators.camera import Camera, Connection
from simulators.scenes import Drift
from simulators.truth import TruthLog, TruthRecord

_BOUNDARY = "argosy-frame"
_BODY_BYTES_MAX = 4096
_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SEND_TIMEOUT_S = 30.0


class CameraServer:
    """Serves one camera on `host`; `port` 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self, camera: Camera, truth: TruthLog, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.camera = camera
        self.truth = truth
        self._http = _Server((host, port), camera, truth)
        self.url = f"http://{host}:{self._http.server_address[1]}"
        self._thread = threading.Thread(
            target=self._http.serve_forever,
            kwargs={"poll_interval": 0.1},
            name=f"{camera.settings.name}-http",
            daemon=True,
        )

    def start(self) -> None:
        """Begin to render and to answer, in threads."""
        self.camera.start()
        self._thread.start()

    def stop(self) -> None:
        """End all streams, free the port, close the truth log."""
        self.camera.stop()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=5)
        self.truth.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], camera: Camera, truth: TruthLog) -> None:
        self.camera = camera
        self.truth = truth
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    """One client; `/stream` keeps its thread for as long as the client stays."""

    server: _Server
    timeout = _SEND_TIMEOUT_S

    def do_GET(self) -> None:
        target = urlsplit(self.path)
        answer = _GET.get(target.path)
        if answer is None:
            self._refuse(
                HTTPStatus.NOT_FOUND, f"no {target.path} here: try {', '.join(sorted(_GET))}"
            )
            return
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        try:
            answer(self, query)
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))

    def do_PUT(self) -> None:
        if urlsplit(self.path).path != "/drift":
            self._refuse(HTTPStatus.NOT_FOUND, "only /drift can be put")
            return
        try:
            drift = parse_drift(self._body(), self.server.camera.drift)
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        first = self.server.camera.set_drift(drift)
        self._json({"drift": drift.as_dict(), "first_frame_number": first})

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: the truth log tells what was sent."""

    def send_describe(self, _query: dict[str, str]) -> None:
        self._json(self.server.camera.describe())

    def send_drift(self, _query: dict[str, str]) -> None:
        self._json(self.server.camera.drift.as_dict())

    def send_truth(self, query: dict[str, str]) -> None:
        since = query.get("since", "0")
        if not since.isdecimal():
            raise ValueError(
                f"since is {since!r}: give the number that the last answer called next"
            )
        records, following = self.server.truth.since(int(since))
        self._json({"records": records, "next": following})

    def send_snapshot(self, _query: dict[str, str]) -> None:
        frame = self.server.camera.snapshot()
        self._reply(HTTPStatus.OK, "image/jpeg", frame.jpeg)

    def send_stream(self, query: dict[str, str]) -> None:
        token = query.get("connection")
        if token is not None and not _TOKEN.fullmatch(token):
            raise ValueError("connection: give 1 to 64 letters, digits, dots, dashes, underscores")
        camera = self.server.camera
        self.close_connection = True
        connection = camera.connect(token)
        try:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self._send_frames(connection)
        except (OSError, TimeoutError):
            pass  # the client has gone, which is how a stream ends
        finally:
            camera.disconnect(connection)

    def _send_frames(self, connection: Connection) -> None:
        camera, index = self.server.camera, 0
        while not (camera.stopping.is_set() or connection.fell_behind.is_set()):
            try:
                frame = connection.frames.get(timeout=0.2)
            except queue.Empty:
                continue
            self.server.truth.append(
                TruthRecord(
                    camera=camera.settings.name,
                    connection=connection.token,
                    index=index,
                    frame_number=frame.number,
                    drift=frame.drift,
                    boxes=frame.boxes,
                    sent_at=time.time(),
                )
            )
            head = (
                f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                f"Content-Length: {len(frame.jpeg)}\r\nX-Frame-Index: {index}\r\n\r\n"
            )
            self.wfile.write(head.encode() + frame.jpeg + b"\r\n")
            index += 1

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _BODY_BYTES_MAX:
            raise ValueError(f"the body needs a Content-Length of at most {_BODY_BYTES_MAX} bytes")
        return self.rfile.read(int(length))

    def _json(self, value: object, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._reply(status, "application/json", json.dumps(value).encode())

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._json({"error": reason}, status)

    def _reply(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


_GET: dict[str, Callable[[_Handler, dict[str, str]], None]] = {
    "/": _Handler.send_describe,
    "/drift": _Handler.send_drift,
    "/snapshot.jpg": _Handler.send_snapshot,
    "/stream": _Handler.send_stream,
    "/truth": _Handler.send_truth,
}


def parse_drift(body: bytes, current: Drift) -> Drift:
    """Dials from JSON such as `{"lighting": 0.6}`; those not named stay as they are in `current`.

    Raises:
        ValueError: not JSON, not an object, an unknown dial, or one outside 0..1.
    """
    try:
        dials = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from error
    known = current.as_dict()
    if not isinstance(dials, dict) or not dials.keys() <= known.keys():
        raise ValueError(f"give a JSON object with some of the dials {', '.join(known)}")
    return Drift(**{**known, **dials})
