"""What `argosy-agent status` says of updates, as it is typed."""

from __future__ import annotations

import re
import time
from pathlib import Path

from edge_agent.config import Limits
from edge_agent.link.outbox import Outbox, Quota
from edge_agent.update.boot_guard import BootCount, boot_name
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.floors import FLOORS, Floor, Floors
from edge_agent.update.history import remember
from edge_agent.update.start_note import note_start
from edge_agent.update.states import (
    Committed,
    Outcome,
    committed_name,
    moved,
    record_name,
)
from edge_agent.update.veto import Veto, veto_name
from edge_agent.update.waiting import waits_for
from protocol.messages import MaintenanceWindow
from tests.unit.edge_agent.cli.device_folder import (
    E,
    attempt,
    invoke,
    opened_store,
    served_two,
    to_prepared,
    told,
)


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


def test_status_says_whether_what_made_way_is_still_revoked(config: Path) -> None:
    why = "tiny v1 is revoked: nothing below v2 may serve"
    with opened_store(config) as store:
        new, old = served_two(store)
        turned = Committed(digest=new, previous_digest=old, why=why, revoked=True)
        store.save(committed_name("tiny"), turned)
        store.save(FLOORS, Floors(models={"tiny": Floor(version=2, generation=1)}))
    assert told("status", "-c", config)["slots"]["tiny"]["why"] == why
    with opened_store(config) as store:
        store.save(FLOORS, Floors(models={"tiny": Floor(version=1, generation=2)}))
    said = f"{why}; it was then, and is revoked no more"
    assert told("status", "-c", config)["slots"]["tiny"]["why"] == said
    assert f"tiny: this serves because {said}" in " ".join(invoke("status", "-c", config).split())


def test_status_says_once_what_an_attempt_waits_for(config: Path) -> None:
    window = MaintenanceWindow(cron="0 2 29 2 *", duration_s=60, time_zone="Europe/Berlin")
    with opened_store(config) as store:
        new, _ = served_two(store)
        waits = attempt(*to_prepared()[:-1], E.WINDOW_AWAITED, previous=new, window=window)
        why = waits_for(waits, time.time(), None)
        store.save(record_name("tiny"), waits.model_copy(update={"waiting": why}))
        veto = Veto(granted_at=time.time(), until=time.time() + 600, left_s=600)
        store.save(veto_name("tiny"), veto)
    shown = " ".join(invoke("status", "-c", config).split())
    assert shown.count("its window opens") == 1
    said = re.search('says "not now" until [0-9-]{10} [0-9:]{5} Europe/Berlin', shown)
    assert said, "on the clock of its window"
