"""The evidence record: a pure function of a rollout's rows."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.rollouts.evidence.deviations import Beside
from cloud.rollouts.evidence.progress import CLASSES, Attempt, by_device, class_of, over_time
from cloud.rollouts.evidence.record import Origin, record
from protocol.messages import MaintenanceWindow
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState
from tests.unit.cloud.rollouts import story
from tests.unit.cloud.rollouts.story import START, attempt, done, entry

ORIGIN = Origin(
    lineage={"parent": 2, "dataset": "caps", "dataset_version": 3, "created_by": "ada"},
    promotion={"alias": "production", "verdict": "PASS", "evidence": "e-1"},
)


@pytest.fixture
def told() -> dict[str, Any]:
    return record(
        story.rollout(), story.executions(), story.looks(), story.journal(),
        origin=ORIGIN, now=START + 1000,
    )  # fmt: skip


def test_it_is_json_and_says_what_was_brought_by_whom(told: dict[str, Any]) -> None:
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["verdict"], told["what"]["model"], told["what"]["version"]) == (
        "REVERTED", "caps", 1,
    )  # fmt: skip
    (build,) = told["what"]["builds"]
    assert (build["digest"], build["given"], build["succeeded"]) == (story.BUILD, 2, 2)
    assert told["what"]["lineage"]["dataset_version"] == 3
    assert told["what"]["promotion"]["evidence"] == "e-1"
    assert told["who"]["created_by"] == "ada"
    assert told["who"]["approved_by"] == ["bob"]
    assert [d["kind"] for d in told["who"]["decisions"]] == ["created", "approved"]
    assert [a["text"] for a in told["approvals"]] == ["", "go, the line stands still"]


def test_times_and_figures_by_wave(told: dict[str, Any]) -> None:
    assert told["when"]["duration_s"] == 600
    first, second = told["waves"]
    assert first["opened_at"] == START + 20
    assert (first["states"], first["way_back"]) == (
        {"SUCCEEDED": 2}, {"NOT_REVERTED": 1, "REVERTED": 1},
    )  # fmt: skip
    assert first["classes"] == {"reverted": 1, "has the build": 1}
    assert first["durations"] == {"count": 2, "median_s": 60, "p95_s": 60, "max_s": 60}
    assert (first["gate"], first["looks"], first["let_go_by"]) == ("FAIL", 3, None)
    assert (second["opened_at"], second["gate"]) == (None, None)
    metrics = told["metrics"]
    assert (metrics["attempts"], metrics["states"]) == (5, {"CANCELED": 2, "SUCCEEDED": 2})
    (failed,), (stuck,) = metrics["failures"], metrics["failures_on_the_way_back"]
    assert (failed["kind"], failed["reason"]) == ("TIMED_OUT", "no step for 900 s")
    assert (stuck["kind"], stuck["reason"]) == ("FAILED", "v2 is below the floor")


def test_every_look_is_there_and_equal_figures_once(told: dict[str, Any]) -> None:
    assert [look["verdict"] for look in told["gates"]] == ["INCONCLUSIVE", "INCONCLUSIVE", "FAIL"]
    assert [look["figures_of"] for look in told["gates"]] == [1, 1, 3]
    assert told["gates"][1]["figures"] is None
    assert told["gates"][2]["figures"]["components"][2]["camera"] == "dev-1/east"


def test_deviations_are_told_with_their_reasons(told: dict[str, Any]) -> None:
    found = told["deviations"]
    assert set(found) == {"retried", "timed_out", "not_reverted"}
    (retried,) = found["retried"]["items"]
    assert (retried["device"], retried["reason"]) == ("dev-1", "TIMED_OUT: no step for 900 s")
    (left,) = found["not_reverted"]["items"]
    assert (left["device"], left["reason"]) == ("dev-1", "v2 is below the floor")
    outcome = told["outcome"]
    assert (outcome["reverted"], outcome["not_reverted"], outcome["have_it"]) == (1, 1, 1)


def test_what_people_let_pass_is_a_deviation() -> None:
    look = story.looks()[2]
    look.verdict, look.answered_by, look.answered_at = "INCONCLUSIVE", "bob", START + 400
    look.remark = "it is night"
    entries = [
        entry("forced", 401, "bob", wave=0, text="no time"),
        entry("joined", 402, device_id="dev-9"),
        entry("accepted", 403, "eve", device_id="dev-0", text="looks fine"),
    ]
    rows = [done("dev-0"), done("dev-1", diverged=True, by_hand=True, reason="went back by hand")]
    going = story.rollout(state="RUNNING", outcome=None, ended_at=None, reverting=False)
    told = record(going, rows, [look], entries, origin=Origin(), now=START + 500)

    found = {kind: value["items"][0] for kind, value in told["deviations"].items()}
    assert told["verdict"] == "IN_PROGRESS"
    assert (found["forced"]["by"], found["forced"]["reason"]) == ("bob", "no time")
    assert found["gate_overruled"]["reason"].startswith("it is night (the gate said INCONCLUSIVE")
    assert found["joined"]["device"] == "dev-9"
    assert found["shadow_accepted"]["by"] == "eve"
    assert found["by_hand"]["device"] == found["diverged"]["device"] == "dev-1"
    assert told["what"]["lineage"] == {}
    assert told["waves"][0]["let_go_by"] == "bob"


def test_a_rollout_that_was_stopped_and_kept_leaves_nothing_to_revert() -> None:
    kept = story.rollout(outcome=None, reverting=False)
    told = record(kept, story.executions()[:1], [], [], origin=Origin(), now=START)
    assert told["verdict"] == "STOPPED"
    assert (told["outcome"]["taken_back"], told["outcome"]["not_reverted"]) == (False, 0)


def test_a_device_on_its_way_back_is_not_back_yet() -> None:
    rows = [done("dev-0"), attempt("dev-0", 2, reverts=True, state="PROVING", started_at=START + 1)]
    told = record(story.rollout(), rows, [], [], origin=Origin(), now=START)
    (left,) = told["deviations"]["not_reverted"]["items"]
    assert left["reason"] == "it is on its way back"


def test_why_a_device_cannot_go_back_is_told() -> None:
    rows = [done("dev-0"), done("dev-1")]
    why = {"dev-0": "caps v2, which was before, is below the model's floor"}
    told = record(
        story.rollout(), rows, [], [], origin=Origin(), now=START, beside=Beside(no_way_back=why)
    )  # fmt: skip
    first, second = told["deviations"]["not_reverted"]["items"]
    assert first["reason"] == why["dev-0"]
    assert "it has the build still" in second["reason"]


def test_a_device_whose_slot_something_newer_has_is_not_one_that_did_not_come_back() -> None:
    rows = [
        done("dev-0"),
        done("dev-1"),
        attempt("dev-1", 2, reverts=True, state="SUPERSEDED", step_at=START + 300),
    ]
    newer = Beside(moved_on={"dev-0": "rollout r-2 has the slot, with v3"})
    told = record(story.rollout(), rows, [], [], origin=Origin(), now=START, beside=newer)
    outcome = told["outcome"]
    assert (outcome["have_it"], outcome["not_reverted"], outcome["moved_on"]) == (0, 0, 1)
    (item,) = told["deviations"]["moved_on"]["items"]
    assert (item["device"], item["reason"]) == ("dev-0", "rollout r-2 has the slot, with v3")
    assert told["waves"][0]["way_back"] == {"SUPERSEDED": 1}


@pytest.mark.parametrize(
    ("rows", "has"),
    [
        ([done("d")], True),
        ([done("d", diverged=True)], False),
        ([done("d", state="FAILED")], True),  # it exchanged, and its success never came
        ([done("d", state="ROLLED_BACK")], False),
        ([done("d", state="REJECTED", exchanged_at=None)], False),
        ([done("d"), attempt("d", 2, reverts=True)], True),  # not yet on its way back
        ([done("d"), done("d", 2, reverts=True, state="COMMITTING")], False),
        ([done("d"), done("d", 2, reverts=True)], False),
        ([done("d"), done("d", 2, reverts=True, state="ROLLED_BACK")], True),
    ],
)
def test_who_has_the_build(rows: list[Attempt], has: bool) -> None:
    told = record(story.rollout(), rows, [], [], origin=Origin(), now=START)
    assert told["outcome"]["have_it"] == has


def test_an_exchange_outside_its_window_is_told_on_the_clock_of_its_site() -> None:
    night = MaintenanceWindow(cron="0 2 * * *", duration_s=3600, time_zone="Asia/Tokyo")
    two_in_tokyo = 17 * 3600.0
    rows = [
        done("dev-0", exchanged_at=two_in_tokyo + 60),
        done("dev-1", exchanged_at=two_in_tokyo + 4000),
        done("dev-1", 2, reverts=True, exchanged_at=two_in_tokyo + 9000),
    ]
    beside = Beside(windows={"dev-0": night, "dev-1": night})
    told = record(story.rollout(), rows, [], [], origin=Origin(), now=START, beside=beside)
    (item,) = told["deviations"]["outside_window"]["items"]
    assert (item["device"], item["attempt"]) == ("dev-1", 1)
    assert item["reason"].startswith("exchanged at 1970-01-02 03:06:40 Asia/Tokyo, outside of '0 2")


def test_the_end_is_seen(told: dict[str, Any]) -> None:
    progress = told["progress"]
    shown = [n for n, at in enumerate(progress["times"]) if at >= START + 600]
    assert len(shown) >= 3, "wide enough to be drawn"
    assert progress["devices"]["reverted"][-1] == 1
    assert progress["devices"]["has the build"][-1] == 1
    going = story.rollout(state="RUNNING", outcome=None, ended_at=None, reverting=False)
    told = record(going, [done("d")], [], [], origin=Origin(), now=START + 500)
    assert told["progress"]["times"][-1] == START + 500, "nothing is known of later"


def test_what_is_no_number_is_null() -> None:
    look = story.looks()[0]
    look.figures = {"components": [story.component("latency", after=float("inf")).as_dict()]}
    told = record(story.rollout(), [], [look], [], origin=Origin(), now=START)
    assert told["gates"][0]["figures"]["components"][0]["after"] is None


STATES = sorted(state.value for state in ExecutionState)


@st.composite
def attempts(draw: st.DrawFn) -> list[Attempt]:
    rows = []
    for device in range(draw(st.integers(1, 6))):
        at = START
        for number in range(1, draw(st.integers(1, 3)) + 1):
            state = draw(st.sampled_from(STATES))
            at += draw(st.floats(0, 100))
            values: dict[str, Any] = {"state": state, "step_at": at, "reverts": draw(st.booleans())}
            if state != "QUEUED":
                values["started_at"] = at
            if ExecutionState(state) in TERMINAL_EXECUTION_STATES:
                at += draw(st.floats(0, 100))
                values["ended_at"] = at
            rows.append(attempt(f"dev-{device}", number, **values))
    return rows


@given(attempts())
def test_at_every_moment_each_device_stands_at_one_place(rows: list[Attempt]) -> None:
    devices = by_device(rows)
    seen = over_time(devices, {}, START, START + 1000)

    sums = [sum(column) for column in zip(*seen["devices"].values(), strict=True)]
    assert set(sums) == {len(devices)}
    assert min(min(counts) for counts in seen["devices"].values()) >= 0
    last = {name: counts[-1] for name, counts in seen["devices"].items()}
    latest = Counter(class_of(found[-1]) for found in devices.values())
    assert last == {name: latest.get(name, 0) for name in CLASSES}


def test_late_joiners_are_not_there_before() -> None:
    seen = over_time(
        by_device([attempt("a"), attempt("b")]), {"b": START + 500}, START, START + 999
    )
    assert seen["devices"]["waiting"][0] == 1
    assert seen["devices"]["waiting"][-1] == 2
