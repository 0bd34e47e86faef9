"""Reads blobs from the hub by HTTP in a child process, at the pace that is allowed.

The child gets its order as JSON on stdin, the token within, so that no list of processes
shows it. It prints a line for each piece: the number of its span, a blank, the bytes in
base64. It writes nowhere, and what it says is judged by who asked: each chunk has its digest.
"""

from __future__ import annotations

import base64
import binascii
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from edge_agent.children import ChildLimits, run_child
from edge_agent.config import HubSection, Limits
from edge_agent.errors import EdgeError
from edge_agent.link.http import STREAM_BYTES, HttpError, HubHttp, Span
from edge_agent.update.download_pace import Bucket
from protocol.chunks import Sha256

MODULE = "edge_agent.update.http_child"
MEMORY_BYTES = 1024 * 1024 * 1024
ORDER_BYTES_MAX = 64 * 1024 * 1024
REFUSED = 3


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True)

    sha256: Sha256
    start: int = Field(ge=0)
    length: int = Field(gt=0)


class _Order(BaseModel):
    """What the child is to read, and how it gets there."""

    model_config = ConfigDict(frozen=True)

    url: str
    token: str
    timeout_s: float
    proxy: str | None
    ca_file: Path | None
    bytes_per_s: int
    spans: list[_Asked]


class HttpReader:
    """Reads blobs of one hub, each time in a child of its own. Any thread may use it."""

    def __init__(self, hub: HubSection, limits: Limits) -> None:
        self._hub, self._limits = hub, limits

    def read(
        self,
        spans: Sequence[Span],
        take: Callable[[int, bytes], None],
        cancel: threading.Event,
    ) -> None:
        """Read the spans one after the other, and give each piece with its span's number.

        Raises:
            HttpError: the hub is out of reach or refuses, or the child failed.
            EdgeError: the token cannot be read.
        """
        hub, limits = self._hub, self._limits
        order = _Order(
            url=hub.url,
            token=hub.read_token(),
            timeout_s=limits.http_timeout_s,
            proxy=hub.proxy,
            ca_file=hub.ca_file,
            bytes_per_s=limits.download_bytes_per_s_max,
            spans=[_Asked(sha256=s.sha256, start=s.start, length=s.length) for s in spans],
        )

        def hear(line: bytes) -> None:
            number, piece = _parse(line)
            if not 0 <= number < len(spans):
                raise HttpError(f"the download's process told of span {number}")
            take(number, piece)

        ended = run_child(
            MODULE,
            (),
            ChildLimits(limits.download_timeout_s, MEMORY_BYTES, file_bytes=0),
            cancel=cancel,
            stdin=order.model_dump_json().encode(),
            on_line=hear,
        )
        if ended.code == REFUSED:
            raise HttpError(ended.errors)
        if ended.reason and not cancel.is_set():
            raise HttpError(f"the download's process {ended.reason}")


def _parse(line: bytes) -> tuple[int, bytes]:
    number, _, text = line.partition(b" ")
    try:
        return int(number), base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise HttpError(f"the download's process said what is no piece: {line[:40]!r}") from error


# ---- the child -----------------------------------------------------------------------


def fetch(order: _Order, say: Callable[[bytes], object]) -> None:
    """Read all that is ordered. Raises HttpError."""
    hub = HubHttp(order.url, order.token, order.timeout_s, proxy=order.proxy, ca_file=order.ca_file)
    bucket = Bucket.full(order.bytes_per_s, STREAM_BYTES, time.monotonic())
    try:
        for number, span in enumerate(order.spans):
            for piece in hub.read_blob(Span(span.sha256, span.start, span.length)):
                say(b"%d %s\n" % (number, base64.b64encode(piece)))
                bucket = bucket.taken(len(piece), time.monotonic())
                time.sleep(bucket.wait_s(time.monotonic()))
    finally:
        hub.close()


def main() -> None:
    order = _Order.model_validate_json(sys.stdin.buffer.read(ORDER_BYTES_MAX))

    def say(line: bytes) -> None:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    try:
        fetch(order, say)
    except EdgeError as error:
        sys.stderr.write(str(error))
        raise SystemExit(REFUSED) from error


if __name__ == "__main__":
    main()
