from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import Clock
from edge_agent.outputs.channel import Channel
from edge_agent.outputs.settings import ChannelSection
from edge_agent.outputs.signals import SignalKind
from tests.unit.edge_agent.outputs.line_peer import (
    LinePeer,
    detections,
    offered,
    rule,
    wait_until,
)

RULES = frozenset({SignalKind.RULE})
QUICK = {"reconnect_first_s": 0.001, "reconnect_cap_s": 0.005}


@contextmanager
def running(peer: LinePeer, start: bool = True, **changes: Any) -> Iterator[Channel]:
    section = ChannelSection.model_validate({"id": "line", **QUICK, **changes})
    channel = Channel(section, peer, clock=Clock(), rng=Random(7))
    if start:
        channel.start()
    try:
        yield channel
    finally:
        peer.passing.set()
        channel.close(5.0)
    assert not any(t.name == "channel-line" for t in threading.enumerate())


def test_signals_arrive_in_order_and_are_counted() -> None:
    peer = LinePeer()
    with running(peer) as channel:
        for number in range(100):
            channel.offer(rule(f"r{number}", True))
    assert [s.source for s in peer.told] == [f"r{n}" for n in range(100)]
    assert channel.counters()["sent"] == 100
    assert peer.left == 1, "it said goodbye"


def test_offering_never_waits_and_a_full_queue_loses_its_oldest() -> None:
    peer = LinePeer()
    peer.passing.clear()
    with running(peer, queue_max=3) as channel:
        channel.offer(rule("r0", True))
        assert peer.entered.wait(10), "the first is being written and does not end"
        for number in range(1, 8):
            channel.offer(rule(f"r{number}", True))
        assert channel.counters()["dropped_full"] == 4
    assert [s.source for s in peer.told] == ["r0", "r5", "r6", "r7"]
    assert offered(channel) == 8


def test_a_state_shows_the_present_after_an_outage() -> None:
    peer = LinePeer(RULES)
    with running(peer) as channel:
        channel.offer(rule("a", True))
        channel.offer(rule("b", True))
        wait_until(lambda: channel.counters()["sent"] == 2, "both written")
        peer.lose()
        channel.offer(rule("b", False))
        channel.offer(rule("c", True))
        channel.offer(rule("c", False))
        channel.offer(rule("c", True))
        peer.down = False
        wait_until(lambda: peer.state == {"a": True, "b": False, "c": True}, "the states")
        assert [s.source for s in peer.told].count("c") == 1, "what was in between is not told"
        assert (channel.counters()["sent"], channel.counters()["superseded"]) == (4, 2)
        assert offered(channel) == 6


def test_a_state_lost_from_a_full_queue_is_written_all_the_same() -> None:
    peer = LinePeer(RULES)
    peer.passing.clear()
    with running(peer, queue_max=2) as channel:
        channel.offer(rule("first", True))
        assert peer.entered.wait(10)
        for source in ("a", "b", "c", "d"):
            channel.offer(rule(source, True))
        assert channel.counters()["dropped_full"] == 2
        peer.passing.set()
        wait_until(lambda: peer.state.keys() == {"first", "a", "b", "c", "d"}, "all states")


def test_a_short_pulse_is_seen_while_the_connection_stands() -> None:
    peer = LinePeer(RULES)
    peer.passing.clear()
    with running(peer) as channel:
        channel.offer(rule("a", True))
        assert peer.entered.wait(10)
        for active in (False, True, False):
            channel.offer(rule("a", active))
    assert [s.active for s in peer.told] == [True, False, True, False]


def test_events_wait_for_the_peer_and_none_is_told_twice() -> None:
    peer = LinePeer()
    peer.down = True
    with running(peer) as channel:
        for number in range(5):
            channel.offer(rule(f"r{number}", True))
        peer.down = False
        wait_until(lambda: channel.counters()["sent"] == 5, "all told")
    assert [s.source for s in peer.told] == [f"r{n}" for n in range(5)]


@pytest.mark.parametrize("holds", [RULES, frozenset()])
def test_an_outage_is_told_with_its_end(holds: frozenset[SignalKind]) -> None:
    peer = LinePeer(holds)
    with structlog.testing.capture_logs() as logs, running(peer) as channel:
        channel.offer(rule("a", True))
        wait_until(lambda: channel.counters()["sent"] == 1, "the connection")
        assert channel.problem() is None
        peer.lose()
        wait_until(lambda: channel.problem() == "the peer is away", "the outage")
        peer.down = False
        channel.offer(rule("a", False))
        wait_until(lambda: channel.problem() is None, "its end")
    events = [(e["event"], e["log_level"]) for e in logs if e["event"].startswith("channel_")]
    assert events == [("channel_down", "warning"), ("channel_up", "info")]


