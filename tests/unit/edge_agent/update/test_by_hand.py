"""Going back by hand in the running agent: what a person has to insist on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_agent.store import Store
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.by_hand import (
    BY_A_PERSON,
    LEFT_REVOKED,
    WHOLE_AGAIN,
    Return,
    ReturnContext,
    ReturnEnded,
    Turn,
)
from edge_agent.update.exchange import Exchange
from edge_agent.update.slot import Slot
from edge_agent.update.states import Committed, committed_name
from edge_agent.update.turned import Turned
from tests.fixtures.seeing import fake_bundle


def test_what_was_left_by_hand_is_gone_back_to_with_force_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    store.open()
    committed = Committed(digest="a" * 64, previous_digest="b" * 64, by_hand=True)
    store.save(committed_name("tiny"), committed)
    alerts: list[str] = []
    jobs: list[object] = []
    judging: Any = SimpleNamespace(
        held=lambda _digest: None, floors=dict, bundles=BundleStore(store.bundles)
    )
    context = ReturnContext(
        store,
        judging,
        jobs.append,
        lambda _ended: None,
        lambda _name, text: alerts.append(text),
        lambda _slot, _turn: True,
    )
    none: Any = None
    exchange: Any = SimpleNamespace(running="a" * 64)
    back = Return("tiny", exchange, none, context)
    exchange.running = "b" * 64
    assert "serves already" in back.refusal()
    exchange.running = "a" * 64
    alerts.clear()
    why = back.objection()
    assert "--force" in why
    assert "somebody left bbbbbbbbbbbb by hand" in why
    assert (jobs, back.under_way) == ([], False)
    assert len(alerts) == 1, "the hub hears of a refusal"
    assert back.refusal() == "", "with force it is not asked whether it should"
    back.begin()
    assert (len(jobs), back.under_way) == (1, True)


@pytest.mark.parametrize(
    ("turn", "name"),
    [
        (BY_A_PERSON, "rolled_back_by_hand"),
        (Turn(LEFT_REVOKED, "v2 is revoked"), "left_revoked"),
        (WHOLE_AGAIN, "serves_again"),
    ],
)
def test_the_hub_hears_which_bundle_was_left_and_which_serves(
    tmp_path: Path, turn: Turn, name: str
) -> None:
    store = Store(tmp_path / "data")
    store.open()
    told: list[tuple[str, Turned]] = []

    def tell(slot: str, turned: Turned) -> bool:
        told.append((slot, turned))
        return True

    none: Any = None
    judging: Any = SimpleNamespace(
        held=lambda _digest: None,
        floors=dict,
        bundles=BundleStore(store.bundles),
        wall=lambda: 1.7e9,
    )
    context = ReturnContext(
        store, judging, lambda _job: None, lambda _ended: None, lambda *_: None,
        tell,
    )  # fmt: skip
    slot, loaded = Slot("tiny"), fake_bundle("b" * 64)
    slot.exchange(fake_bundle("a" * 64))
    back = Return("tiny", Exchange(slot, store), none, context)
    back.turn_to("b" * 64, turn)
    assert back.ended(ReturnEnded("tiny", "b" * 64, loaded), clear=True)[0]
    ((of, word),) = told
    assert (of, word.alert, word.left, word.serves) == ("tiny", name, "a" * 64, "b" * 64)
    assert (word.by_hand, word.at) == (turn is BY_A_PERSON, 1.7e9)
    committed = store.load(committed_name("tiny"), Committed)
    assert committed is not None
    assert (committed.digest, committed.by_hand, committed.untold) == ("b" * 64, word.by_hand, ())
    back.carry()
    assert len(told) == 1
