"""Whether a camera answers at a stream's address, asked before OpenCV is."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import struct
import time
from urllib.parse import SplitResult, unquote, urlsplit

from edge_agent.cameras.source import without_credentials
from edge_agent.errors import CameraError

HEAD_BYTES_MAX = 16_384

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_STATUS_LINE = re.compile(rb"\S+ +(\d{3})\b ?([^\r\n]*)")
_DIGEST = re.compile(rb"^www-authenticate:[^\n]*\bdigest\b", re.IGNORECASE | re.MULTILINE)
_REMEDIES = {
    401: "check the user and the password in its source",
    403: "check the user and the password in its source",
    404: "check the path in its source",
}
_CLOSE_AT_ONCE = struct.pack("ii", 1, 0)


def check_answers(url: str, timeout_s: float) -> None:
    """Connect, and wait for a reply to OPTIONS (RTSP) or for the status of a GET (HTTP).

    OpenCV opens one FFmpeg source at a time in a whole process. A camera that is switched
    off or hangs would keep every other one waiting for its own time limit, again at each try.

    Raises:
        CameraError: nobody answered within `timeout_s`, for the connection and then for the
            reply, or HTTP's answer is a refusal.
    """
    parts, name = urlsplit(url), without_credentials(url)
    address = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
    try:
        with socket.create_connection(address, timeout_s) as connection:
            if parts.scheme == "rtsp":
                connection.sendall(f"OPTIONS {name} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
                if not connection.recv(1):
                    raise CameraError(f"{name} closed the connection; check that it is a camera")
            elif parts.scheme in {"http", "https"}:
                _check_http(connection, parts, name, timeout_s)
    except ssl.SSLError:
        # Somebody is there. FFmpeg may agree with an old camera where Python does not.
        return
    except (OSError, UnicodeError) as error:
        raise CameraError(
            f"{name} does not answer ({error}); check its address, power and network"
        ) from error


def _check_http(plain: socket.socket, parts: SplitResult, name: str, timeout_s: float) -> None:
    """Raise CameraError unless a GET is answered with a status of 2xx or 3xx."""
    # A camera that serves one client at a time must see at once that this one has gone.
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_AT_ONCE)
    with _encrypted(plain) if parts.scheme == "https" else plain as connection:
        connection.sendall(_request(parts))
        deadline_s = time.monotonic() + timeout_s
        head = _receive(connection, b"", b"\n", deadline_s)
        if not head:
            raise CameraError(f"{name} closed the connection; check that it is a camera")
        status = _STATUS_LINE.match(head)
        if status is None:
            raise CameraError(f"{name} does not speak HTTP; check that it is a camera")
        code = int(status[1])
        if code == 401 and parts.username is not None:
            head = _receive(connection, head, b"\r\n\r\n", deadline_s)
            if _DIGEST.search(head):
                return  # It takes a second request, which FFmpeg makes.
    if code >= 400:
        reason = status[2].decode("ascii", "replace").strip()[:80]
        remedy = _REMEDIES.get(code, "check the camera")
        raise CameraError(f"{name} answers {f'{code} {reason}'.strip()}; {remedy}")


def _encrypted(plain: socket.socket) -> ssl.SSLSocket:
    """As FFmpeg does it: cameras sign their own certificates, so none is checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)


def _request(parts: SplitResult) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Accept: */*",
        "User-Agent: argosy",
        "Connection: close",
    ]
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Authorization: Basic {base64.b64encode(user.encode()).decode()}")
    return "\r\n".join([*lines, "", ""]).encode()


def _receive(connection: socket.socket, head: bytes, end: bytes, deadline_s: float) -> bytes:
    """`head` and what follows up to `end`, the end of the connection or HEAD_BYTES_MAX."""
    while end not in head and len(head) < HEAD_BYTES_MAX:
        connection.settimeout(max(deadline_s - time.monotonic(), 0.001))
        piece = connection.recv(4096)
        if not piece:
            break
        head += piece
    return head
