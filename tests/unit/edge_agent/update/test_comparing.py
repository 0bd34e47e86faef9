"""A candidate that hangs in a frame is refused, and never closed under its own feet."""

from __future__ import annotations

from typing import cast

from edge_agent.update.comparing import Comparing
from edge_agent.update.shadow import ShadowCounts
from edge_agent.update.shadowing import Shadowing
from edge_agent.update.states import UpdateRecord
from protocol.messages import ShadowPolicy, SlotDesired
from protocol.states import ExecutionEvent
from tests.fixtures.seeing import fake_bundle

POLICY = ShadowPolicy(duration_max_s=10.0)
RECORD = UpdateRecord(
    slot="s",
    desired=SlotDesired(bundle_digest="b" * 64, manifest_bytes=1, model="m", version=2),
)


class Shadows:
    """A shadow whose candidate comes back from a frame, or does not."""

    def __init__(self) -> None:
        self.comes_back = True

    def begin(self, *_given: object) -> None: ...

    def counts(self, _slot: str) -> ShadowCounts:
        return ShadowCounts()

    def end(self, _slot: str) -> bool:
        return self.comes_back


def test_one_that_hangs_is_refused_and_stays_open() -> None:
    shadows = Shadows()
    comparing = Comparing("s", cast("Shadowing", shadows))
    hung, following = fake_bundle("b" * 64, 2), fake_bundle("c" * 64, 3)
    assert comparing.go_on(hung, RECORD, POLICY, now=0.0) is None
    shadows.comes_back = False
    outcome = comparing.go_on(hung, RECORD, POLICY, now=11.0)
    assert outcome is not None
    assert outcome.event is ExecutionEvent.REFUSED
    assert "did not come back" in outcome.reason
    comparing.end()
    assert not comparing.free(hung)
    assert comparing.free(following), "the next attempt's candidate is another"


def test_one_that_comes_back_is_free() -> None:
    comparing = Comparing("s", cast("Shadowing", Shadows()))
    candidate = fake_bundle("b" * 64, 2)
    comparing.go_on(candidate, RECORD, POLICY, now=0.0)
    comparing.end()
    assert comparing.free(candidate)


def test_a_blind_line_waits_for_what_served_and_then_goes_on_without_it() -> None:
    comparing = Comparing("s", cast("Shadowing", Shadows()))
    for at_s in (100.0, 159.9):
        waits = comparing.blind(at_s, 60.0)
        assert waits.note
        assert "may be repaired" in waits.reason
    over = comparing.blind(160.0, 60.0)
    assert (over.note, over.event, over.figures) == (False, None, {"shadow_skipped": 1.0})


def test_a_line_that_sees_again_is_compared_and_waited_for_anew() -> None:
    comparing = Comparing("s", cast("Shadowing", Shadows()))
    assert comparing.blind(0.0, 60.0).note
    assert comparing.go_on(fake_bundle("b" * 64, 2), RECORD, POLICY, now=30.0) is None
    assert comparing.blind(61.0, 60.0).note
    assert not comparing.blind(121.0, 60.0).note


def test_a_first_install_has_nothing_to_wait_for() -> None:
    assert not Comparing("s", cast("Shadowing", Shadows())).blind(0.0, 0.0).note
