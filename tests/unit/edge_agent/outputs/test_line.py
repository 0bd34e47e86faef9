from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from edge_agent.clock import Clock
from edge_agent.errors import EdgeError
from edge_agent.outputs.line import LineSink
from edge_agent.outputs.record import record
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.outputs.stock import StockItem, stock_items
from edge_agent.rules.settings import RuleSection, ShelfSection
from tests.fixtures.seeing import DIGEST, detections, result
from tests.unit.edge_agent.rules.sections import apart, renamed, rule, shelf


@dataclass
class Kept:
    """A channel that keeps what it is offered."""

    id: str = "c1"
    detections: bool = False
    signals: list[Signal] = field(default_factory=list)

    def offer(self, signal: Signal) -> None:
        json.dumps(signal.body, allow_nan=False)
        self.signals.append(signal)

    def bodies(self, kind: SignalKind) -> list[dict[str, Any]]:
        return [s.body for s in self.signals if s.kind is kind]


@dataclass
class Hand:
    """A clock that is set by hand: Unix time runs 5000 s ahead."""

    now_s: float = 0.0

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now_s + 5000, monotonic=lambda: self.now_s)


def sink(
    *channels: Kept,
    rules: tuple[RuleSection, ...] = (),
    shelves: tuple[ShelfSection, ...] = (),
    hand: Hand | None = None,
) -> LineSink:
    return LineSink(rules, shelves, channels, (hand or Hand()).clock())


def test_a_rule_is_told_with_what_caused_it_in_the_call_that_takes_the_frame() -> None:
    channel, other = Kept(), Kept("c2")
    line = sink(channel, other, rules=(rule(),))
    tracked = replace(apart(2, index=7), track_ids=np.array([4, -1], np.int32))
    line.take(tracked)
    [fired] = channel.signals
    assert (fired.kind, fired.source, fired.camera, fired.at) == (SignalKind.RULE, "r1", "cam", 1e3)
    assert fired.active is True
    body = fired.body
    assert {k: body[k] for k in ("kind", "source", "camera", "at")} == {
        "kind": "rule",
        "source": "r1",
        "camera": "cam",
        "at": 1000.0,
    }
    assert (body["frame_id"], body["bundle_digest"]) == ("c0ffee-7", DIGEST)
    assert (body["active"], body["reason"]) == (True, "fulfilled")
    assert [d.get("track_id") for d in body["detections"]] == [4, None]
    assert body["detections"][0]["box"] == [0, 10, 4, 20]
    line.take(apart(1))
    assert len(channel.signals) == 1, "told once"
    line.take(apart(0))
    assert channel.signals[1].active is False
    assert channel.signals[1].body["reason"] == "ended"
    assert other.signals == [], "not its channel"
    assert line.counters()["signals_rule"] == 2


def test_each_camera_has_a_rule_of_its_own() -> None:
    channel = Kept()
    line = sink(channel, rules=(rule(cameras=("cam", "dom")), rule(id="r2", cameras=("x",))))
    line.take(apart(1))
    line.take(replace(apart(1), camera="dom"))
    line.take(replace(apart(1), camera="elsewhere"))
    assert [(s.source, s.camera) for s in channel.signals] == [("r1", "cam"), ("r1", "dom")]


def test_frames_are_told_to_channels_that_want_them_after_what_they_caused() -> None:
    wants = Kept("c1", detections=True)
    line = sink(wants, Kept("c2"), rules=(rule(),))
    given = result(detections((0.9, 0), (0.1, 0)))
    line.take(given)
    assert [s.kind for s in wants.signals] == [SignalKind.RULE, SignalKind.DETECTIONS]
    body = wants.signals[1].body
    assert body["kind"] == "detections"
    assert body.items() >= record(given).items()
    assert len(body["detections"]) == 1


def test_a_lost_class_is_told_once_and_listed_until_it_is_back() -> None:
    channel = Kept()
    shelves = (shelf(items={"class 0": {"low": 1}, "cola": {"low": 1}}),)
    line = sink(channel, rules=(rule(classes=("class 1", "cola")),), shelves=shelves)
    line.take(apart(0))
    line.take(apart(0))
    notices = channel.bodies(SignalKind.NOTICE)
    assert [(n["event"], n["owner"], n["class"]) for n in notices] == [
        ("class_lost", "r1", "cola"),
        ("class_lost", "s1", "cola"),
    ]
    assert channel.signals[0].source == "cam"
    assert [(n.owner, n.class_name) for n in line.lost_classes()] == [
        ("r1", "cola"),
        ("s1", "cola"),
    ]
    line.take(renamed(apart(0), "cola", "class 0"))
    assert [(n.owner, n.class_name) for n in line.lost_classes()] == [("r1", "class 1")]
    line.take(apart(1, 1))
    last = [(n["event"], n["owner"], n["class"]) for n in channel.bodies(SignalKind.NOTICE)[-3:]]
    assert last == [
        ("class_found", "r1", "class 1"),
        ("class_lost", "r1", "cola"),
        ("class_lost", "s1", "cola"),
    ]


