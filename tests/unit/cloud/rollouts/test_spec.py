"""A rollout's specification: contradictions by field, and the file that it may come in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from cloud.errors import InvalidError
from cloud.rollouts.gating.policy import GatePolicy
from cloud.rollouts.request.spec import (
    SHOWN_BY,
    ErrorThreshold,
    Pace,
    Retries,
    RolloutCreate,
    RolloutSpec,
    ShadowAsked,
    WaveAsked,
    WindowAsked,
    read_spec,
    spec_of,
    template,
)
from cloud.rollouts.request.yaml_text import YAML_BYTES_MAX, mapping
from tests.unit.cloud.rollouts.conftest import Hub

CAPS = {"model": "caps", "version": 7}
NIGHTLY = {"cron": "0 2 * * *", "duration_s": 3600}
FILE = "model: caps\nversion: 7\n"


def threshold(**given: Any) -> dict[str, Any]:
    return {"kinds": ["FAILED"], "percent": 10, **given}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"waves": [{"percent": 10}, {"percent": 90}]}, "waves.1.percent: 90 is the last"),
        ({"waves": [{"percent": 10}, {"count": 5}]}, "waves.0.percent: 10 is the last"),
        ({"waves": [{"percent": 50}, {"percent": 50}]}, "waves.1.percent: 50 is not above 50"),
        ({"errors": [threshold(percent=100)]}, "errors.0.percent: more than 100 % never come"),
        (
            {"errors": [threshold(), threshold(then="revert", kinds=["FAILED", "REJECTED"])]},
            "errors.1.then: at 10 % of FAILED errors.0 says pause and this says revert",
        ),
        (
            {"errors": [threshold(then="abort", percent=5), threshold()]},
            "errors.1.percent: 10 is never reached, for errors.0 ends the rollout above 5",
        ),
        (
            {"errors": [threshold(), threshold(then="revert", percent=5)]},
            "errors.0.percent: 10 is never reached, for errors.1 ends the rollout above 5",
        ),
        ({"continuous": True, "devices": ["dev-0"]}, "continuous: devices names the only ones"),
        ({"timeout_s": 7200}, "timeout_s: 7200 is above total_timeout_s"),
        ({"probation_s": 900}, "step_timeout_s: 900 would end devices in their probation"),
        ({"total_timeout_s": 5}, "total_timeout_s: 5 is below step_timeout_s"),
        ({"pace": {"base_per_minute": 9, "per_minute_max": 3}}, "per_minute_max: 3 is below"),
        ({"waves": [{"count": 1, "gated": True}]}, "waves.0.gated: there are no gates"),
        (
            {"gates": {"confidence_harm_min": 0.01}},
            "gates.confidence_harm_min: 0.01 would tell harm of a fall that confidence_drop_max",
        ),
        ({"gates": {"every_s": 60, "deadline_s": 50}}, "gates.every_s: 60 leaves no time"),
        ({"window": {**NIGHTLY, "duration_s": 59}}, "window.duration_s: 59 is too short"),
        (
            {"window": {**NIGHTLY, "duration_s": 600}, "probation_s": 600},
            "window.duration_s: 600 is over before the probation of 600 s",
        ),
        ({"shadow": {}, "timeout_s": 3600}, "timeout_s: 3600 would end devices in their shadow"),
        ({"retries": {"count": 3}}, "attempts_max: 3 is below the 4 attempts"),
        ({"name": "caps\x1b[2J"}, r"name: U\+001B is a control character"),
        ({"remark": "\u202enight"}, r"remark: U\+202E is a control character"),
        ({"selector": 'line="a\n"'}, r"selector: U\+000A is a control character"),
        ({"waves": [{"selector": 'line="a\n"'}]}, r"waves.0.selector: U\+000A is a control"),
    ],
)
def test_contradictions_are_refused_by_field_and_remedy(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RolloutCreate.model_validate({**CAPS, **asked})


@pytest.mark.parametrize(
    "errors",
    [
        [threshold(), threshold(then="abort", percent=20)],
        [threshold(then="abort", executed_min=50), threshold(percent=20)],
        [threshold(), threshold(kinds=["REJECTED"], then="abort")],
        [threshold(), threshold()],
        [threshold(then="abort"), threshold(then="revert", percent=20)],
        [threshold(then="abort", percent=5), threshold(kinds=["FAILED", "REJECTED"])],
    ],
)
def test_thresholds_that_each_can_matter_stand_together(errors: list[dict[str, Any]]) -> None:
    assert len(RolloutCreate.model_validate({**CAPS, "errors": errors}).errors) == 2


def test_what_a_shadow_and_a_window_take_is_added_to_the_total_time() -> None:
    window = {"cron": "0 2 * * *", "duration_s": 60}
    plain = RolloutCreate.model_validate(CAPS)
    waiting = RolloutCreate.model_validate({**CAPS, "window": window, "shadow": {}})
    given_s = RolloutCreate.model_validate({**CAPS, "window": window, "total_timeout_s": 1000})
    assert plain.total_timeout_s == 3600
    assert waiting.total_timeout_s == 3600 + 3600 + 8 * 86_400
    assert given_s.total_timeout_s == 1000


def test_a_stored_rollout_is_read_by_the_rules_of_its_time(hub: Hub) -> None:
    """One whose percentages did not reach 100 was made before they had to."""
    rollout = hub.rollout(hub.create())
    rollout.spec = {**rollout.spec, "waves": [{"percent": 10}, {"count": 5}], "timeout_s": 9999}
    assert [wave.percent for wave in spec_of(rollout).waves] == [10, None]


def test_the_template_is_a_rollout_that_shows_every_field() -> None:
    asked = read_spec(template())
    assert asked.model == "caps"
    shown = template()
    parts: tuple[type[BaseModel], ...] = (
        RolloutCreate, WaveAsked, Pace, ErrorThreshold, Retries, ShadowAsked, WindowAsked,
        GatePolicy,
    )  # fmt: skip
    missing = [
        f"{part.__name__}.{name}"
        for part in parts
        for name in part.model_fields
        if f"{name}:" not in shown and f"`{name}`" not in shown and name != "accepted"
    ]
    assert missing == []


@pytest.mark.parametrize("policy", [GatePolicy, ShadowAsked])
def test_the_template_shows_the_defaults_of_what_it_explains(policy: type[BaseModel]) -> None:
    asked = read_spec(template())
    found = asked.gates if policy is GatePolicy else asked.shadow
    assert found == policy()


def test_what_is_stored_reads_as_a_file() -> None:
    """JSON is YAML: what one rollout was can be the file of the next."""
    asked = read_spec(template())
    again = read_spec(json.dumps(asked.model_dump(mode="json")))
    assert again == asked
    assert RolloutSpec.model_validate(asked.model_dump(exclude=set(CAPS) | {"bundle_digest"}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no mapping of fields"),
        ("- model: caps", "no mapping of fields"),
        ("7: caps", "7 is no field"),
        (FILE + f"bundle_digest: {'a' * 64}", "version: bundle_digest names a build, too"),
        ("model: caps", "version: it is missing"),
        (FILE + "wawes: []", "wawes: there is no such field"),
        (FILE + "waves:\n- percent: 10\n  soak: 5", "waves.0.soak: there is no such field"),
        (FILE + "waves: [{percent: 50}]", "waves.0.percent: 50 is the last"),
        (FILE + "pace: {base_per_minute: fast}", "pace.base_per_minute: "),
        (FILE + "soak_s: .inf", "soak_s: "),
        (FILE + "window: {cron: '0 0 30 2 *', duration_s: 60}", "window: cron"),
        (FILE + "window: {cron: * * * * *, duration_s: 60}", "quote a value that begins with"),
        (FILE + "name: &a x", "line 3: an anchor or an alias"),
        (FILE + "name: *a", "line 3: an anchor or an alias"),
        (FILE + "model: other", "line 3: the key 'model' comes twice"),
        (FILE + "retries: {count: 1, count: 2}", "the key 'count' comes twice"),
        (FILE + "---\nmodel: caps", "another document"),
        (FILE + "x: !!python/object/apply:os.getcwd []", "line 3: a tag"),
        (FILE + "x: [", "the file is refused"),
        (FILE + f"x: {'9' * 5000}", "a value that cannot be read"),
        ("[" * 50_000, "nested too deep"),
        (FILE + "#" * YAML_BYTES_MAX, f"over {YAML_BYTES_MAX} bytes"),
        (FILE + "#" + "ä" * (YAML_BYTES_MAX // 2), f"over {YAML_BYTES_MAX} bytes"),
    ],
)
def test_a_file_that_is_no_rollout_is_refused_by_place_and_remedy(text: str, said: str) -> None:
    with pytest.raises(InvalidError) as refused:
        read_spec(text)
    assert said in refused.value.message
    assert refused.value.remedy


def test_a_text_of_aliases_does_not_grow() -> None:
    bomb = "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(50))
    with pytest.raises(InvalidError, match="line 1: an anchor"):
        read_spec(bomb)


PIECES = st.sampled_from(
    ["model: caps", "version: 7", "waves:", "- percent: 100", "&a", "*a", "!!int x", "{", "}",
     "? ", "<<: {a: 1}", "[", "]", "\n", "  ", ": ", "'", '"', "|", ">", "%YAML 9.9", "---", "0x",
     "1:2:3", "=", "~", "\t", "é", "2001-01-01", "!!binary ###", "!!set {a}", "!!timestamp z"]
)  # fmt: skip


@settings(deadline=None)
@given(text=st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=12).map("".join)))
def test_whatever_a_file_says_it_is_read_or_refused(text: str) -> None:
    try:
        read_spec(text)
    except InvalidError as error:
        assert error.message
        assert error.remedy


@pytest.mark.parametrize("text", ["2026-01-01", "no", "Off", "y", "1:30", "1_000", "<<", "="])
def test_what_is_text_by_yaml_1_2_stays_text(text: str) -> None:
    assert read_spec(f"model: caps\nversion: 1\nname: {text}\n").name == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10), ("0o10", 8), ("0x1F", 31), ("-3", -3), ("1e3", 1000.0), (".5", 0.5),
        ("+4.", 4.0), ("true", True), ("FALSE", False), ("~", None), ("", None), ("Null", None),
        ("yes", "yes"), ("1:30", "1:30"), ("0b1", "0b1"), (".", "."), ("'7'", "7"), ("nan", "nan"),
    ],
)  # fmt: skip
def test_a_plain_value_is_what_the_core_schema_of_yaml_1_2_says(text: str, value: Any) -> None:
    found = mapping(f"x: {text}")["x"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("asked", "place", "remedy"),
    [
        ({"pace": {"base_per_minute": 9, "facter": 2}}, "pace.facter", "did you mean factor?"),
        ({"pace": {"per_minute": 9}}, "pace.per_minute", "did you mean per_minute_max?"),
        ({"modle": "caps"}, "modle", "did you mean model?"),
        ({"failed-max": 3}, "failed-max", "did you mean failed_max?"),
        ({"waves": [{"count": 1}, {"percnt": 9}]}, "waves.1.percnt", "did you mean percent?"),
        ({"shadow": {"shaer": 1}}, "shadow.shaer", "did you mean share?"),
        ({"errors": [{"xyz": 1}]}, "errors.0.xyz", SHOWN_BY),
        ({"x\x1b[2J": 1}, "x\ufffd[2J", SHOWN_BY),
    ],
)
def test_a_misspelt_field_is_named_as_it_was_written(
    asked: dict[str, Any], place: str, remedy: str
) -> None:
    """Before a field is missed that the misspelt one was meant to be."""
    with pytest.raises(InvalidError) as refused:
        read_spec(json.dumps({"version": 1, **asked}))
    assert refused.value.message == f"{place}: there is no such field"
    assert refused.value.remedy == remedy


@pytest.mark.parametrize(
    ("asked", "message", "remedy"),
    [
        ({"failed_max": True}, "failed_max: true is no number", "give one"),
        ({"waves": [{"percent": True}]}, "waves.0.percent: true is no number", "give one"),
        ({"shadow": {"share": True}}, "shadow.share: true is no number", "give one"),
        ({"window": NIGHTLY | {"duration_s": False}}, "window.duration_s: false is no", "give one"),
        ({"gates": "on"}, "gates: 'on' is no set of fields", "or {} for its defaults"),
        ({"pace": 30}, "pace: 30 is no set of fields", "(base_per_minute, factor, "),
        ({"waves": ["10%"]}, "waves.0: '10%' is no set of fields", "(percent, count, "),
        ({"pace": {}}, "pace.base_per_minute: it is missing", "add it"),
        ({"soak_s": -1}, "soak_s: it should be greater than or equal to 0", SHOWN_BY),
        ({"soak_s": "soon"}, "soak_s: ", SHOWN_BY),
    ],
)
def test_a_value_that_is_none_of_its_field_is_refused_with_what_to_write(
    asked: dict[str, Any], message: str, remedy: str
) -> None:
    with pytest.raises(InvalidError) as refused:
        read_spec(json.dumps({**CAPS, **asked}))
    assert refused.value.message.startswith(message)
    assert remedy in refused.value.remedy


def test_a_rollout_without_gates_that_was_written_out_is_read_again() -> None:
    """It says of each wave that gates would hold it, and that there are none."""
    asked = RolloutCreate.model_validate({**CAPS, "waves": [{"count": 1}]})
    assert read_spec(json.dumps(asked.model_dump(mode="json"))) == asked
