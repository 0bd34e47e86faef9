"""Publishes wanted chunks: collects for a moment, then sends each once, at the broker's pace."""

from __future__ import annotations

import logging
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
from cloud.inbound import Counters, Received, Tally
from protocol.chunks import CHUNK_BYTES, from_ranges
from protocol.errors import ChunkError
from protocol.messages import Wants
from protocol.topics import Kind, Topic

log = logging.getLogger(__name__)

DELIVERY_S_MAX = 10.0


class Delivery(Protocol):
    """A message on its way to the broker."""

    def wait(self, timeout_s: float) -> bool: ...


class Link(Protocol):
    """What carries chunks: the ingress, or a test's."""

    def send(self, topic: Topic, payload: bytes) -> Delivery: ...


class ChunkSender:
    """One thread that sends what the book holds."""

    def __init__(
        self,
        store: BlobStore,
        link: Link,
        counters: Counters,
        *,
        collect_ms: int,
        chunks_max: int,
        inflight_bytes_max: int,
    ) -> None:
        self._store, self._link, self._counters = store, link, counters
        self._collect_s = collect_ms / 1000
        self._inflight_bytes_max = inflight_bytes_max
        self._book = WantBook(chunks_max)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chunk-sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def take_wants(self, session: Session, batch: Sequence[Received]) -> Tally:
        """Note what devices want. A handler of the ingress; it stores nothing."""
        tally: Tally = Counter()
        for received in batch:
            wants: Wants = received.message
            for want in wants.blobs:
                tally[self._note(session, want.sha256, want.ranges)] += 1
        return tally

    def _note(self, session: Session, sha256: str, ranges: Sequence[tuple[int, int]]) -> str:
        try:
            size_bytes = blobs.get(session, sha256).size_bytes
            indexes = from_ranges(ranges)
        except NotFoundError:
            return "refused.unknown_blob"
        except ChunkError:
            return "refused.bad_range"
        count = -(-size_bytes // CHUNK_BYTES)
        with self._changed:
            left_out = self._book.add(sha256, (i for i in indexes if i < count))
            self._changed.notify_all()
        if left_out:
            self._counters.count("wants_left_out", left_out)
        return "wants"

    def _run(self) -> None:
        flying: deque[tuple[Delivery, int]] = deque()
        while self._wait_for_wants():
            self._stopping.wait(self._collect_s)
            while not self._stopping.is_set() and (key := self._take()) is not None:
                self._send(*key, flying)
            while flying and not self._stopping.is_set():
                flying.popleft()[0].wait(DELIVERY_S_MAX)

    def _wait_for_wants(self) -> bool:
        with self._changed:
            while not self._book and not self._stopping.is_set():
                self._changed.wait(1.0)
        return not self._stopping.is_set()

    def _take(self) -> tuple[str, int] | None:
        with self._changed:
            return self._book.take()

    def _send(self, sha256: str, index: int, flying: deque[tuple[Delivery, int]]) -> None:
        try:
            data = self._store.read_range(sha256, index * CHUNK_BYTES, CHUNK_BYTES)
        except (HubError, OSError):
            log.exception("chunk %d of blob %s cannot be read", index, sha256[:12])
            self._counters.count("chunks_unreadable")
            return
        deadline = time.monotonic() + DELIVERY_S_MAX
        while flying and sum(size for _, size in flying) + len(data) > self._inflight_bytes_max:
            delivery, _ = flying.popleft()
            # A message that the broker never takes is asked for again by who misses it.
            delivery.wait(max(0.0, deadline - time.monotonic()))
        topic = Topic(Kind.BLOB_CHUNK, sha256=sha256, index=index)
        flying.append((self._link.send(topic, data), len(data)))
