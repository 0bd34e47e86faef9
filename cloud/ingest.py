"""From the broker into the database: a bounded queue, and one thread that writes in batches.

One transaction takes many messages; acknowledgements leave after its commit. What is
malformed is counted, shown in the log in a bounded sample, and never stops the rest: where
it says its number, that is accounted for by a tombstone (see `unusable`). A write that the
database refuses is tried again until it succeeds: nothing is acknowledged meanwhile, the
queue fills, and the broker is held back.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from cloud.database import Database
from cloud.errors import StorageError
from cloud.inbound import Counters, Handler, Received, Tally
from cloud.settings import LimitSettings
from cloud.unusable import stand_in
from protocol.errors import DecodeError, SchemaVersionError, TopicError
from protocol.messages import PAYLOADS, Tombstone, decode
from protocol.topics import PATTERNS, Direction, Kind, Topic, TopicSpace

log = logging.getLogger(__name__)

TOPICS_CACHED_MAX = 8192
RETRY_DELAY_FIRST_S = 0.05
MALFORMED = "refused.malformed"
DEAF_AFTER_S = 60.0
"""What the database refuses for longer is no moment in which it was busy."""

Raw = tuple[str, bytes, float]
"""Topic as text, payload, Unix seconds of arrival."""

KnownDevices = Callable[[Session, set[str]], Collection[str]]


class IngestWriter:
    """Takes messages from the link's thread and stores them in its own.

    Args:
        handlers: which function stores which kind; they run in this order in a batch.
        known_devices: those of the given device ids that are enrolled.
    """

    def __init__(
        self,
        database: Database,
        space: TopicSpace,
        handlers: Mapping[Kind, Handler],
        *,
        known_devices: KnownDevices,
        counters: Counters,
        limits: LimitSettings,
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._known_devices = known_devices
        self._counters = counters
        self._limits = limits
        self._parse = lru_cache(TOPICS_CACHED_MAX)(space.parse)
        self._queue: deque[Raw] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._stores_since: float | None = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingest-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Have nobody wait any more: what a full queue does not take is dropped from now on.

        It was not acknowledged, so it comes again.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Store what is queued, as far as the database takes it, and end."""
        self.close()
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def depth(self) -> int:
        """Messages that wait to be stored."""
        return len(self._queue)

    @property
    def stores_since(self) -> float | None:
        """Since when the database takes what comes, in Unix seconds; None while it does not."""
        return self._stores_since

    def offer(self, topic: str, payload: bytes) -> None:
        """Queue a message; waits while the queue is full, which holds the broker back."""
        with self._changed:
            while len(self._queue) >= self._limits.ingest_queue_messages_max:
                if self._closed:
                    return
                self._changed.wait(1.0)
            self._queue.append((topic, payload, time.time()))
            if len(self._queue) == 1:
                self._changed.notify_all()

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._settle(self._decode(batch))

    def _next_batch(self) -> list[Raw] | None:
        """What has come, after a moment in which more may come; None at the end."""
        with self._changed:
            while not self._queue:
                if self._stopping.is_set():
                    return None
                self._changed.wait(1.0)
        if len(self._queue) < self._limits.ingest_batch_messages_max:
            self._stopping.wait(self._limits.ingest_batch_age_ms / 1000)
        with self._changed:
            size = min(len(self._queue), self._limits.ingest_batch_messages_max)
            batch = [self._queue.popleft() for _ in range(size)]
            self._changed.notify_all()
        return batch

    def _decode(self, batch: Sequence[Raw]) -> list[Received]:
        tally: Tally = Counter(messages=len(batch))
        decoded = []
        for topic_text, payload, at in batch:
            try:
                decoded.append(self._decode_one(topic_text, payload, at))
            except (TopicError, DecodeError) as error:
                reason = f"refused.{_reason(error)}"
                if not tally[reason]:
                    self._log_refusal(reason, topic_text, payload, error)
                tally[reason] += 1
                # What a newer version says waits for this side's upgrade, with all that follows.
                if reason == MALFORMED and (instead := self._instead(topic_text, payload, at)):
                    decoded.append(instead)
        self._counters.add(tally)
        return decoded

    def _decode_one(self, topic_text: str, payload: bytes, at: float) -> Received:
        topic: Topic = self._parse(topic_text)
        if PATTERNS[topic.kind].direction is not Direction.FROM_DEVICE:
            raise TopicError(f"{topic.kind.value} is no topic that devices publish on")
        if topic.kind not in PAYLOADS:
            return Received(topic, payload, None, at)
        message = decode(topic.kind, payload)
        if message.device_id != topic.device_id:
            raise _ForeignDeviceError(f"{message.device_id} on the topic of {topic.device_id}")
        return Received(topic, payload, message, at)

    def _instead(self, topic_text: str, payload: bytes, at: float) -> Received | None:
        topic: Topic = self._parse(topic_text)
        tombstone = stand_in(topic, payload)
        return None if tombstone is None else Received(topic, payload, tombstone, at)

    def _settle(self, batch: Sequence[Received]) -> None:
        """Store the batch, however long the database refuses."""
        began, delay_s = time.monotonic(), RETRY_DELAY_FIRST_S
        while batch and not self._try_store(batch):
            if time.monotonic() - began > DEAF_AFTER_S:
                self._stores_since = None
            # At the end of the hub the batch stays unacknowledged, and devices send it again.
            if self._stopping.wait(delay_s * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter
                return
            delay_s = min(2 * delay_s, self._limits.ingest_retry_delay_max_s)
        if self._stores_since is None:
            self._stores_since = time.time()

    def _try_store(self, batch: Sequence[Received]) -> bool:
        """Store the batch, or those of it that can be; False where to try again."""
        try:
            self._counters.add(self._store(batch))
        except (OperationalError, StorageError, OSError) as error:
            self._counters.count("write_failures")
            log.warning("a batch of %d cannot be written yet: %s", len(batch), error)
            return False
        except Exception:
            log.exception("a handler failed at a batch of %d", len(batch))
            self._one_by_one(batch)
        return True

    def _one_by_one(self, batch: Sequence[Received]) -> None:
        """Find the message that a handler cannot take, and store the others."""
        if len(batch) > 1:
            for received in batch:
                self._settle([received])
            return
        received = batch[0]
        self._counters.count("refused.not_storable")
        log.error(
            "%s of %s cannot be stored: %r",
            received.topic.kind.value,
            received.topic.device_id,
            received.payload[: self._limits.log_payload_bytes_max],
        )
        tombstone = stand_in(received.topic, received.payload)
        if tombstone is not None and not isinstance(received.message, Tombstone):
            self._settle([replace(received, message=tombstone)])

    def _store(self, batch: Sequence[Received]) -> Tally:
        tally: Tally = Counter()
        with self._database.transaction() as session:
            known = self._known_devices(session, {r.topic.device_id for r in batch})
            by_kind: dict[Kind, list[Received]] = {}
            for received in batch:
                if received.topic.device_id in known:
                    by_kind.setdefault(received.topic.kind, []).append(received)
                else:
                    tally["refused.unknown_device"] += 1
            for kind, handler in self._handlers.items():
                if kind in by_kind:
                    tally += handler(session, by_kind[kind])
        return tally

    def _log_refusal(self, reason: str, topic: str, payload: bytes, error: Exception) -> None:
        shown = payload[: self._limits.log_payload_bytes_max]
        log.warning("%s on %s: %s; payload begins %r", reason, topic[:200], error, shown)


class _ForeignDeviceError(DecodeError):
    """A message that names another device than its topic does."""


def _reason(error: Exception) -> str:
    if isinstance(error, TopicError):
        return "foreign_topic"
    if isinstance(error, _ForeignDeviceError):
        return "foreign_device"
    return "schema_version" if isinstance(error, SchemaVersionError) else "malformed"
