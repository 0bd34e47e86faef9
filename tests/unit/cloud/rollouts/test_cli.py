"""`argosy rollout` and `group`: what is typed becomes what is asked; what is wrong is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cloud.cli.client import CommandError
from cloud.cli.group import groups
from cloud.cli.rollout_plan import EXIT_NOT_ON_ALL
from cloud.cli.rollout_start import (
    asked,
    parse_error,
    parse_gates,
    parse_pace,
    parse_shadow,
    parse_wave,
    parse_window,
)
from tests.unit.cloud.rollouts.terminal import Answers, argosy, view


def test_waves_as_they_are_typed() -> None:
    assert parse_wave("10%") == {"percent": 10}
    assert parse_wave("5") == {"count": 5}
    assert parse_wave("line=a,hall in (1,2)") == {"selector": "line=a,hall in (1,2)"}
    with pytest.raises(CommandError, match="x%"):
        parse_wave("x%")


def test_policies_as_they_are_typed() -> None:
    assert parse_shadow("on") == {}
    assert parse_shadow("share=0.1, frames_min=500") == {"share": 0.1, "frames_min": 500}
    assert parse_gates("on") == {}
    assert parse_gates("frames_min=900,on_fail=abort") == {"frames_min": 900, "on_fail": "abort"}
    assert parse_pace("30") == {"base_per_minute": 30}
    assert parse_pace("base_per_minute=3,factor=1.5") == {"base_per_minute": 3, "factor": 1.5}
    assert parse_window("0 2 * * MON for 90m") == {"cron": "0 2 * * MON", "duration_s": 5400}
    assert parse_window("0 2 * * * for 2h Europe/Berlin")["time_zone"] == "Europe/Berlin"
    assert parse_error("failed, TIMED_OUT > 2.5% of 20 then abort") == {
        "kinds": ["FAILED", "TIMED_OUT"], "percent": 2.5, "executed_min": 20, "then": "abort",
    }  # fmt: skip
    assert parse_error("DIVERGED>1%") == {"kinds": ["DIVERGED"], "percent": 1.0}


@pytest.mark.parametrize(
    ("parse", "wrong"),
    [
        *((parse_shadow, text) for text in ("off", "share", "share=much", "=1", "")),
        *((parse_gates, text) for text in ("frames_min=few", "on_fail", "off")),
        *((parse_pace, text) for text in ("fast", "factor=quick", "")),
        *((parse_window, text) for text in ("0 2 * * *", "0 2 * * for 2h", "at night")),
        *((parse_error, text) for text in ("FAILED", "FAILED > x%", "> 5%", "FAILED > 5")),
    ],
)
def test_what_says_nothing_is_refused_with_the_way_to_say_it(parse: Any, wrong: str) -> None:
    with pytest.raises(CommandError) as refused:
        parse(wrong)
    assert refused.value.remedy


def test_options_override_the_file_and_leave_the_rest_of_it(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(
        "model: caps\nversion: 3\nsoak_s: 60\nwaves: [{count: 1}]\n"
        "gates: {frames_min: 10, on_fail: abort}\n"
    )
    options = {"version": 4, "gates": {"frames_min": 20}, "waves": [{"percent": 100}], "name": None}
    assert asked(file, options) == {
        "model": "caps",
        "version": 4,
        "soak_s": 60,
        "waves": [{"percent": 100}],
        "gates": {"frames_min": 20, "on_fail": "abort"},
    }
    assert asked(file, {"bundle_digest": "ab"}).get("version") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"- a\n", "no mapping"),
        (b"a: [\n", "line 2"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"version: 3\n", "no model is named"),
        (b"a: &x 1\nb: *x\n", "an anchor"),
        (None, "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "r.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError) as refused:
        asked(file, {})
    assert said in refused.value.message
    assert refused.value.remedy


def test_every_option_of_start_is_sent_by_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = {"devices": [], "no_artifact": 0, "doubts": []}
    hub = Answers(monkeypatch, {"rollouts": [{**view(), "plan": plan}]})
    words = (
        "caps 2 --wave 1 --wave 100% --select site=a --soak-s 5 --success-percent 90 --failed-max 1"
        " --retries 2 --retry-after-s 60 --pace 30 --in-flight-max 9 --gates frames_min=9"
        " --on-fail pause --priority 5 --continuous --site-atomic --needs-approval"
        " --attempts-max 4 --timeout-s 9 --json"
    )
    said = ("--remark", "for the night", "--error", "FAILED > 5% then revert")
    result = argosy("start", *words.split(), *said)
    assert result.exit_code == 0, result.output
    assert hub.sent == [("POST", "rollouts", {
        "model": "caps", "version": 2, "waves": [{"count": 1}, {"percent": 100}],
        "selector": "site=a", "gates": {"frames_min": 9, "on_fail": "pause"},
        "pace": {"base_per_minute": 30}, "retries": {"count": 2, "after_s": 60},
        "errors": [{"kinds": ["FAILED"], "percent": 5, "then": "revert"}],
        "soak_s": 5, "success_percent": 90, "failed_max": 1, "needs_approval": True,
        "timeout_s": 9, "attempts_max": 4, "in_flight_max": 9, "site_atomic": True,
        "priority": 5, "continuous": True, "remark": "for the night",
    })]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "verb", "body"),
    [
        (("approve", "r-1", "--remark", "go"), "approve", {"remark": "go"}),
        (("pause", "r-1"), "pause", {"remark": ""}),
        (("resume", "r-1", "--remark", "seen"), "resume", {"remark": "seen"}),
        (("cancel", "r-1"), "cancel", {"remark": ""}),
        (("force", "r-1", "--remark", "no time"), "force", {"remark": "no time"}),
        (
            ("force", "r-1", "--wave", "2", "--remark", "on"),
            "force",
            {"remark": "on", "wave": 1},
        ),
        (("abort", "r-1", "--revert"), "abort", {"revert": True, "remark": ""}),
        (("abort", "r-1", "--keep"), "abort", {"revert": False, "remark": ""}),
        (("accept", "r-1", "--device", "a", "--remark", "ok"), "accept", {"remark": "ok"}),
    ],
)
def test_verbs_send_their_remark(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], verb: str, body: Any
) -> None:
    hub = Answers(monkeypatch, {verb: [view()]})
    result = argosy(*words, "--json")
    assert json.loads(result.output)["id"] == "r-1"
    ((method, path, sent),) = hub.sent
    assert (method, path.rsplit("/", 1)[-1], sent) == ("POST", verb, body)


def test_what_needs_a_word_is_not_sent_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Answers(monkeypatch, {})
    for words in (("force", "r-1"), ("abort", "r-1")):
        refused = argosy(*words).exception
        assert isinstance(refused, CommandError)
        assert "--" in refused.remedy
    assert hub.sent == []


def test_pins_and_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = {"device": "a", "model": "caps", "digest": "1" * 64, "version": 2, "by": "ada",
              "at": 1.0, "remark": "audit"}  # fmt: skip
    group = {"name": "pilot", "selector": "line=a", "devices": 2, "created_at": 1.0,
             "created_by": "ada"}  # fmt: skip
    hub = Answers(
        monkeypatch,
        {
            "caps": [pinned, {"restored": None, "reason": "nothing was there"}],
            "pins": [{"items": [pinned], "next": None}],
            "groups": [group, {"items": [group], "next": None}],
            "pilot": [group, None],
        },
    )
    assert argosy("pin", "a", "caps", "2", "--remark", "audit").exit_code == 0
    assert "nothing was there" in argosy("unpin", "a", "caps").output
    assert "audit" in argosy("pins", "--model", "caps").output
    assert hub.sent[0] == ("PUT", "devices/a/pins/caps", {"version": 2, "remark": "audit"})
    assert hub.sent[1][:2] == ("DELETE", "devices/a/pins/caps")
    for words in (("create", "pilot", "line=a"), ("list",), ("show", "pilot"), ("delete", "pilot")):
        result = CliRunner().invoke(groups, [*words, "--json"])
        assert result.exit_code == 0, result.output
        assert "pilot" in json.dumps(json.loads(result.output))
    assert hub.sent[3] == ("POST", "groups", {"name": "pilot", "selector": "line=a"})


def test_a_plan_shows_waves_builds_and_who_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    device = {"device": "a", "wave": 0, "digest": "1" * 64, "target": "onnx-fp32", "reason": "fits",
              "heard": True, "fallbacks": []}  # fmt: skip
    without = {**device, "device": "b", "wave": 1, "digest": None, "target": None,
               "reason": "the device has no runtime", "heard": False}  # fmt: skip
    counts = {"devices": 1, "no_artifact": 0, "unheard": 0, "offline": 1}
    wave = {"percent": None, "count": 1, "selector": None, "needs_approval": True, "gated": True}
    plan = {
        "model": "caps", "version": 2, "count": 2, "no_artifact": 1, "unheard": 1, "offline": 1,
        "waves": [{**wave, **counts}, {**wave, **counts, "no_artifact": 1, "gated": False}],
        "builds": [{"digest": "1" * 64, "target": "onnx-fp32", "devices": 1}],
        "doubts": ["failed_max: 9 tolerates the failure of all"],
        "pinned_count": 1,
        "pinned": [{"device": "c", "digest": "2" * 64, "version": 1, "by": "ada", "remark": "x"}],
        "devices": [without, device],
    }  # fmt: skip
    Answers(monkeypatch, {"preview": [plan]})
    result = argosy("plan", "caps", "2", "--wave", "1")
    assert result.exit_code == EXIT_NOT_ON_ALL
    for said in ("2 devices, 1 without a build", "when approved", "judges it", "onnx-fp32",
                 "it never said what it can run", "1 pinned and left out"):  # fmt: skip
        assert said in result.output, said
    assert "NO_ARTIFACT for b: the device has no runtime" in result.stderr
    assert "failed_max: 9 tolerates" in result.stderr
    assert json.loads(argosy("plan", "caps", "2", "--json").output)["count"] == 2


def test_the_template_is_a_file_that_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.yaml"
    assert argosy("template", "--out", str(file)).exit_code == 0
    assert argosy("template").output == file.read_text()
    hub = Answers(
        monkeypatch,
        {"rollouts": [{**view(), "plan": {"devices": [], "no_artifact": 0, "doubts": []}}]},
    )
    assert argosy("start", "-f", str(file), "--json").exit_code == 0
    assert hub.sent[0][2]["waves"][0] == {"count": 2, "soak_s": 3600, "success_percent": 100}
