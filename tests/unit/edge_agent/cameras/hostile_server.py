"""A server on loopback that answers each connection as it pleases."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterable, Iterator

from edge_agent.cameras.source import Image
from tests.fixtures.seeing import image
from tests.unit.edge_agent.cameras.hostile import encoded, jpeg_claiming

Answer = Callable[[], Iterable[bytes]]
"""What is sent to a client that has asked, piece by piece; then the connection is closed."""

_PERIOD_S = 0.02
_OK = b"HTTP/1.1 200 OK\r\n"
_MULTIPART = _OK + b"Content-Type: multipart/x-mixed-replace; boundary=edge\r\n\r\n"


def part(body: bytes, length: int | None = None) -> bytes:
    stated = len(body) if length is None else length
    head = f"--edge\r\nContent-Type: image/jpeg\r\nContent-Length: {stated}\r\n\r\n"
    return head.encode() + body + b"\r\n"


def parts(*bodies: bytes) -> Answer:
    """A camera that sends these bodies again and again."""
    return lambda: itertools.chain([_MULTIPART], map(part, itertools.cycle(bodies)))


def status(line: str, body: bytes = b"no") -> Answer:
    head = f"HTTP/1.1 {line}\r\nContent-Length: {len(body)}\r\n\r\n"
    return lambda: [head.encode() + body]


def jpeg(width: int, height: int, seed: int) -> bytes:
    picture: Image = image(width, height, seed)
    return encoded(".jpg", picture)


def jpegs(width: int, height: int, count: int = 10) -> list[bytes]:
    return [jpeg(width, height, seed) for seed in range(count)]


HOSTILE: dict[str, Answer] = {
    "404": status("404 Not Found"),
    "401": status("401 Unauthorized"),
    "500": status("500 Internal Server Error"),
    "page": status("200 OK", b"<html><body>please log in</body></html>" * 50),
    "nothing": list,
    "silence": lambda: itertools.repeat(b""),
    "no HTTP": lambda: [b"SSH-2.0-OpenSSH_9.2\r\n"],
    "endless header": lambda: itertools.chain([_OK], itertools.repeat(b"X-Long: " + b"x" * 4000)),
    "endless headers": lambda: itertools.chain([_OK], itertools.repeat(b"X-More: yes\r\n")),
    "redirects to itself": status("302 Found\r\nLocation: /stream"),
    "redirects to a file": status("302 Found\r\nLocation: file:///etc/hostname"),
    "parts that are no JPEG": parts(b"this is no picture" * 100),
    "empty parts": parts(b""),
    "endless header of a part": lambda: itertools.chain(
        [_MULTIPART, b"--edge\r\n"], itertools.repeat(b"X-More: yes\r\n")
    ),
    "part of a negative length": lambda: itertools.chain(
        [_MULTIPART], itertools.repeat(part(b"x" * 100, -5))
    ),
    "part of 2^62 bytes": lambda: itertools.chain([_MULTIPART, part(b"", 2**62)], [b"x"] * 1000),
    "JPEG of 60000x60000": parts(jpeg_claiming(60_000, 60_000)),
    "over the limit of pixels": parts(*jpegs(200, 200)),
    "noise": lambda: itertools.chain([_MULTIPART], itertools.repeat(bytes(range(256)) * 16)),
}


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Serve `answer` to every connection; yields the URL."""
    stopping = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)

    def serve() -> None:
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = listener.accept()
                threading.Thread(target=talk, args=(client,), daemon=True).start()

    def talk(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(5)
            if not client.recv(65_536):
                return
            for piece in answer():
                client.sendall(piece)
                if stopping.wait(_PERIOD_S):
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/stream"
    finally:
        stopping.set()
        thread.join(5)
        listener.close()
