"""`argosy-agent rollback`, `hold` and what `status` says of updates, as they are typed."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from edge_agent.__main__ import app
from edge_agent.cli.hold import SpanError, span_s
from edge_agent.config import Limits
from edge_agent.link.outbox import Outbox, Quota
from edge_agent.link.waiting import outbox_account
from edge_agent.store import StateFile, Store
from edge_agent.update.boot_guard import BootCount, boot_name
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.floors import FLOORS, Floor, Floors
from edge_agent.update.history import remember
from edge_agent.update.requests import Request, answer, take
from edge_agent.update.start_note import note_start
from edge_agent.update.states import (
    Committed,
    Outcome,
    UpdateRecord,
    committed_name,
    moved,
    opened,
    record_name,
)
from edge_agent.update.veto import Veto, veto_name
from edge_agent.update.waiting import waits_for
from protocol.messages import MaintenanceWindow, SlotDesired
from protocol.states import ExecutionEvent, ExecutionState
from tests.fixtures.models import write_bundle

CONFIG = """
device = { id = "box-1", data_dir = "data" }
hub = { url = "http://127.0.0.1:9", token = "t" }
mqtt = { host = "127.0.0.1", port = 9 }
cameras = [
  { id = "cam", source = "rtsp://127.0.0.1:9/", slot = "tiny" },
  { id = "two", source = "rtsp://127.0.0.1:9/", slot = "other" },
]
"""
E = ExecutionEvent


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG)
    return path


@contextmanager
def opened_store(config: Path) -> Iterator[Store]:
    store = Store(config.parent / "data")
    store.open()
    try:
        yield store
    finally:
        store.close()


def invoke(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "300"})
    assert result.exit_code == exit_code, result.output
    return result.output


def told(*arguments: object, exit_code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*(str(a) for a in arguments), "--json"])
    assert result.exit_code == exit_code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def place(store: Store, version: int) -> str:
    """A bundle that lies in the store; its digest."""
    made = store.data_dir / f"made-{version}"
    digest, _ = write_bundle(made, version=version)
    made.rename(BundleStore(store.bundles).path(digest))
    return digest


def served_two(store: Store) -> tuple[str, str]:
    """The slot's committed bundle (version 2) and the one before (version 1)."""
    old, new = place(store, 1), place(store, 2)
    store.save(committed_name("tiny"), Committed(digest=new, previous_digest=old))
    return new, old


def attempt(*events: ExecutionEvent, previous: str | None, **fields: Any) -> UpdateRecord:
    desired = SlotDesired.model_validate(
        {
            "bundle_digest": "c" * 64,
            "manifest_bytes": 9,
            "model": "tiny",
            "version": 3,
            "rollout_id": "r",
            **fields,
        }
    )
    record = opened("tiny", desired, previous, 0, 1.0e9)
    for event in events:
        record = moved(record, event, Outcome(), 1.0e9, 5.0)
    return record


def state(config: Path, name: str, model: type[StateFile]) -> Any:
    return Store(config.parent / "data").load(name, model)


def to_prepared() -> tuple[ExecutionEvent, ...]:
    fetched = (E.DOWNLOAD_STARTED, E.DOWNLOAD_FINISHED, E.VERIFY_PASSED)
    return (*fetched, E.PROOF_STARTED, E.PREPARE_FINISHED)


# ---- rollback --------------------------------------------------------------------------


def test_going_back_without_an_agent(config: Path) -> None:
    with opened_store(config) as store:
        new, old = served_two(store)
    found = told("rollback", "-c", config, "--slot", "tiny")
    assert (found["ok"], found["agent_running"]) == (True, False)
    assert f"tiny v1 ({old[:12]})" in found["slots"]["tiny"]["text"]
    committed = state(config, committed_name("tiny"), Committed)
    assert (committed.digest, committed.previous_digest, committed.by_hand) == (old, new, True)
    outbox = outbox_account(config.parent / "data" / "outbox")
    assert outbox is not None
    assert outbox["streams"]["events"]["waiting"] == 1, "the hub hears of it"


def test_going_back_ends_an_attempt_that_has_exchanged_nothing(config: Path) -> None:
    with opened_store(config) as store:
        new, old = served_two(store)
        store.save(record_name("tiny"), attempt(*to_prepared(), previous=new))
    told("rollback", "-c", config, "--slot", "tiny")
    record = state(config, record_name("tiny"), UpdateRecord)
    assert record.state is ExecutionState.CANCELED
    assert record.reason == "a person went back by hand"
    assert len(record.untold(0)) == 7, "with the passages that the hub has not heard of"
    assert state(config, committed_name("tiny"), Committed).digest == old


def test_going_back_twice_needs_force(config: Path) -> None:
    with opened_store(config) as store:
        new, old = served_two(store)
    told("rollback", "-c", config, "--slot", "tiny")
    refused = told("rollback", "-c", config, "--slot", "tiny", exit_code=1)["slots"]["tiny"]
    assert f"somebody left {new[:12]} by hand" in refused["text"]
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
    assert f"goes back to {new[:12]}" in text
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


def test_an_attempt_can_be_given_up_though_there_is_no_way_back(config: Path) -> None:
    with opened_store(config) as store:
        new, _ = served_two(store)
        store.save(FLOORS, Floors(models={"tiny": Floor(version=2, generation=1)}))
        store.save(record_name("tiny"), attempt(*to_prepared(), previous=new))
    shown = invoke("rollback", "-c", config, "--slot", "tiny", exit_code=1)
    assert "revoked" in shown
    assert "with --force the update that has begun is given up" in shown
    assert state(config, record_name("tiny"), UpdateRecord).state is ExecutionState.PREPARED
    shown = invoke("rollback", "-c", config, "--slot", "tiny", "--force")
    assert "the update was given up; what serves stays" in shown
    assert state(config, record_name("tiny"), UpdateRecord).state is ExecutionState.CANCELED
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


