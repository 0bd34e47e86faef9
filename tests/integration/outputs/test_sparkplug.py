"""A Sparkplug session on a real Mosquitto, read by a decoder that is not ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.outputs.signals import Signal, SignalKind
from tests.conftest import ROOT
from tests.integration.brokers import RunningBroker, mosquitto
from tests.integration.outputs.lines import line
from tests.integration.outputs.listener import Listener, listening
from tests.integration.outputs.sparkplug_host import (
    GROUP,
    NODE,
    Certificate,
    check_session,
    command,
    decode,
)
from tests.unit.edge_agent.outputs.line_peer import detections, rule, stock, wait_until

pytest.importorskip("esio_spb_builder", reason="the decoder esio-spb-builder is not installed")
pytestmark = pytest.mark.integration


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def host(broker: RunningBroker) -> Iterator[Listener]:
    with listening(broker, f"spBv1.0/{GROUP}/#") as listener:
        yield listener


UNREADABLE = Signal(SignalKind.STOCK, "shelf", "cam", 1.0, None, {"items": 7})


def settings(broker: RunningBroker, **changes: Any) -> dict[str, Any]:
    keys = {"type": "sparkplug", "host": broker.host, "port": broker.port}
    return keys | {"group": GROUP, "edge_node": NODE} | changes


def certificates(host: Listener) -> list[Certificate]:
    return [decode(h) for h in tuple(host.heard) if "/NCMD/" not in h.topic]


def verbs(host: Listener) -> list[str]:
    return [c.verb for c in certificates(host)]


def wait_for(host: Listener, verb: str, count: int) -> None:
    wait_until(lambda: verbs(host).count(verb) == count, f"{verb} number {count}")


def test_a_session_from_birth_to_death(
    broker: RunningBroker, host: Listener, tmp_path: Path
) -> None:
    with line(tmp_path, **settings(broker, rate_every_s=0.1)) as channel:
        wait_until(lambda: verbs(host), "the node's birth")
        for told in (
            detections(),
            rule("red", True),
            detections(at=1001.0),
            rule("red", False, at=1002.0),
            stock("shelf", [("cola", 3, "IN_STOCK"), ("tea", None, "UNKNOWN")]),
        ):
            channel.offer(told)
        wait_until(lambda: "NDATA" in verbs(host), "a frame rate")
        for at in range(2000, 2300):
            channel.offer(rule("red", at % 2 == 0, at=float(at)))
        wait_until(lambda: channel.counters()["waiting"] == 0, "all told")
    wait_until(lambda: "NDEATH" in verbs(host), "the death")
    found = certificates(host)
    check_session(found)
    births = [c for c in found if c.verb in {"NBIRTH", "DBIRTH"}]
    assert births[0].metrics | {"frame_rate": None} == {
        "bdSeq": 0,
        "Node Control/Rebirth": False,
        "device": "device-1",
        "frame_rate": None,
    }
    whole = {
        "model/name": "tiny",
        "model/version": 1,
        "model/digest": "a" * 64,
        "rules/red": False,
        "shelves/shelf/cola/count": 3,
        "shelves/shelf/cola/state": "IN_STOCK",
        "shelves/shelf/tea/count": None,
        "shelves/shelf/tea/state": "UNKNOWN",
    }
    assert {k: v for k, v in births[-1].metrics.items() if k in whole} == whole
    # Frame rates, told on a timer, may stand between the rule's states and after them.
    reds = [c.metrics["rules/red"] for c in found if "rules/red" in c.metrics]
    assert reds[-1] is False
    assert found[-1] == Certificate("NDEATH", None, None, {"bdSeq": 0})
    assert max(c.seq or 0 for c in found) == 255, "the numbers wrapped"


def test_another_model_and_another_class_are_another_birth(
    broker: RunningBroker, host: Listener, tmp_path: Path
) -> None:
    with line(tmp_path, **settings(broker)) as channel:
        wait_until(lambda: verbs(host), "the node's birth")
        channel.offer(detections())
        channel.offer(stock("shelf", [("cola", 3, "IN_STOCK")]))
        channel.offer(stock("shelf", [("cola", 2, "LOW_STOCK")]))
        channel.offer(detections(version=2, bundle_digest="b" * 64))
        channel.offer(stock("shelf", [("tea", 1, "LOW_STOCK")]))
        wait_until(lambda: channel.counters()["sent"] == 5, "all told")
        wait_until(lambda: verbs(host).count("DBIRTH") == 4, "the births")
    found = certificates(host)
    check_session(found)
    assert [c.verb for c in found[:6]] == [
        "NBIRTH",
        "DBIRTH",
        "DBIRTH",
        "DDATA",
        "DBIRTH",
        "DBIRTH",
    ]
    last = found[5].metrics
    assert last["model/version"] == 2
    assert "shelves/shelf/cola/count" not in last, "a class that the shelf no longer tells of"
    assert last["shelves/shelf/tea/count"] == 1


def test_a_rebirth_is_answered_within_the_session(
    broker: RunningBroker, host: Listener, tmp_path: Path
) -> None:
    topic = f"spBv1.0/{GROUP}/NCMD/{NODE}"
    with line(tmp_path, **settings(broker)) as channel:
        wait_until(lambda: verbs(host), "the node's birth")
        channel.offer(detections())
        channel.offer(rule("red", True))
        wait_until(lambda: len(verbs(host)) == 3, "the first births")
        for hostile in (b"", b"\xff" * 100, b"x" * 70_000, command("Node Control/Reboot")):
            host.publish(topic, hostile)
        host.publish(topic, command("Node Control/Rebirth"))
        wait_until(lambda: len(verbs(host)) == 5, "the births again")
        channel.offer(rule("red", False))
        wait_until(lambda: len(verbs(host)) == 6, "data after them")
        assert channel.counters()["connections"] == 1
    found = certificates(host)
    check_session(found)
    assert [c.verb for c in found[3:6]] == ["NBIRTH", "DBIRTH", "DDATA"]
    assert found[3].metrics["bdSeq"] == found[0].metrics["bdSeq"] == 0
    assert found[4].metrics["rules/red"] is True


def test_a_broker_that_was_away_hears_of_the_present(
    broker: RunningBroker, host: Listener, tmp_path: Path
) -> None:
    with line(tmp_path, **settings(broker)) as channel:
        wait_until(lambda: verbs(host), "the node's birth")
        channel.offer(detections())
        channel.offer(rule("red", True))
        channel.offer(UNREADABLE)
        wait_until(lambda: channel.counters()["failed"] == 1, "the refusal")
        broker.stop()
        channel.offer(rule("red", False))
        broker.start()
        wait_until(lambda: channel.counters()["waiting"] == 0, "the state told")
        with listening(broker, f"spBv1.0/{GROUP}/#") as later:
            later.publish(f"spBv1.0/{GROUP}/NCMD/{NODE}", command("Node Control/Rebirth"))
            wait_until(lambda: verbs(later)[-2:] == ["NBIRTH", "DBIRTH"], "the births")
            found = certificates(later)[-2:]
        assert found[0].metrics["bdSeq"] > 0, "another session"
        assert found[-1].metrics["rules/red"] is False


def test_a_silent_camera_dies_and_lives_again(
    broker: RunningBroker, host: Listener, tmp_path: Path
) -> None:
    keys = settings(broker, rate_every_s=0.05, silent_after_s=0.2)
    with line(tmp_path, **keys) as channel:
        channel.offer(detections())
        wait_until(lambda: "DDEATH" in verbs(host), "its death")
        channel.offer(detections())
        wait_until(lambda: verbs(host).count("DBIRTH") == 2, "its birth")
    check_session(certificates(host))


CHILD = f"""
import sys, time
from pathlib import Path
from tests.integration.outputs.lines import line
from tests.unit.edge_agent.outputs.line_peer import detections
with line(
    Path(sys.argv[1]), type="sparkplug", host="127.0.0.1", port=int(sys.argv[2]),
    group="{GROUP}", edge_node="{NODE}",
) as channel:
    channel.offer(detections())
    time.sleep(600)
"""


def test_the_will_of_a_killed_agent_names_its_session(
    broker: RunningBroker, host: Listener, tmp_path: Path
) -> None:
    for life in (1, 2, 3):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(broker.port)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        try:
            wait_for(host, "DBIRTH", life)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(10)
        wait_for(host, "NDEATH", life)
    found = certificates(host)
    check_session(found)
    for verb in ("NBIRTH", "NDEATH"):
        assert [c.metrics["bdSeq"] for c in found if c.verb == verb] == [0, 1, 2]
