"""Signals on a real Mosquitto: topics, retained states, the will, outages, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.integration.brokers import RunningBroker, mosquitto
from tests.integration.outputs.lines import DEVICE, line
from tests.integration.outputs.listener import listening
from tests.unit.edge_agent.outputs.line_peer import detections, offered, rule, stock, wait_until

pytestmark = pytest.mark.integration

BASE = f"argosy-line/{DEVICE}"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with mosquitto(tmp_path) as broker:
        yield broker


def settings(broker: RunningBroker, **changes: Any) -> dict[str, Any]:
    return {"type": "mqtt", "host": broker.host, "port": broker.port} | changes


def test_each_kind_has_its_topic_and_states_are_retained(
    broker: RunningBroker, tmp_path: Path
) -> None:
    told = (rule("red", True), stock("shelf", [("cola", 3, "IN_STOCK")]), detections())
    with line(tmp_path, **settings(broker, detections=True)) as channel:
        for signal_ in told:
            channel.offer(signal_)
        wait_until(lambda: channel.counters()["sent"] == 3, "all told")
        with listening(broker, "#") as late:
            wait_until(lambda: len(late.heard) == 3, "what is retained")
            assert {h.topic: json.loads(h.payload) for h in late.heard} == {
                f"{BASE}/rule/red/cam": told[0].body,
                f"{BASE}/stock/shelf": told[1].body,
                f"{BASE}/status": {"status": "online"},
            }
    with listening(broker, f"{BASE}/status") as after:
        wait_until(lambda: after.heard, "the status")
        assert json.loads(after.heard[0].payload) == {"status": "offline"}


def test_a_state_of_an_earlier_life_does_not_outlive_it(
    broker: RunningBroker, tmp_path: Path
) -> None:
    site = {"watched": lambda _channel: (("red", "cam"), ("red", "dead"), ("blue", "cam"))}
    topics = {f"{BASE}/rule/{name}" for name in ("red/cam", "red/dead", "blue/cam")}
    with listening(broker, "#") as earlier:
        for topic in topics:
            publish(broker, topic, '{"active": true}')
        wait_until(lambda: len(earlier.heard) == 3, "what was retained")
    with line(tmp_path, site=site, **settings(broker)) as channel:
        channel.offer(rule("red", True))
        wait_until(lambda: channel.counters()["sent"] == 1, "the state")
        with listening(broker, f"{BASE}/rule/#") as late:
            wait_until(lambda: len(late.heard) == 3, "what is retained")
            told = {h.topic: json.loads(h.payload) for h in late.heard}
    assert told.keys() == topics
    assert told[f"{BASE}/rule/red/cam"]["active"] is True
    dead = told[f"{BASE}/rule/red/dead"]
    assert (dead["kind"], dead["source"], dead["camera"]) == ("rule", "red", "dead")
    assert (dead["active"], dead["reason"]) == (None, "no_frame_yet")
    with listening(broker, f"{BASE}/#") as after:
        wait_until(lambda: len(after.heard) == 4, "what is left")
        left = {h.topic: json.loads(h.payload) for h in after.heard}
    assert left.pop(f"{BASE}/status") == {"status": "offline"}
    assert {(b["active"], b["reason"]) for b in left.values()} == {(None, "stopped")}


def publish(broker: RunningBroker, topic: str, text: str) -> None:
    """Retained, by another client."""
    where = ["-h", broker.host, "-p", str(broker.port)]
    subprocess.run(["mosquitto_pub", *where, "-q", "1", "-r", "-t", topic, "-m", text], check=True)


def test_a_broker_that_comes_back_empty_gets_the_states_again(
    broker: RunningBroker, tmp_path: Path
) -> None:
    with line(tmp_path, **settings(broker)) as channel:
        channel.offer(rule("red", True))
        wait_until(lambda: channel.counters()["sent"] == 1, "the first")
        broker.stop()
        channel.offer(rule("blue", True))
        channel.offer(rule("blue", False))
        broker.start()
        with listening(broker, f"{BASE}/rule/#") as listener:
            wait_until(lambda: listener.latest(f"{BASE}/rule/red/cam"), "red again")
            wait_until(lambda: listener.latest(f"{BASE}/rule/blue/cam"), "blue")
            assert json.loads(listener.latest(f"{BASE}/rule/blue/cam") or b"")["active"] is False
        assert offered(channel) == 3


def test_a_broker_that_refuses_is_told_nothing_and_holds_nothing_up(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "line", "right"], check=True)
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    with mosquitto(tmp_path, password_file=passwords) as broker:
        keys = settings(broker, username="line", password_file=secret, queue_max=5)
        with line(tmp_path, **keys) as channel:
            for number in range(100):
                channel.offer(rule("red", number % 2 == 0))
            assert channel.counters()["sent"] == 0
            secret.write_text("right\n")
            wait_until(lambda: channel.counters()["sent"], "the right password")
            assert offered(channel) == 100


CHILD = """
import sys, time
from pathlib import Path
from tests.integration.outputs.lines import line
from tests.unit.edge_agent.outputs.line_peer import rule
with line(Path(sys.argv[1]), type="mqtt", host="127.0.0.1", port=int(sys.argv[2])) as channel:
    channel.offer(rule("red", True))
    time.sleep(600)
"""


def test_a_killed_agent_is_seen_offline(broker: RunningBroker, tmp_path: Path) -> None:
    with listening(broker, f"{BASE}/#") as listener:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(broker.port)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        try:
            wait_until(lambda: listener.latest(f"{BASE}/rule/red/cam"), "its rule")
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(10)
        wait_until(lambda: b"offline" in (listener.latest(f"{BASE}/status") or b""), "the will")