def test_a_connection_that_took_nothing_is_not_yet_taken_for_the_end_of_an_outage() -> None:
    peer = LinePeer()
    peer.timing_out.add("lost")
    with running(peer) as channel:
        channel.offer(rule("lost", True))
        wait_until(lambda: peer.tries["lost"] >= 2, "a second try")
        assert channel.problem() == "no answer to lost"
        peer.timing_out.clear()
        wait_until(lambda: channel.problem() is None, "the end")


def test_a_signal_is_given_up_after_its_retries_and_the_next_is_told() -> None:
    peer = LinePeer()
    peer.timing_out.add("lost")
    with running(peer, retries_max=2) as channel:
        channel.offer(rule("lost", True))
        channel.offer(rule("next", True))
        wait_until(lambda: peer.told, "the next")
        assert channel.counters()["connections"] == 4, "a new connection after each failure"
    assert peer.tries == {"lost": 3, "next": 1}
    assert (channel.counters()["failed"], channel.counters()["sent"]) == (1, 1)


def test_what_is_refused_is_counted_and_the_connection_stays() -> None:
    peer = LinePeer()
    peer.refused.add("bad")
    with running(peer) as channel:
        for source in ("good", "bad", "good"):
            channel.offer(rule(source, True))
    counters = channel.counters()
    assert (counters["sent"], counters["failed"], counters["connections"]) == (2, 1, 1)


def test_a_fault_of_a_library_costs_one_signal_and_not_the_channel() -> None:
    peer = LinePeer()
    peer.broken.add("bad")
    with running(peer) as channel:
        for source in ("good", "bad", "good"):
            channel.offer(rule(source, True))
        wait_until(lambda: channel.counters()["sent"] == 2, "the others")
    assert channel.counters()["failed"] == 1


def test_closing_flushes_within_its_time_and_counts_the_rest() -> None:
    peer = LinePeer()
    peer.down = True
    with running(peer, reconnect_first_s=60.0, reconnect_cap_s=60.0) as channel:
        channel.offer(rule("r", True))
        channel.close(0.05)
        channel.offer(rule("late", True))
    counters = channel.counters()
    assert counters["dropped_stopped"] == 2
    assert counters["waiting"] == 0


@pytest.mark.parametrize("clears", [False, True])
def test_a_stop_while_the_line_is_down_says_what_is_left(clears: bool) -> None:
    peer = LinePeer(RULES)
    peer.clears, peer.down = clears, True
    with structlog.testing.capture_logs() as logs, running(peer) as channel:
        channel.offer(rule("a", True))
        channel.offer(rule("b", True))
        wait_until(channel.problem, "the outage")
        channel.close(0.05)
        ended = [e for e in logs if e["event"] != "channel_down"]
    assert {e["channel"] for e in ended} == {"line"}
    assert {e["log_level"] for e in ended} == {"warning"}
    events = {e["event"]: e for e in ended}
    assert events["signals_left_unsent"]["unsent"] == 2
    assert events["channel_stopped_without_goodbye"]["reason"] == "the peer is away"
    assert ("levels_not_cleared" in events) is clears


def test_an_orderly_stop_has_nothing_to_say() -> None:
    with structlog.testing.capture_logs() as logs, running(LinePeer(RULES)) as channel:
        channel.offer(rule("a", True))
    assert logs == []


def test_a_channel_that_was_stopped_ends_by_itself_and_takes_nothing_more() -> None:
    peer = LinePeer()
    peer.passing.clear()
    with running(peer) as channel:
        channel.offer(rule("before", True))
        assert peer.entered.wait(10)
        channel.stop(60.0)
        channel.offer(rule("after", True))
        peer.passing.set()
        wait_until(lambda: peer.left, "its goodbye")
    assert [s.source for s in peer.told] == ["before"]
    assert channel.counters()["dropped_stopped"] == 1


def test_a_channel_that_never_started_can_be_closed() -> None:
    with running(LinePeer(), start=False) as channel:
        channel.offer(rule("r", True))
    assert channel.counters()["dropped_stopped"] == 1


def test_frames_are_told_only_where_they_are_asked_for() -> None:
    for asked in (False, True):
        peer = LinePeer()
        with running(peer, detections=asked) as channel:
            assert channel.detections is asked
            channel.offer(detections())
        assert len(peer.told) == asked
        assert offered(channel) == asked


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abc"), st.booleans()),
        st.sampled_from(["lose", "return"]),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, queue_max=st.integers(1, 4))
def test_whatever_happens_the_states_end_right_and_nothing_is_unaccounted(
    steps: list[Any], queue_max: int
) -> None:
    peer, expected, count = LinePeer(RULES), {}, 0
    with running(peer, queue_max=queue_max) as channel:
        for step in steps:
            if step == "lose":
                peer.lose()
            elif step == "return":
                peer.down = False
            else:
                source, active = step
                expected[source] = active
                count += 1
                channel.offer(rule(source, active))
        peer.down = False
        wait_until(lambda: peer.state == expected, f"the states {expected}")
    assert offered(channel) == count
