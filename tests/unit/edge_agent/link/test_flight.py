"""The window in flight: in order, bounded, never forgetting what was not acknowledged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.link.flight import Flight

INFLIGHT_MAX = 5


@given(st.lists(st.tuples(st.sampled_from(["send", "ack", "rewind"]), st.integers(0, 20))))
def test_what_is_sent_is_always_the_next_after_what_is_acknowledged_or_sent(
    steps: list[tuple[str, int]],
) -> None:
    flight = Flight()
    for now, (verb, number) in enumerate(steps):
        if verb == "send" and flight.room(INFLIGHT_MAX):
            following = flight.sent + 1
            flight = flight.send(following, float(now))
        elif verb == "ack":
            flight = flight.acknowledge(min(number, flight.sent), float(now))
        elif verb == "rewind":
            flight = flight.rewind()
            assert flight.sent == flight.acked
        assert len(flight.sequences) <= INFLIGHT_MAX
        assert list(flight.sequences) == sorted(set(flight.sequences))
        assert all(sequence > flight.acked for sequence in flight.sequences)


def test_overdue_counts_from_the_last_movement() -> None:
    flight = Flight().send(1, 0.0).send(2, 9.0)
    assert not flight.overdue(9.9, 10)
    assert flight.overdue(10.0, 10)
    assert not flight.acknowledge(1, 10.0).overdue(19.9, 10)
    assert not flight.acknowledge(2, 10.0).overdue(1000, 10)


def test_a_late_acknowledgement_changes_nothing() -> None:
    flight = Flight(acked=7).send(8, 1.0)
    assert flight.acknowledge(3, 2.0) is flight


def test_sending_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="not after"):
        Flight(acked=4).send(4, 0.0)
