"""Publishes wanted chunks: collects for a moment, then sends each once, at the broker's pace."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

from sqlmodel import Session

from cloud.blobs import service as blobs
from cloud.blobs.store import BlobStore
from cloud.distribution.wants import WantBook
from cloud.errors import HubError, NotFoundError
from cloud.inbound import Received, Tally
from protocol.chunks import CHUNK_BYTES, from_ranges
from protocol.errors import ChunkError
from protocol.messages import Wants
from protocol.topics import Kind, Topic

log = logging.getLogger(__name__)

DELIVERY_S_MAX = 10.0
POLL_S = 0.5


class Delivery(Protocol):
    """A message on its way to the broker."""

    def wait(self, timeout_s: float) -> bool: ...


class Link(Protocol):
    """What carries chunks: the ingress, or a test's."""

    def send(self, topic: Topic, payload: bytes) -> Delivery: ...


class ChunkRequests:
    """What devices asked for and was not sent yet. Safe to use from many threads."""

    def __init__(
        self, *, chunks_max: int, repeat_ms: int = 0, fanout_bytes_per_s: float = math.inf
    ) -> None:
        self._book = WantBook(
            chunks_max, repeat_ms / 1000, delivery_s=CHUNK_BYTES / fanout_bytes_per_s
        )
        self._changed = threading.Condition()

    def take_wants(self, session: Session, batch: Sequence[Received]) -> Tally:
        """Note what devices want. A handler of the ingress; it stores nothing."""
        tally: Tally = Counter()
        sizes: dict[str, int | None] = {}
        for received in batch:
            wants: Wants = received.message
            for want in wants.blobs:
                if want.sha256 not in sizes:
                    sizes[want.sha256] = _size_bytes(session, want.sha256)
                tally += self._note(want.sha256, want.ranges, sizes[want.sha256])
        return tally

    def wait(self, timeout_s: float) -> bool:
        """Whether there is a chunk to send, after at most `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while (now := time.monotonic()) < deadline and self._book.next_at() > now:
                self._changed.wait(min(deadline, self._book.next_at()) - now)
            return self._book.next_at() <= time.monotonic()

    def next_chunk(self) -> tuple[str, int] | None:
        """Digest of the blob and index of the chunk to send next."""
        with self._changed:
            return self._book.take(time.monotonic())

    def _note(
        self, sha256: str, ranges: Sequence[tuple[int, int]], size_bytes: int | None
    ) -> Tally:
        if size_bytes is None:
            return Counter({"refused.unknown_blob": 1})
        try:
            indexes = from_ranges(ranges)
        except ChunkError:
            return Counter({"refused.bad_range": 1})
        count = -(-size_bytes // CHUNK_BYTES)
        with self._changed:
            wanted = (i for i in indexes if i < count)
            left_out = self._book.add(sha256, wanted, time.monotonic())
            self._changed.notify_all()
        return Counter({"wants": 1, "wants_left_out": left_out})


def _size_bytes(session: Session, sha256: str) -> int | None:
    """Of a blob; None where the hub has none of that name."""
    try:
        return blobs.get(session, sha256).size_bytes
    except NotFoundError:
        return None


class ChunkSender:
    """One thread that sends what is asked for."""

    def __init__(
        self,
        requests: ChunkRequests,
        store: BlobStore,
        link: Link,
        *,
        collect_ms: int,
        inflight_bytes_max: int,
    ) -> None:
        self._requests, self._store, self._link = requests, store, link
        self._collect_s = collect_ms / 1000
        self._inflight_bytes_max = inflight_bytes_max
        self._flying: deque[tuple[Delivery, int]] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chunk-sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if not self._requests.wait(POLL_S):
                continue
            self._stopping.wait(self._collect_s)
            while not self._stopping.is_set() and (key := self._requests.next_chunk()):
                self._send(*key)

    def _send(self, sha256: str, index: int) -> None:
        try:
            data = self._store.read_range(sha256, index * CHUNK_BYTES, CHUNK_BYTES)
        except (HubError, OSError):
            log.exception("chunk %d of blob %s cannot be read", index, sha256[:12])
            return
        self._make_room(len(data))
        topic = Topic(Kind.BLOB_CHUNK, sha256=sha256, index=index)
        self._flying.append((self._link.send(topic, data), len(data)))

    def _make_room(self, size_bytes: int) -> None:
        """Wait until so many more bytes may be in flight.

        What the broker does not take in time counts as lost: who misses it asks again.
        """
        while (
            self._flying
            and sum(size for _, size in self._flying) + size_bytes > self._inflight_bytes_max
        ):
            delivery, _ = self._flying.popleft()
            deadline = time.monotonic() + DELIVERY_S_MAX
            while not (self._stopping.is_set() or delivery.wait(POLL_S)):
                if time.monotonic() > deadline:
                    break
