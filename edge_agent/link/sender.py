"""Moves the outbox's entries to the hub: in order, a few in flight, again when needed.

An image goes before its sample's report: by HTTP, and where HTTP is closed as MQTT chunks.
Everything here runs on the agent's thread but for the upload itself, which runs on
`uploads` and comes back through `uploaded`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from edge_agent.link.flight import Flight
from edge_agent.link.http import HttpError
from edge_agent.link.outbox import STREAMS, Entry, Outbox, OutboxError
from edge_agent.link.outbox_file import KINDS
from protocol.chunks import CHUNK_BYTES
from protocol.messages import Ack, Acks, Tombstone, encode
from protocol.topics import Kind, Topic

REFUSED_STATUSES = frozenset({400, 413, 415, 422})
"""Answers that speak of the image itself: it would be refused by any way."""

log = structlog.get_logger(__name__)


class Publisher(Protocol):
    """What the sender needs of the link."""

    @property
    def connected(self) -> bool: ...

    def publish(self, topic: Topic, payload: bytes, *, retain: bool = False) -> bool: ...


@dataclass(frozen=True)
class Uploaded:
    """An image is at the hub (error None), or HTTP did not take it.

    `refused` means that the hub looked at the image and will never take it.
    """

    sequence: int
    sha256: str
    error: str | None = None
    refused: bool = False


class Sender:
    """Keeps each stream's flight full while the link is up."""

    def __init__(
        self,
        device_id: str,
        outbox: Outbox,
        link: Publisher,
        *,
        put_image: Callable[[str, bytes], None],
        submit: Callable[[Callable[[], None]], None],
        deliver: Callable[[Uploaded], object],
        inflight_max: int,
        resend_after_s: float,
        http_retry_s: float,
    ) -> None:
        """`put_image` raises HttpError where HTTP does not take the image."""
        self._device_id, self._outbox, self._link = device_id, outbox, link
        self._put_image, self._submit, self._deliver = put_image, submit, deliver
        self._inflight_max, self._resend_after_s = inflight_max, resend_after_s
        self._http_retry_s = http_retry_s
        self._http_closed_until = 0.0
        self._epoch = ""
        self._flights: dict[str, Flight] = {}
        self._uploading: str | None = None
        self._delivered: set[str] = set()
        self.counters: Counter[str] = Counter()

    def rewind(self) -> None:
        """The session is a new one: everything unacknowledged goes again."""
        self._flights = {s: flight.rewind() for s, flight in self._flights.items()}
        self._delivered.clear()

    def acknowledge(self, acks: Acks, now: float) -> None:
        """The hub has stored what these say; forget it here."""
        for ack in acks.acks:
            with suppress(OutboxError):  # it is acknowledged again when it was sent again
                self._acknowledge(ack, now)

    def _acknowledge(self, ack: Ack, now: float) -> None:
        self._follow_epoch()
        if self._outbox.acknowledge(ack.stream, ack.epoch, ack.sequence):
            flight = self._flights[ack.stream]
            self._flights[ack.stream] = flight.acknowledge(ack.sequence, now)
        elif ack.epoch != self._outbox.epoch:
            return
        elif self._outbox.was_given(ack.stream, ack.sequence):
            self._fill_hole(ack)
        elif self._outbox.begin_anew():
            log.warning("epoch_renewed", reason="the hub has numbers never given here")
            self.counters["epochs_renewed"] += 1

    def _follow_epoch(self) -> None:
        """Another epoch has numbers of its own, of which nothing is on its way yet."""
        epoch = self._outbox.epoch
        if epoch != self._epoch:
            self._flights = {s: Flight(acked=self._outbox.acked(s)) for s in STREAMS}
            self._delivered.clear()
            self._uploading = None
            self._epoch = epoch

    def _fill_hole(self, ack: Ack) -> None:
        """A hub that was restored misses what it had acknowledged: it will not come again."""
        acked = self._outbox.acked(ack.stream)
        if ack.sequence < acked:
            self.counters["holes_told"] += 1
            hole = Tombstone(
                device_id=self._device_id,
                epoch=ack.epoch,
                first_sequence=ack.sequence + 1,
                sequence=acked,
                evicted_bytes=0,
            )
            self._link.publish(Topic(KINDS[ack.stream], self._device_id), encode(hole))

    def pump(self, now: float) -> None:
        """Send what may be sent. Called often; cheap when there is nothing to do.

        What cannot be read now is tried again at the next call; the other streams go on.
        """
        if not self._link.connected:
            return
        for stream in STREAMS:
            with suppress(OutboxError):  # logged and counted where it was read
                self._pump(stream, now)

    def _pump(self, stream: str, now: float) -> None:
        self._follow_epoch()
        if self._flights[stream].overdue(now, self._resend_after_s):
            self.counters["outbox_resends"] += 1
            self._flights[stream] = self._flights[stream].rewind()
            self._delivered.clear()
        self._fill(stream, now)

    def uploaded(self, outcome: Uploaded, now: float) -> None:
        """An upload ended: the report may go, with the image's chunks where HTTP failed."""
        current, self._uploading = self._uploading == outcome.sha256, None
        if outcome.error is None:
            self.counters["images_by_http"] += 1
            self._delivered.add(outcome.sha256)
        elif outcome.refused:
            self.counters["images_refused"] += 1
            with suppress(OutboxError):
                if current:  # the number may be another entry's in a new epoch
                    self._outbox.abandon("samples", outcome.sequence, outcome.error)
        else:
            log.warning("image_upload_failed", reason=outcome.error, remedy="sending by MQTT")
            self._http_closed_until = now + self._http_retry_s
        self.pump(now)

    def _fill(self, stream: str, now: float) -> None:
        flight = self._flights[stream]
        room = flight.room(self._inflight_max)
        if room == 0:
            return
        for entry in self._outbox.after(stream, flight.sent, room):
            if not self._image_delivered(entry, now):
                return
            topic = Topic(KINDS[stream], self._device_id)
            if not self._link.publish(topic, entry.payload):
                return
            self._flights[stream] = self._flights[stream].send(entry.sequence, now)
            self._delivered.discard(entry.image_sha256 or "")

    def _image_delivered(self, entry: Entry, now: float) -> bool:
        """Whether the entry may go now; an upload is started where it needs one."""
        sha256 = entry.image_sha256
        if sha256 is None or sha256 in self._delivered:
            return True
        if self._uploading is not None:
            return False
        try:
            image = self._outbox.image(sha256)
        except OutboxError as error:
            self._outbox.abandon(entry.stream, entry.sequence, str(error))
            return False
        if now < self._http_closed_until:
            return self._publish_chunks(sha256, image)
        self._uploading = sha256
        self._submit(lambda: self._upload(entry.sequence, sha256, image))
        return False

    def _upload(self, sequence: int, sha256: str, image: bytes) -> None:
        try:
            self._put_image(sha256, image)
        except HttpError as error:
            refused = error.status in REFUSED_STATUSES
            self._deliver(Uploaded(sequence, sha256, str(error), refused))
        else:
            self._deliver(Uploaded(sequence, sha256))

    def _publish_chunks(self, sha256: str, image: bytes) -> bool:
        for index, start in enumerate(range(0, len(image), CHUNK_BYTES)):
            topic = Topic(Kind.SAMPLE_CHUNK, self._device_id, sha256=sha256, index=index)
            if not self._link.publish(topic, image[start : start + CHUNK_BYTES]):
                return False
        self.counters["images_by_mqtt"] += 1
        self._delivered.add(sha256)
        return True
