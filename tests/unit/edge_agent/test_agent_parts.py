"""The small parts between the agent's thread and the rest."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from edge_agent.agent import Agent
from edge_agent.clock import Clock
from edge_agent.config import parse_config
from edge_agent.inbox import Inbox
from edge_agent.journal import CameraChanged, Journal
from edge_agent.link.mqtt import proxy_arguments
from edge_agent.link.outbox import Outbox, Quota
from edge_agent.report import (
    COUNTERS_MAX,
    ReportedState,
    ReportTimer,
    merge_counters,
    slot_reported,
)
from edge_agent.status import read_status
from edge_agent.store import StoreError
from edge_agent.worker import Worker
from tests.fixtures.seeing import eventually


def test_the_inbox_bounds_what_is_offered_and_never_what_is_put() -> None:
    inbox = Inbox(2)
    assert inbox.offer("a", 0.01) and inbox.offer("b", 0.01)
    assert not inbox.offer("c", 0.01)
    inbox.put("own")
    assert inbox.get(0.01) == "a"
    assert inbox.offer("d", 0.01)
    assert [inbox.get(0) for _ in range(4)] == ["b", "own", "d", None]


def test_a_waiting_offer_goes_on_when_there_is_room() -> None:
    inbox = Inbox(1)
    inbox.offer("first", 0.0)
    took: list[bool] = []
    thread = threading.Thread(target=lambda: took.append(inbox.offer("second", 30)))
    thread.start()
    assert inbox.get(1) == "first"
    thread.join(30)
    assert took == [True]


def test_a_worker_goes_on_after_a_job_that_failed() -> None:
    worker, done = Worker("test"), threading.Event()

    def fail() -> None:
        raise RuntimeError("no")

    worker.submit(fail)
    worker.submit(done.set)
    assert done.wait(30)


def test_reports_come_every_so_often_and_soon_after_a_change() -> None:
    timer = ReportTimer(30.0)
    assert timer.due(100.0)
    assert not timer.due(129.9)
    timer.request(110.0, 0.25)
    timer.request(110.1, 0.25)
    assert not timer.due(110.2)
    assert timer.due(110.25)
    assert not timer.due(110.5)
    timer.postpone(120.0, 5.0)
    assert not timer.due(124.9)
    assert timer.due(125.0)


def test_counters_are_added_and_bounded() -> None:
    merged = merge_counters([{"a": 1}, Counter(a=2, b=1), {f"n{i}": 1 for i in range(400)}])
    assert merged["a"] == 3
    assert len(merged) == COUNTERS_MAX


def test_an_empty_slot_runs_nothing() -> None:
    assert slot_reported(None, None).running_digest is None


@pytest.mark.parametrize(
    ("url", "kind", "host", "port"),
    [("http://p.example:3128", 3, "p.example", 3128), ("socks5://u:w@h:1080", 2, "h", 1080)],
)
def test_proxies_are_told_to_paho(url: str, kind: int, host: str, port: int) -> None:
    arguments = proxy_arguments(url)
    assert (arguments["proxy_type"], arguments["proxy_addr"]) == (kind, host)
    assert arguments["proxy_port"] == port
    assert arguments["proxy_rdns"] is True


def config(folder: Any, **sections: Any) -> Any:
    (folder / "images").mkdir()
    return parse_config(
        {
            "device": {"id": "d", "data_dir": str(folder / "data")},
            "hub": {"url": "http://127.0.0.1:9", "token": "t"},
            "mqtt": {"host": "127.0.0.1", "port": 9},
            "cameras": [{"id": "cam", "source": str(folder / "images"), "slot": "s"}],
            "local": {"port": 0},
            **sections,
        }
    )


def test_an_agent_without_anything_starts_tells_its_status_and_stops(tmp_path: Any) -> None:
    settings = config(tmp_path)
    agent = Agent(settings, Clock(), Random(1))
    with pytest.raises(StoreError, match="another agent"):
        Agent(settings, Clock(), Random(1))
    thread = threading.Thread(target=agent.run)
    thread.start()
    deadline = time.monotonic() + 30
    while read_status(settings, time.time())["counters"] is None and time.monotonic() < deadline:
        time.sleep(0.05)
    found = read_status(settings, time.time())
    assert found["agent_running"] is True
    assert {what for what, value in found["slots"]["s"].items() if value} <= {"seen"}
    stopping = time.monotonic()
    agent.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert time.monotonic() - stopping < 10
    left = read_status(settings, time.time())
    assert left["agent_running"] is False
    assert (left["cameras"]["cam"]["state"], left["cameras"]["cam"]["fps"]) == (None, None)
    assert left["cameras"]["cam"]["last_known"]["reported_at"] == left["reported_at"]


def test_a_camera_that_stays_away_is_logged_once(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = {"reconnect_first_s": 0.01, "reconnect_cap_s": 0.02}
    agent = Agent(config(tmp_path, capture=often), Clock(), Random(1))
    told: list[CameraChanged] = []
    monkeypatch.setattr(Journal, "camera", lambda _journal, changed: told.append(changed))
    thread = threading.Thread(target=agent.run)
    with capture_logs() as logs:
        thread.start()
        eventually(lambda: len(told) >= 6, "three tries")
        agent.stop()
        thread.join(30)
    logged = [entry for entry in logs if entry["event"] == "camera_changed"]
    assert [entry["state"] for entry in logged] == ["BACKING_OFF"]
    assert "holds no image" in logged[0]["why"]


def test_a_file_that_is_named_in_another_encoding_ends_nothing(tmp_path: Path) -> None:
    settings = config(tmp_path, limits={"reported_every_s": 0.5})
    (tmp_path / "images" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"this is no image")
    agent = Agent(settings, Clock(), Random(1))
    thread = threading.Thread(target=agent.run)
    thread.start()

    def told() -> bool:
        reported = agent._store.load("reported", ReportedState)
        return reported is not None and "\\udce9" in reported.reported.cameras["cam"].detail

    eventually(told, "the report has its name")
    assert thread.is_alive()
    agent.stop()
    thread.join(30)
    kept = Outbox(tmp_path / "data" / "outbox", "d", Quota(10**9, 10**9))
    assert any(b"udce9" in entry.payload for entry in kept.after("events", 0, 100))
    kept.close()
