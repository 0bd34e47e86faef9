"""The device as a Sparkplug B edge node on the line's broker.

Each connection is a session with the next `bdSeq`, which the will and the birth carry alike;
the number is on the disk before it is used, so that the death of an earlier life is never
taken for that of the present one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import OutputError
from edge_agent.outputs.mqtt import BrokerSession
from edge_agent.outputs.settings import SparkplugSection
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.outputs.sparkplug_node import REBIRTH, EdgeNode, Message, death
from edge_agent.outputs.sparkplug_payload import asks_for
from edge_agent.outputs.writer import Writer, attempt_all
from edge_agent.store import StateFile, Store

NAMESPACE = "spBv1.0"
BD_SEQUENCES = 256
UNUSED = -1

log = structlog.get_logger(__name__)


class SessionNumber(StateFile):
    """The last session's number."""

    version: int = 1
    bd_seq: int = BD_SEQUENCES - 1


class SparkplugWriter(Writer):
    """Writer `sparkplug`."""

    takes = frozenset(SignalKind)
    holds = frozenset({SignalKind.RULE, SignalKind.STOCK})

    def __init__(
        self, section: SparkplugSection, device_id: str, store: Store, clock: Clock
    ) -> None:
        self._section, self._store, self._clock = section, store, clock
        self._node = EdgeNode(device_id)
        self._session = BrokerSession(section, f"{device_id}-{section.id}")
        self._bd_seq = UNUSED
        self._wake: Callable[[], None] = lambda: None
        self._rebirth_wanted = False
        self._rates_at = 0.0
        self._rated_at = 0.0

    def open(self, wake: Callable[[], None]) -> None:
        self._wake, self._rebirth_wanted = wake, False
        self._rated_at = self._clock.monotonic()
        self._rates_at = self._rated_at + self._section.rate_every_s
        self._bd_seq = self._next_bd_seq()
        self._session.connect(
            (self._topic("NDEATH"), self._death(), False),
            wake,
            self._on_command,
        )
        self._session.subscribe(self._topic("NCMD"))

    def restore(self, states: Sequence[Signal]) -> None:
        """The births, also where a state cannot be read."""
        absorbing = [lambda state=state: self._node.absorb(state) for state in states]
        attempt_all([*absorbing, self._births])

    def write(self, signal: Signal) -> None:
        self._publish(self._node.tell(signal, self._now_ms()))

    def tick(self) -> float | None:
        self._session.check()
        if self._rebirth_wanted:
            self._rebirth_wanted = False
            self._births()
        now_s, every_s = self._clock.monotonic(), self._section.rate_every_s
        if now_s >= self._rates_at:
            elapsed_s = now_s - self._rated_at
            self._rated_at, self._rates_at = now_s, now_s + every_s
            now_ms = self._now_ms()
            self._publish(self._node.rates(elapsed_s, now_ms))
            self._publish(self._node.silences(self._section.silent_after_s, now_ms))
        return self._rates_at - now_s

    def leave(self) -> None:
        """A goodbye discards the will, so the death certificate is published by hand."""
        self._session.publish(self._topic("NDEATH"), self._death(), 1)

    def close(self) -> None:
        self._session.close()

    def _death(self) -> bytes:
        return death(self._bd_seq, self._now_ms())

    def _births(self) -> None:
        self._publish(self._node.births(self._bd_seq, self._now_ms()))

    def _publish(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._session.publish(self._topic(message.verb, message.camera), message.payload, 0)

    def _topic(self, verb: str, camera: str | None = None) -> str:
        topic = f"{NAMESPACE}/{self._section.group}/{verb}/{self._section.edge_node}"
        return topic if camera is None else f"{topic}/{camera}"

    def _on_command(self, _topic: str, payload: bytes) -> None:
        """On the client's thread: leave the answer to the channel's."""
        try:
            wanted = asks_for(payload, REBIRTH)
        except OutputError as error:
            log.warning("sparkplug_command_refused", reason=str(error))
            return
        if wanted:
            self._rebirth_wanted = True
            self._wake()

    def _next_bd_seq(self) -> int:
        """A full disk must not silence the line: the number then counts on in memory alone."""
        name = f"sparkplug-{self._section.id}"
        last = self._bd_seq
        if last == UNUSED:
            last = (self._store.load(name, SessionNumber) or SessionNumber()).bd_seq
        following = SessionNumber(bd_seq=(last + 1) % BD_SEQUENCES)
        try:
            self._store.save(name, following)
        except OSError as error:
            log.warning("sparkplug_number_not_kept", reason=str(error))
        return following.bd_seq

    def _now_ms(self) -> int:
        return int(self._clock.wall() * 1000)
