"""The local pages' socket: one thread that listens, a bounded number that answer.

Whoever asks for nothing is the first to go when places run out, and /healthz needs no place
of those that pages have, so that no client can make a healthy agent look dead.
"""

from __future__ import annotations

import ipaddress
import socket
import socketserver
import sys
import threading
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any

import structlog

from edge_agent.local.requests import Desk, PagesHandler

log = structlog.get_logger(__name__)

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
POLL_S = 0.25
ROOM_S = 2.0


class Listener(ThreadingHTTPServer):
    """Serves from `desk`; one thread more than `clients_max` reads what is asked for.

    Raises OSError where the port cannot be had.

    Attributes:
        places: for pages and pictures, `clients_max` of them.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16
    timeout = POLL_S

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        address = desk.settings.address
        is_v6 = ipaddress.ip_address(address).version == 6
        self.address_family = socket.AF_INET6 if is_v6 else socket.AF_INET
        clients_max = desk.settings.clients_max
        self.places = threading.BoundedSemaphore(clients_max)
        self._readers = threading.BoundedSemaphore(clients_max + 1)
        self._silent: dict[socket.socket, None] = {}
        self._silent_lock = threading.Lock()
        super().__init__((address, desk.settings.port), PagesHandler)

    @property
    def url(self) -> str:
        host, port = str(self.server_address[0]), int(self.server_address[1])
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def server_bind(self) -> None:
        """As the base's, without asking a name server for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.desk.settings.address, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._readers.acquire(blocking=False) or self._make_room():
            with self._silent_lock:
                self._silent[request] = None
            super().process_request(request, client_address)
            return
        request.setblocking(False)
        try:
            request.send(BUSY)
        except OSError:
            log.debug("local_client_left")
        self.shutdown_request(request)

    def has_asked(self, request: socket.socket) -> bool:
        """Note that a client's request is here; False where it was hung up on before."""
        with self._silent_lock:
            return self._silent.pop(request, self) is None

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.has_asked(request)
            self._readers.release()

    def _make_room(self) -> bool:
        """Hang up on the client that has been here longest without a request, and wait for a
        thread: what reads beyond the pages' places has an answer of a line, and soon ends."""
        with self._silent_lock:
            oldest = next(iter(self._silent), None)
            if oldest is not None:
                del self._silent[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
        return self._readers.acquire(timeout=ROOM_S)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that is gone, slow or talks nonsense is its own affair."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            log.debug("local_client_lost", error=str(error))
        else:
            log.error("local_page_failed", exc_info=error)
