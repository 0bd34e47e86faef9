"""`argosy-agent rollback` and `hold`, as they are typed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.cli.hold import SpanError, span_s
from edge_agent.store import Store
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.floors import FLOORS, Floor, Floors
from edge_agent.update.requests import Request, answer, take
from edge_agent.update.states import (
    BY_HAND,
    Committed,
    UpdateRecord,
    committed_name,
    record_name,
)
from edge_agent.update.veto import Veto, veto_name
from protocol.states import ExecutionState
from tests.unit.edge_agent.cli.device_folder import (
    E,
    attempt,
    invoke,
    opened_store,
    place,
    served_two,
    state,
    to_prepared,
    told,
)

# ---- rollback --------------------------------------------------------------------------


def test_going_back_without_an_agent(config: Path) -> None:
    with opened_store(config) as store:
        new, old = served_two(store)
    found = told("rollback", "-c", config, "--slot", "tiny")
    assert (found["ok"], found["agent_running"]) == (True, False)
    assert f"tiny v1 ({old[:12]})" in found["slots"]["tiny"]["text"]
    committed = state(config, committed_name("tiny"), Committed)
    assert (committed.digest, committed.previous_digest, committed.by_hand) == (old, new, True)
    (word,) = committed.untold
    assert (word.alert, word.left, word.serves) == ("rolled_back_by_hand", new, old), (
        "the hub hears of it when the agent runs again"
    )
    assert word.at == pytest.approx(time.time(), abs=60)


def test_an_attempt_that_has_exchanged_nothing_is_the_first_step_back(config: Path) -> None:
    with opened_store(config) as store:
        new, old = served_two(store)
        store.save(record_name("tiny"), attempt(*to_prepared(), previous=new))
    text = told("rollback", "-c", config, "--slot", "tiny")["slots"]["tiny"]["text"]
    assert "was given up" in text
    assert "ask again" in text
    record = state(config, record_name("tiny"), UpdateRecord)
    assert (record.state, record.left) == (ExecutionState.CANCELED, True)
    assert record.reason == BY_HAND
    assert len(record.untold(0)) == 7, "with the passages that the hub has not heard of"
    assert state(config, committed_name("tiny"), Committed).digest == new, "it stays"
    told("rollback", "-c", config, "--slot", "tiny")
    assert state(config, committed_name("tiny"), Committed).digest == old


def test_going_back_twice_needs_force(config: Path) -> None:
    with opened_store(config) as store:
        new, old = served_two(store)
    told("rollback", "-c", config, "--slot", "tiny")
    refused = told("rollback", "-c", config, "--slot", "tiny", exit_code=1)["slots"]["tiny"]
    assert f"somebody left tiny v2 ({new[:12]}) by hand" in refused["text"]
    assert "--force" in refused["text"]
    assert state(config, committed_name("tiny"), Committed).digest == old
    told("rollback", "-c", config, "--slot", "tiny", "--force")
    assert state(config, committed_name("tiny"), Committed).digest == new


def test_what_is_on_probation_goes_back_by_itself(config: Path) -> None:
    with opened_store(config) as store:
        new, _ = served_two(store)
        events = (*to_prepared(), E.SWAP_STARTED, E.EXCHANGED)
        store.save(record_name("tiny"), attempt(*events, previous=new))
    text = told("rollback", "-c", config, "--slot", "tiny")["slots"]["tiny"]["text"]
    assert f"goes back to tiny v2 ({new[:12]})" in text
    assert state(config, committed_name("tiny"), Committed).digest == new


def test_nothing_to_go_back_to(config: Path) -> None:
    text = told("rollback", "-c", config, "--slot", "tiny", exit_code=1)["slots"]["tiny"]["text"]
    assert "wait for its first update" in text
    with opened_store(config) as store:
        digest = place(store, 1)
        store.save(committed_name("tiny"), Committed(digest=digest))
    text = told("rollback", "-c", config, "--slot", "tiny", exit_code=1)["slots"]["tiny"]["text"]
    assert "served nothing before" in text
    assert "from the hub" in text


def test_one_that_is_being_committed_is_left_alone(config: Path) -> None:
    with opened_store(config) as store:
        new, _ = served_two(store)
        events = (*to_prepared(), E.SWAP_STARTED, E.EXCHANGED, E.PROBATION_PASSED)
        store.save(record_name("tiny"), attempt(*events, previous=new))
    assert "start the agent" in invoke("rollback", "-c", config, "--slot", "tiny", exit_code=1)


def test_a_revoked_bundle_is_not_gone_back_to(config: Path) -> None:
    with opened_store(config) as store:
        new, _ = served_two(store)
        store.save(FLOORS, Floors(models={"tiny": Floor(version=2, generation=1)}))
    assert "revoked" in invoke("rollback", "-c", config, "--slot", "tiny", exit_code=1)
    assert state(config, committed_name("tiny"), Committed).digest == new


def test_a_damaged_bundle_is_not_gone_back_to(config: Path) -> None:
    with opened_store(config) as store:
        new, old = served_two(store)
        model = next(BundleStore(store.bundles).path(old).glob("*.onnx"))
        model.write_bytes(b"rot")
    assert "damaged" in invoke("rollback", "-c", config, "--slot", "tiny", exit_code=1)
    assert state(config, committed_name("tiny"), Committed).digest == new


def test_a_slot_that_is_not_there_is_named(config: Path) -> None:
    assert "tiny, other" in invoke("rollback", "-c", config, "--slot", "none", exit_code=2)
    assert "tiny, other" in invoke("hold", "-c", config, "--slot", "none", "--release", exit_code=2)


# ---- hold ------------------------------------------------------------------------------


def test_holding_without_an_agent(config: Path) -> None:
    with opened_store(config):
        pass
    found = told("hold", "-c", config, "--for", "30m")
    assert found["ok"]
    for slot in ("tiny", "other"):
        assert state(config, veto_name(slot), Veto).left_s == 1800
    assert '"not now"' in invoke("status", "-c", config)
    told("hold", "-c", config, "--release", "--slot", "tiny")
    status = told("status", "-c", config)["slots"]
    assert status["tiny"]["veto_until"] is None
    assert status["other"]["veto_until"] == pytest.approx(time.time() + 1800, abs=60)


def test_a_hold_is_bounded(config: Path) -> None:
    text = told("hold", "-c", config, "--for", "100h", "--slot", "tiny")["slots"]["tiny"]["text"]
    assert "no longer: limits.veto_s_max is 14400 s" in text
    assert state(config, veto_name("tiny"), Veto).left_s == 14400


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("1h30m", 5400), ("90s", 90), (" 2H ", 7200)]
)
def test_spans(text: str, seconds: float) -> None:
    assert span_s(text, 3600.0) == seconds


@pytest.mark.parametrize("text", ["", "0m", "30", "-5m", "1d", "30 m", "1m1h"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(SpanError, match="write"):
        span_s(text, 3600.0)


@pytest.mark.parametrize("text", ["9999h99m", "99999h", "999999999s"])
def test_a_span_beyond_any_hold_names_the_bound(config: Path, text: str) -> None:
    shown = " ".join(invoke("hold", "-c", config, "--for", text, exit_code=2).split())
    assert "limits.veto_s_max of this device is 14400 s" in shown


def test_one_of_for_and_release(config: Path) -> None:
    invoke("hold", "-c", config, exit_code=2)
    invoke("hold", "-c", config, "--for", "1m", "--release", exit_code=2)
    assert "write" in invoke("hold", "-c", config, "--for", "soon", exit_code=2)


# ---- with a running agent --------------------------------------------------------------


@contextmanager
def agent(config: Path, *, ok: bool) -> Iterator[list[Request]]:
    """Somebody who has the folder's lock and answers requests."""
    taken: list[Request] = []
    stop = threading.Event()

    def serve(store: Store) -> None:
        while not stop.wait(0.02):
            for request in take(store, ("tiny", "other"), time.time()):
                taken.append(request)
                answer(store, request, ok=ok, text=f"{request.slot} [heard]")

    with opened_store(config) as store:
        thread = threading.Thread(target=serve, args=(store,))
        thread.start()
        try:
            yield taken
        finally:
            stop.set()
            thread.join()


def test_a_running_agent_is_asked(config: Path) -> None:
    with agent(config, ok=True) as taken:
        found = told("rollback", "-c", config, "--force")
        assert (found["ok"], found["agent_running"]) == (True, True)
        assert found["slots"]["tiny"]["text"] == "tiny [heard]"
        assert "tiny [heard]" in invoke("hold", "-c", config, "--for", "90s", "--slot", "tiny")
        invoke("hold", "-c", config, "--release", "--slot", "tiny")
    kinds = sorted((r.kind, r.slot, r.for_s) for r in taken)
    assert kinds == [
        ("hold", "tiny", 90),
        ("release", "tiny", 0),
        ("rollback", "other", 0),
        ("rollback", "tiny", 0),
    ]
    assert "at the device" in taken[0].by
    assert [r.force for r in taken] == [r.kind == "rollback" for r in taken]


def test_what_the_agent_refuses_ends_with_1(config: Path) -> None:
    with agent(config, ok=False):
        assert "NO" in invoke("rollback", "-c", config, "--slot", "tiny", exit_code=1)
