"""What is accounted for in the place of a message that cannot be taken. Pure.

A device keeps what is numbered until that is acknowledged, and sends only so many beyond the first
that is not: one message that is refused for good would hold back all later ones of its stream.
"""

from __future__ import annotations

import json

from protocol.messages import MESSAGE_BYTES_MAX, Tombstone
from protocol.topics import Kind, Topic

_NUMBERED = (Kind.TELEMETRY, Kind.EVENTS, Kind.SAMPLES)


def stand_in(topic: Topic, payload: bytes) -> Tombstone | None:
    """A tombstone of the message's own number; None where it has none, or is another device's."""
    if topic.kind not in _NUMBERED or len(payload) > MESSAGE_BYTES_MAX:
        return None
    try:
        said = json.loads(payload)
        if said["device_id"] != topic.device_id:
            return None
        number = {"epoch": said["epoch"], "sequence": said["sequence"]}
        own = {**number, "first_sequence": said["sequence"], "device_id": topic.device_id}
        return Tombstone.model_validate({**own, "evicted_bytes": 0}, strict=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