def _fill(line: LineSink, hand: Hand, count: int, seconds: int, class_id: int = 0) -> None:
    for _ in range(seconds):
        hand.now_s += 1
        line.take(apart(count, class_id, at_s=hand.now_s))
        line.tick(hand.now_s + 5000)


def test_a_shelf_is_told_at_each_change_with_all_that_it_holds() -> None:
    channel, hand = Kept(), Hand()
    quick = shelf(smooth_s=10, frames_min=3, elsewhere=("class 1",), every_s=1000)
    line = sink(channel, shelves=(quick,), hand=hand)
    _fill(line, hand, 4, 12)
    _fill(line, hand, 0, 12)
    first, *_, last = channel.bodies(SignalKind.STOCK)
    assert first["event"] == "change"
    assert first["items"] == [
        {"class": "class 0", "count": 4, "state": "IN_STOCK"},
        {"class": "class 1", "count": 0, "state": "CLEAR"},
    ]
    assert first["bundle_digest"] == DIGEST
    assert last["changes"] == [
        {"class": "class 0", "from": "IN_STOCK", "to": "OUT_OF_STOCK", "count": 0}
    ]
    signal = channel.signals[-1]
    assert stock_items(signal)[0] == StockItem("class 0", 0, "OUT_OF_STOCK")
    # The model calls the same objects by the other class: they do not belong here.
    _fill(line, hand, 1, 12, class_id=1)
    changes = channel.bodies(SignalKind.STOCK)[-1]["changes"]
    assert changes == [{"class": "class 1", "from": "CLEAR", "to": "WRONG_PLACE", "count": 1}]


def test_silence_makes_a_shelf_unknown_once_and_never_empty() -> None:
    channel, hand = Kept(), Hand()
    line = sink(channel, shelves=(shelf(smooth_s=10, frames_min=3, every_s=1000),), hand=hand)
    _fill(line, hand, 4, 12)
    for _ in range(40):
        hand.now_s += 1
        line.tick(hand.now_s + 5000)
    _known, unknown = channel.bodies(SignalKind.STOCK)
    assert (unknown["event"], unknown["changes"]) == ("sight_lost", [])
    assert unknown["items"] == [{"class": "class 0", "count": None, "state": "UNKNOWN"}]
    assert unknown["at"] == 5000 + 12 + 11
    _fill(line, hand, 4, 12)
    back = channel.bodies(SignalKind.STOCK)[2]
    assert back["changes"] == [
        {"class": "class 0", "from": "UNKNOWN", "to": "IN_STOCK", "count": 4}
    ]
    hand.now_s += 11
    line.tick(hand.now_s + 5000)
    assert channel.bodies(SignalKind.STOCK)[-1]["event"] == "sight_lost", "each silence is said"


def test_a_camera_that_comes_back_between_two_ticks_was_silent_too() -> None:
    channel, hand = Kept(), Hand()
    line = sink(channel, shelves=(shelf(smooth_s=10, frames_min=3, every_s=1000),), hand=hand)
    _fill(line, hand, 4, 12)
    hand.now_s += 100
    line.take(apart(0, at_s=hand.now_s))
    assert [b["event"] for b in channel.bodies(SignalKind.STOCK)] == ["change", "sight_lost"]


def test_the_stock_is_told_from_time_to_time_whatever_happens() -> None:
    channel, hand = Kept(), Hand()
    line = sink(channel, shelves=(shelf(every_s=5, smooth_s=100),), hand=hand)
    _fill(line, hand, 4, 12)
    feeds = channel.bodies(SignalKind.STOCK)
    assert [(f["event"], f["at"]) for f in feeds] == [("feed", 5005.0), ("feed", 5010.0)]
    assert feeds[0]["items"] == [{"class": "class 0", "count": None, "state": "UNKNOWN"}]


def test_a_class_that_the_model_lost_is_unknown_on_the_shelf() -> None:
    channel, hand = Kept(), Hand()
    line = sink(channel, shelves=(shelf(smooth_s=10, frames_min=3, every_s=1000),), hand=hand)
    _fill(line, hand, 4, 12)
    line.take(renamed(apart(0, at_s=13.0), "a", "b"))
    [_, lost] = channel.bodies(SignalKind.STOCK)
    assert lost["changes"] == [
        {"class": "class 0", "from": "IN_STOCK", "to": "UNKNOWN", "count": None}
    ]
    assert [n["owner"] for n in channel.bodies(SignalKind.NOTICE)] == ["s1"]


def test_a_channel_that_there_is_not_is_refused() -> None:
    with pytest.raises(EdgeError, match="r1 names the channel c1; there are: c2"):
        sink(Kept("c2"), rules=(rule(),))