# ---- status ----------------------------------------------------------------------------


def test_status_says_what_became_of_updates_and_why(config: Path) -> None:
    window = MaintenanceWindow(cron="0 2 29 2 *", duration_s=60, time_zone="Europe/Berlin")
    with opened_store(config) as store:
        new, old = served_two(store)
        over = attempt(E.DOWNLOAD_STARTED, previous=new)
        remember(
            store,
            "tiny",
            moved(over, E.ERROR, Outcome(reason="no route [/x]"), 1.1e9, 9.0),
            Limits(),
        )
        waits = attempt(
            *to_prepared()[:-1], E.WINDOW_AWAITED, previous=new, window=window, attempt=2
        )
        figures = {"golden_confidence_error_max": 0.0123}
        store.save(
            record_name("tiny"), waits.model_copy(update={"figures": figures, "waiting": "for it"})
        )
        store.save(boot_name("tiny"), BootCount(digest=new, starts=2))
        store.save(FLOORS, Floors(models={"tiny": Floor(version=2, generation=1)}))
        Outbox(store.outbox, "box-1", Quota(10**6, 10**6)).close()
    found = told("status", "-c", config, "--history")
    slot = found["slots"]["tiny"]
    assert (slot["committed"], slot["committed_version"], slot["served_before"]) == (new, 2, old)
    assert (slot["before_version"], slot["floor"], slot["boot"]["starts"]) == (1, 2, 2)
    assert slot["attempt"]["state"] == "WAITING_WINDOW"
    assert slot["attempt"]["since"] == 1.0e9
    assert found["bundles"]["count"] == 2
    assert found["bundles"]["pinned"][old] == ["tiny: committed before"]
    assert found["outbox"]["streams"]["events"]["waiting"] == 0
    assert [p["state"] for p in found["history"]["tiny"][0]["passages"]] == [
        "QUEUED",
        "DOWNLOADING",
        "FAILED",
    ]
    shown = " ".join(invoke("status", "-c", config, "--history").split())
    for words in (
        f"before it served {old[:12]}, tiny v1",
        "nothing below v2 may serve",
        f"2 starts in a row with {new[:12]}; it is being watched",
        "tiny v3 is WAITING_WINDOW since 2001-09-09 01:46:40 UTC",
        "it waits: for it",
        "its window opens 20",
        "02:00 Europe/Berlin",
        "golden confidence error max 0.0123",
        "bundles: 2 in",
        "outbox events: 0 wait",
        "no route [/x]",
        f"tiny: 1 of {'c' * 12}, tiny v3",
    ):
        assert words in shown, words
    assert "history" not in told("status", "-c", config)


def test_on_probation_status_shows_what_a_rollback_goes_to(config: Path) -> None:
    with opened_store(config) as store:
        new, old = served_two(store)
        committed = Committed(digest=new, previous_digest=old, by_hand=True)
        store.save(committed_name("tiny"), committed)
        store.save(boot_name("tiny"), BootCount(digest=new, starts=1))
        tried = attempt(*to_prepared(), E.SWAP_STARTED, E.EXCHANGED, previous=new)
        store.save(record_name("tiny"), tried)
    assert told("status", "-c", config)["slots"]["tiny"]["served_before"] == new
    shown = " ".join(invoke("status", "-c", config).split())
    assert f"before it served {new[:12]}, tiny v2" in shown
    assert "by hand" not in shown, "a newer attempt is open"
    assert "in a row" not in shown, "each start is one of those"


def test_status_shows_nothing_before_where_that_serves_for_a_damaged_one(config: Path) -> None:
    with opened_store(config) as store:
        new, _ = served_two(store)
        path = BundleStore(store.bundles).path(new)
        path.rename(path.with_name("elsewhere"))
    assert told("status", "-c", config)["slots"]["tiny"]["served_before"] is None


def test_status_says_why_something_else_serves_than_was_desired_last(config: Path) -> None:
    with opened_store(config) as store:
        new, old = served_two(store)
        why = f"{new[:12]} ended the agent at 3 starts in a row"
        store.save(committed_name("tiny"), Committed(digest=old, previous_digest=new, why=why))
        store.save(boot_name("tiny"), BootCount(digest=new, starts=3))
        store.save(FLOORS, Floors(models={"tiny": Floor(version=2, generation=1)}))
        note_start(store, "other", None, ("bundle abc is damaged",))
    shown = " ".join(invoke("status", "-c", config).split())
    assert f"tiny: this serves because {why}" in shown
    assert "starts in a row with" not in shown, "that one is committed no more"
    assert "other: at the last start: bundle abc is damaged" in shown
    assert "tiny: the version that serves is revoked" in shown
    assert told("status", "-c", config)["slots"]["tiny"]["revoked"]


def test_status_says_once_what_an_attempt_waits_for(config: Path) -> None:
    window = MaintenanceWindow(cron="0 2 29 2 *", duration_s=60, time_zone="Europe/Berlin")
    with opened_store(config) as store:
        new, _ = served_two(store)
        waits = attempt(*to_prepared()[:-1], E.WINDOW_AWAITED, previous=new, window=window)
        why = waits_for(waits.desired, time.time(), None)
        store.save(record_name("tiny"), waits.model_copy(update={"waiting": why}))
        veto = Veto(granted_at=time.time(), until=time.time() + 600, left_s=600)
        store.save(veto_name("tiny"), veto)
    shown = " ".join(invoke("status", "-c", config).split())
    assert shown.count("its window opens") == 1
    said = re.search('says "not now" until [0-9-]{10} [0-9:]{5} Europe/Berlin', shown)
    assert said, "on the clock of its window"
