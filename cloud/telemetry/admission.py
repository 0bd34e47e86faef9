"""Which messages of a batch are new; their streams' cursors, loaded once and written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

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
        self._cursors: dict[tuple[str, str], Cursor] = {}
        self._at = max(received.at for received in batch)
        keys = {(r.message.device_id, r.message.epoch) for r in batch}
        self._rows = {
            (row.device_id, row.epoch): row
            for row in queries.cursors(
                session, stream, {device for device, _ in keys}, {epoch for _, epoch in keys}
            )
        }
        for key in keys:
            row = self._rows.get(key)
            ahead = () if row is None else tuple((a, b) for a, b in row.ahead)
            self._cursors[key] = Cursor(row.contiguous if row else 0, ahead)

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
        for (device_id, epoch), cursor in self._cursors.items():
            row = self._rows.get((device_id, epoch)) or StreamCursor(
                device_id=device_id, stream=self._stream, epoch=epoch, updated_at=self._at
            )
            row.contiguous, row.updated_at = cursor.contiguous, self._at
            row.ahead = [list(r) for r in cursor.ahead]
            self._session.add(row)
            ack = Ack(stream=self._stream, epoch=epoch, sequence=cursor.contiguous)
            acks.note(self._session, device_id, ack)
