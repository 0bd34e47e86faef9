"""Numbered messages of a virtual device, kept in memory until the hub has acknowledged them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from protocol.messages import Acks, Sequenced

INFLIGHT_MAX = 32
RESEND_AFTER_S = 30.0
STREAMS = ("telemetry", "events", "samples")


@dataclass
class _Stream:
    next_sequence: int = 1
    waiting: list[Sequenced] = field(default_factory=list)
    sent_up_to: int = 0
    resend_at: float = 0.0


def _due_at(stream: _Stream) -> float:
    if not stream.waiting:
        return math.inf
    may_fly = stream.waiting[:INFLIGHT_MAX]
    return stream.resend_at if may_fly[-1].sequence <= stream.sent_up_to else 0.0


class MemoryOutbox:
    """The streams of one device under one epoch (32 hexadecimal digits)."""

    def __init__(self, device_id: str, epoch: str) -> None:
        self.epoch = epoch
        self._device_id = device_id
        self._streams = {name: _Stream() for name in STREAMS}

    def append(self, stream: str, make: Callable[[dict[str, Any]], Sequenced]) -> None:
        """Keep what `make` returns, given device, epoch and the next sequence number."""
        to = self._streams[stream]
        numbered = {
            "device_id": self._device_id,
            "epoch": self.epoch,
            "sequence": to.next_sequence,
        }
        to.waiting.append(make(numbered))
        to.next_sequence += 1

    def acknowledge(self, acks: Acks) -> None:
        """Forget what the hub has stored; acknowledgements of other epochs are ignored."""
        for ack in acks.acks:
            if ack.epoch == self.epoch:
                stream = self._streams[ack.stream]
                stream.waiting = [m for m in stream.waiting if m.sequence > ack.sequence]

    def send_again(self) -> None:
        """Everything that waits is due: the connection is a new one."""
        for stream in self._streams.values():
            stream.sent_up_to = 0

    def due(self, now: float) -> list[tuple[str, Sequenced]]:
        """What may be in flight and has not been sent, or not been acknowledged for long."""
        found = []
        for name, stream in self._streams.items():
            if now >= stream.resend_at:
                stream.sent_up_to = 0
            for message in stream.waiting[:INFLIGHT_MAX]:
                if message.sequence > stream.sent_up_to:
                    stream.sent_up_to = message.sequence
                    stream.resend_at = now + RESEND_AFTER_S
                    found.append((name, message))
        return found

    def due_at(self) -> float:
        """When `due` has something to give, unless more is appended or acknowledged before."""
        return min(map(_due_at, self._streams.values()))

    @property
    def waiting(self) -> int:
        """Messages that the hub has not said to have stored."""
        return sum(len(stream.waiting) for stream in self._streams.values())

    def issued(self) -> dict[str, int]:
        """The last sequence number that was given, by stream."""
        return {name: stream.next_sequence - 1 for name, stream in self._streams.items()}
