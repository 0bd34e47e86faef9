"""One request to the local pages: read within bounds, checked, answered, closed.

Answers are small, so each connection carries one request; that keeps a client from holding a
thread without asking for something. Nothing is changed but by POST /hold, from this box alone.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import structlog

from edge_agent.errors import EdgeError, OutputError
from edge_agent.local.holding import HEADER as HOLD_HEADER
from edge_agent.local.holding import PATH as HOLD
from edge_agent.local.holding import HoldError, may_hold
from edge_agent.local.pictures import Pictures
from edge_agent.local.settings import LocalSection, is_expected_host
from edge_agent.local.view import View, blind_slots, document, doubtful_slots
from edge_agent.update.requests import Answer

if TYPE_CHECKING:
    from edge_agent.local.listener import Listener

log = structlog.get_logger(__name__)

HEALTH = "/healthz"
BOUNDARY = "frame"
KEEPALIVE_S = 2.0
PICTURE = re.compile(r"/preview/([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.(jpg|mjpg)")
COMMON_HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Desk:
    """What requests are answered from."""

    view: View
    settings: LocalSection
    pictures: Pictures
    streams: threading.BoundedSemaphore
    stopping: threading.Event

    @cached_property
    def page(self) -> str:
        return files(__package__).joinpath("page.html").read_text(encoding="utf-8")


class PagesHandler(BaseHTTPRequestHandler):
    """Answers GET, HEAD and POST /hold; anything else is refused."""

    server: Listener
    server_version = "argosy-agent"
    sys_version = ""
    default_request_version = "HTTP/1.0"
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def setup(self) -> None:
        super().setup()
        settings = self._desk.settings
        self.connection.settimeout(settings.request_timeout_s)
        self.rfile.close()
        self.rfile = io.BytesIO(
            read_head(self.connection, settings.request_bytes_max, settings.request_timeout_s)
        )
        if not self.server.has_asked(self.connection):
            raise ConnectionError("the request came too late")

    def do_GET(self) -> None:
        if self._is_expected():
            self._asked(self.path.partition("?")[0])

    def do_POST(self) -> None:
        if self._is_expected():
            self._changed(*self.path.partition("?")[::2])

    def _is_expected(self) -> bool:
        """Whether the request's Host is this box; where it is not, it is refused."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) > 1:
            self._refuse(HTTPStatus.BAD_REQUEST, "give one Host")
        elif not is_expected_host(next(iter(hosts), None), self._desk.settings.hostnames):
            self._refuse(
                HTTPStatus.MISDIRECTED_REQUEST, "ask by IP address, or see local.hostnames"
            )
        else:
            return True
        return False

    def _asked(self, path: str) -> None:
        if path == HEALTH:
            self.healthz()
        elif not self.server.places.acquire(blocking=False):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "local.clients_max clients are served")
        else:
            try:
                self._show(path)
            finally:
                self.server.places.release()

    def _show(self, path: str) -> None:
        page = PAGES.get(path)
        picture = PICTURE.fullmatch(path)
        if page is not None:
            page(self)
        elif picture is not None and self._desk.settings.preview:
            self._preview(*picture.groups())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page; / has them all")

    def _changed(self, path: str, query: str) -> None:
        hold = self._desk.view.hold
        if path != HOLD or hold is None:
            self._refuse(HTTPStatus.NOT_IMPLEMENTED, "nothing is changed here but by /hold")
        elif not may_hold(str(self.client_address[0]), self.headers.get(HOLD_HEADER)):
            text = f"ask from this box, with the header {HOLD_HEADER}"
            self._refuse(HTTPStatus.FORBIDDEN, text)
        elif not self.server.places.acquire(blocking=False):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "local.clients_max clients are served")
        else:
            try:
                self._hold(hold, query)
            finally:
                self.server.places.release()

    def _hold(self, hold: Callable[[str], Answer], query: str) -> None:
        try:
            told = hold(query)
        except HoldError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except EdgeError as error:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        else:
            status = HTTPStatus.OK if told.ok else HTTPStatus.CONFLICT
            self._answer(f"{told.text}\n".encode(), "text/plain; charset=utf-8", status=status)

    def do_HEAD(self) -> None:
        self.do_GET()

    # ---- pages -----------------------------------------------------------------------

    def index(self) -> None:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
            "img-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        page = self._desk.page.replace("{{nonce}}", nonce)
        self._answer(page.encode(), "text/html; charset=utf-8", {"Content-Security-Policy": policy})

    def healthz(self) -> None:
        view = self._desk.view
        stuck, blind, doubtful = view.stuck(), blind_slots(view), doubtful_slots(view)
        text = f"inference is stuck: {', '.join(stuck)}" if stuck else "ok"
        if not stuck:  # a restart does not help with these, so whoever restarts is not called
            if blind:
                text = f"nothing serves: {', '.join(blind)}; see /status.json"
            elif doubtful:
                told = "; ".join(f"{name}: {why}" for name, why in doubtful.items())
                text = f"ok, but {told}; see /status.json"
        status = HTTPStatus.SERVICE_UNAVAILABLE if stuck else HTTPStatus.OK
        self._answer(text.encode() + b"\n", "text/plain; charset=utf-8", status=status)

    def status(self) -> None:
        found = {**document(self._desk.view), "preview": self._desk.settings.preview}
        self._answer(json.dumps(found, allow_nan=False).encode(), "application/json")

    def metrics(self) -> None:
        from edge_agent.local.metrics import CONTENT_TYPE, exposition

        self._answer(exposition(self._desk.view), CONTENT_TYPE)

    # ---- pictures --------------------------------------------------------------------

    def _preview(self, camera: str, kind: str) -> None:
        if not self._desk.pictures.has(camera):
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such camera")
        elif kind == "jpg":
            try:
                jpeg = self._desk.pictures.jpeg(camera)
            except OutputError as error:
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
            else:
                self._answer(jpeg, "image/jpeg")
        elif not self._desk.streams.acquire(blocking=False):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "local.streams_max streams are watched")
        else:
            try:
                self._stream(camera)
            finally:
                self._desk.streams.release()

    def _stream(self, camera: str) -> None:
        """Pictures as they change, and the last one again now and then to find a client that
        is gone, until the client leaves, takes one too slowly, or the agent stops."""
        self.send_response(HTTPStatus.OK)
        self._headers({"Content-Type": f"multipart/x-mixed-replace; boundary={BOUNDARY}"})
        if self.command == "HEAD":
            return
        pause_s = 1 / self._desk.settings.frames_per_s_max
        sent, sent_at = b"", float("-inf")
        while True:
            jpeg, now = self._desk.pictures.jpeg(camera), time.monotonic()
            if jpeg is not sent or now - sent_at >= KEEPALIVE_S:
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(f"--{BOUNDARY}\r\n{head}".encode() + jpeg + b"\r\n")
                sent, sent_at = jpeg, now
            if self._desk.stopping.wait(pause_s):
                return

    # ---- answers ---------------------------------------------------------------------

    def _answer(
        self,
        body: bytes,
        content_type: str,
        headers: dict[str, str] | None = None,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> None:
        self.send_response(status)
        length = {"Content-Type": content_type, "Content-Length": str(len(body))}
        self._headers(length | (headers or {}))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._answer(f"{why}\n".encode(), "text/plain; charset=utf-8", status=status)

    def _headers(self, headers: dict[str, str]) -> None:
        for name, value in (COMMON_HEADERS | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True

    @property
    def _desk(self) -> Desk:
        return self.server.desk

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("local_request", request=format % args)


PAGES: dict[str, Callable[[PagesHandler], None]] = {
    "/": PagesHandler.index,
    "/status.json": PagesHandler.status,
    "/metrics": PagesHandler.metrics,
}


def read_head(connection: socket.socket, bytes_max: int, timeout_s: float) -> bytes:
    """A request up to its empty line. Raises OSError: it is too long, too slow, or breaks off."""
    deadline = time.monotonic() + timeout_s
    head = bytearray()
    while b"\r\n\r\n" not in head:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the request did not come in time")
        connection.settimeout(left_s)
        piece = connection.recv(min(4096, bytes_max + 1 - len(head)))
        head += piece
        if not piece:
            raise ConnectionError("the request broke off")
        if len(head) > bytes_max:
            raise ConnectionError(f"the request is over {bytes_max} bytes")
    connection.settimeout(timeout_s)
    return bytes(head)
