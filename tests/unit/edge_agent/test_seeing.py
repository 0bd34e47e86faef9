from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from edge_agent import seeing
from edge_agent.clock import Clock
from edge_agent.config import parse_config
from edge_agent.observe.machine import Machine
from edge_agent.outputs.channels import Site, channels
from edge_agent.store import Store
from tests.fixtures.seeing import fake_bundle, result

TABLES: dict[str, Any] = {
    "device": {"id": "box", "data_dir": "data"},
    "hub": {"url": "http://127.0.0.1:1", "token": "abc"},
    "mqtt": {"host": "127.0.0.1"},
    "cameras": [
        {"id": name, "source": f"rtsp://127.0.0.1/{name}", "slot": "s"} for name in ("cam", "dom")
    ],
    "rules": [
        {"id": "one", "cameras": ["cam"], "channels": ["log"]},
        {"id": "all", "channels": ["log", "mes"]},
    ],
    "channels": [
        {"id": "log", "type": "mqtt", "host": "127.0.0.1"},
        {"id": "mes", "type": "webhook", "url": "http://127.0.0.1:1/x"},
    ],
}


def _built(folder: Path, clock: Clock) -> seeing.Seeing:
    return seeing.build_seeing(
        parse_config(TABLES),
        Store(folder),
        clock=clock,
        rng=Random(1),
        machine=Machine(clock.monotonic, submit=lambda _work: None),
        hearers=seeing.Hearers(lambda _: None, lambda _: None, lambda *_: None),
    )


def test_channels_are_told_which_rules_are_watched_and_which_are_blind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites: list[Site] = []

    def remembered(sections: Any, site: Site, rng: Any) -> Any:
        sites.append(site)
        return channels(sections, site, rng)

    monkeypatch.setattr(seeing, "channels", remembered)
    clock = Clock()
    built = _built(tmp_path, clock)
    [site] = sites
    assert site.watched("log") == (("one", "cam"), ("all", "cam"), ("all", "dom"))
    assert site.watched("mes") == (("all", "cam"), ("all", "dom"))
    assert site.silent("one", 3600.0), "before the first result"
    built.figures.take(result(at_s=clock.monotonic()))
    assert (site.silent("one", 3600.0), site.silent("all", 3600.0)) == (False, True)
    built.figures.take(result(at_s=clock.monotonic() - 7200.0))
    assert site.silent("one", 3600.0), "the last is long ago"
    assert built.channel_problems() == {}


def test_frames_are_charged_to_what_serves_in_the_slot_of_their_camera(tmp_path: Path) -> None:
    built = _built(tmp_path, Clock())
    built.slots["s"].exchange(fake_bundle("b" * 64))
    built.ledger.captured("dom")
    assert [(s.slot, s.digest, s.captured) for s in built.ledger.shares("dom")] == [
        ("s", "b" * 64, 1)
    ]
