"""Acknowledgements of a transaction: gathered while storing, sent after the commit.

All streams of one device go into one message.
"""

from __future__ import annotations

from sqlmodel import Session

from cloud.database import Publisher, after_commit, publisher_of
from protocol.messages import Ack, Acks, encode
from protocol.topics import Kind, Topic

_NOTED = "acks"
STREAMS_MAX = 64


def note(session: Session, device_id: str, ack: Ack) -> None:
    """Promise `ack`; a later one of the same stream and epoch replaces it."""
    noted: dict[str, dict[tuple[str, str], Ack]] | None = session.info.get(_NOTED)
    if noted is None:
        noted = session.info[_NOTED] = {}
        publisher = publisher_of(session)
        if publisher is not None:
            after_commit(session, lambda: _send(publisher, noted))
    noted.setdefault(device_id, {})[ack.stream, ack.epoch] = ack


def _send(publisher: Publisher, noted: dict[str, dict[tuple[str, str], Ack]]) -> None:
    for device_id, by_stream in noted.items():
        acks = list(by_stream.values())
        for start in range(0, len(acks), STREAMS_MAX):
            part = tuple(acks[start : start + STREAMS_MAX])
            payload = encode(Acks(device_id=device_id, acks=part))
            publisher.publish(Topic(Kind.ACKS, device_id=device_id), payload)
