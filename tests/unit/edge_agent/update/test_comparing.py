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
