"""Which messages of a batch are new; their streams' cursors, loaded once and written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session

from cloud.inbound import Received
from cloud.telemetry import acks, queries
from cloud.telemetry.models import StreamCursor
from cloud.telemetry.sequences import Cursor, Verdict, accept
from protocol.messages import Ack, Sequenced, Tombstone

Stream = Literal["telemetry", "events", "samples"]


class Admission:
    """The cursors of one stream's batch, all messages being of enrolled devices."""

    def __init__(
        self, session: Session, stream: Stream, batch: Sequence[Received], ranges_max: int
    ) -> None:
        self._session = session
        self._stream = stream
        self._ranges_max = ranges_max
        self._at = max(received.at for received in batch)
        keys = {(r.message.device_id, r.message.epoch) for r in batch}
        known = queries.cursors(session, stream, {device for device, _ in keys})
        self._cursors = dict.fromkeys(keys, Cursor())
        for device_id, epoch, contiguous, ahead in known:
            if (device_id, epoch) in keys:
                ranges = tuple((first, last) for first, last in ahead)
                self._cursors[device_id, epoch] = Cursor(contiguous, ranges)

    def admit(self, message: Sequenced) -> Verdict:
        """Account for the message; only what is FRESH may be stored."""
        key = (message.device_id, message.epoch)
        first = message.first_sequence if isinstance(message, Tombstone) else message.sequence
        self._cursors[key], verdict = accept(
            self._cursors[key], first, message.sequence, ranges_max=self._ranges_max
        )
        return verdict

    def has(self, message: Sequenced) -> bool:
        """Whether the message has been accounted for already."""
        cursor = self._cursors[message.device_id, message.epoch]
        _, verdict = accept(cursor, message.sequence, message.sequence, ranges_max=self._ranges_max)
        return verdict is Verdict.DUPLICATE

    def close(self) -> None:
        """Write the cursors and promise the acknowledgements."""
        rows = [
            {
                "device_id": device_id,
                "stream": self._stream,
                "epoch": epoch,
                "contiguous": cursor.contiguous,
                "ahead": cursor.ahead,
                "updated_at": self._at,
            }
            for (device_id, epoch), cursor in self._cursors.items()
        ]
        statement = insert(StreamCursor)
        changed = {n: statement.excluded[n] for n in ("contiguous", "ahead", "updated_at")}
        self._session.connection().execute(
            statement.on_conflict_do_update(
                index_elements=["device_id", "stream", "epoch"], set_=changed
            ),
            rows,
        )
        for (device_id, epoch), cursor in self._cursors.items():
            ack = Ack(stream=self._stream, epoch=epoch, sequence=cursor.contiguous)
            acks.note(self._session, device_id, ack)
