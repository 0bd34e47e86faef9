"""Two downloads that want the same blob: neither takes it from the other."""

from __future__ import annotations

from random import Random

from edge_agent.clock import Clock
from edge_agent.config import Limits, MqttSection
from edge_agent.link.mqtt import MqttLink

SHA = "c" * 64


class Subscriptions:
    """A session that only remembers what it listens to."""

    def __init__(self) -> None:
        self.heard: set[str] = set()

    def is_connected(self) -> bool:
        return True

    def subscribe(self, topic: str, _qos: int) -> None:
        self.heard.add(topic)

    def unsubscribe(self, topic: str) -> None:
        self.heard.discard(topic)


def test_a_blob_is_heard_until_the_last_who_wants_it_has_let_it_go() -> None:
    link = MqttLink(
        "line-1",
        "b" * 32,
        MqttSection(host="127.0.0.1"),
        Limits(),
        deliver=lambda _item, _timeout_s: True,
        next_epoch=lambda: 1,
        clock=Clock(),
        rng=Random(1),
    )
    session = Subscriptions()
    link._client = session  # type: ignore[assignment]
    link.want_blob(SHA)
    link.want_blob(SHA)
    assert len(session.heard) == 1
    link.unwant_blob(SHA)
    assert session.heard, "the other download still wants it"
    link.unwant_blob(SHA)
    assert not session.heard
    link.want_blob(SHA)
    assert session.heard
