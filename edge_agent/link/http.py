"""The device's HTTP side: images to the hub, blobs from it.

Reading is bounded: a body is streamed and counted against what was asked for, an answer that
nobody needs is read for a moment at most, and whatever httpx raises, around the iteration too,
becomes one error. httpx and its client come with the
first request: the first frame does not wait for them.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import EdgeError

if TYPE_CHECKING:
    import httpx

    from edge_agent.config import HubSection

STREAM_BYTES = 64 * 1024
ANSWER_S_MAX = 2.0
"""How long the rest of an answer is read that nobody needs (s)."""


@dataclass(frozen=True)
class Span:
    """Bytes [start, start + length) of a blob."""

    sha256: str
    start: int
    length: int


class HttpError(EdgeError):
    """The hub could not be reached by HTTP, or refused; `status` where it answered."""

    def __init__(self, text: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(text)


class HubHttp:
    """Requests of one device to its hub, by any thread."""

    def __init__(
        self,
        url: str,
        token: str,
        timeout_s: float,
        *,
        proxy: str | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self._base = url.rstrip("/") + "/api/v1"
        self._make = partial(_client, token, timeout_s, proxy, ca_file)
        self._lock = threading.Lock()
        self._made: httpx.Client | None = None

    def close(self) -> None:
        with self._lock:
            if self._made is not None:
                self._made.close()

    @property
    def _client(self) -> httpx.Client:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def put_sample(self, sha256: str, image: bytes) -> None:
        """Store a sample's image at the hub. Raises HttpError."""
        url = f"{self._base}/device/samples/{sha256}"
        headers = {"Content-Type": "image/jpeg"}
        with (
            _wrapped(f"image {sha256[:12]}"),
            self._client.stream("PUT", url, content=image, headers=headers) as response,
        ):
            _require(response, 200, 299)
            _finish(response)

    def read_blob(self, span: Span) -> Iterator[bytes]:
        """The bytes of a span, in pieces of up to STREAM_BYTES.

        Raises:
            HttpError: the hub is out of reach, refuses, or sends another number of bytes.
        """
        name, end = f"blob {span.sha256[:12]}", span.start + span.length
        headers = {"Range": f"bytes={span.start}-{end - 1}"}
        url = f"{self._base}/blobs/{span.sha256}"
        received = 0
        with _wrapped(name), self._client.stream("GET", url, headers=headers) as response:
            _require(response, 206, 206)
            for piece in response.iter_bytes(STREAM_BYTES):
                received += len(piece)
                if received > span.length:
                    raise HttpError(f"{name}: more than the {span.length} bytes asked for")
                yield piece
        if received != span.length:
            raise HttpError(f"{name}: {received} bytes came of {span.length}")


def hub_http(hub: HubSection, timeout_s: float) -> HubHttp:
    """Requests to the hub of a configuration. Raises ConfigError where it lacks the token."""
    return HubHttp(hub.url, hub.read_token(), timeout_s, proxy=hub.proxy, ca_file=hub.ca_file)


def _client(token: str, timeout_s: float, proxy: str | None, ca_file: Path | None) -> httpx.Client:
    import httpx

    return httpx.Client(
        headers={"Authorization": f"Bearer {token}"},
        timeout=timeout_s,
        proxy=proxy,
        verify=True if ca_file is None else trust(ca_file),
        trust_env=False,
    )


@contextmanager
def _wrapped(thing: str) -> Iterator[None]:
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        raise HttpError(
            f"{thing}: HTTP to the hub failed: {error or type(error).__name__}"
        ) from error


def _require(response: httpx.Response, low: int, high: int) -> None:
    if not low <= response.status_code <= high:
        raise HttpError(
            f"the hub answered {response.status_code} to {response.request.url.path}",
            response.status_code,
        )


def _finish(response: httpx.Response) -> None:
    """Read a short answer to its end, so that its connection serves the next request too.

    Its status has said all: one that is long, slow or breaks off is left, and the connection
    closed. One in chunks is not begun: it can keep a reader without giving it a byte.
    """
    import httpx

    if "Transfer-Encoding" in response.headers:
        return
    until, left_bytes = time.monotonic() + ANSWER_S_MAX, STREAM_BYTES
    with suppress(httpx.HTTPError):
        for piece in response.iter_raw():
            left_bytes -= len(piece)
            if left_bytes < 0 or time.monotonic() > until:
                return


def trust(ca_file: Path) -> ssl.SSLContext:
    """Trust the certificates of `ca_file` and no others. Raises OSError."""
    return ssl.create_default_context(cafile=str(ca_file))
