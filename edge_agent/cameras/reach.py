"""Whether somebody answers at a stream's address, asked before OpenCV is."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from edge_agent.cameras.source import without_credentials
from edge_agent.errors import CameraError

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


def check_answers(url: str, timeout_s: float) -> None:
    """Connect, and over RTSP wait for any reply to OPTIONS.

    OpenCV opens one FFmpeg source at a time in a whole process. A camera that is switched
    off or hangs would keep every other one waiting for its own time limit, again at each try.

    Raises:
        CameraError: nobody answered within `timeout_s` for each of the two.
    """
    parts, name = urlsplit(url), without_credentials(url)
    address = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
    try:
        with socket.create_connection(address, timeout_s) as connection:
            if parts.scheme == "rtsp":
                connection.sendall(f"OPTIONS {name} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
                if not connection.recv(1):
                    raise CameraError(f"{name} closed the connection; check that it is a camera")
    except (OSError, UnicodeError) as error:
        raise CameraError(
            f"{name} does not answer ({error}); check its address, power and network"
        ) from error
