"""Admission: each limit alone refuses, with figures an engineer can act on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.evaluation.parity import Parity
from cloud.evaluation.tolerance import Tolerance, accuracy_warnings, judge

EXACT = Parity(4, 20, 0, 0.2, 0.001, 1.0)
HINT = "activation ranges are those of noise"


def figures(**changed: Any) -> dict[str, Any]:
    per_class = {
        "dent": {"map50": 0.8, "truth_boxes": 60},
        "rare": {"map50": 0.9, "truth_boxes": 10},
    }
    return {
        "map50": 0.85, "map50_95": 0.6, "per_class": per_class, "duplicate_rate": 0.01,
        "ece_raw": 0.2, "ece_calibrated": 0.03, "latency_ms_median": 10.0,
        "served_boxes": 100, "ece_detections": 100, **changed,
    }  # fmt: skip


def test_a_build_like_its_original_is_admitted() -> None:
    verdict = judge(figures(), figures(), replace(EXACT, unmatched=3), [HINT], Tolerance())
    assert (verdict.admitted, verdict.reasons) == (True, ())
    assert verdict.figures["map50"] == {
        "build": 0.85, "baseline": 0.85, "change": 0.0, "allowed": 0.02,
    }  # fmt: skip
    assert "map50 of rare" not in verdict.figures, "ten boxes say nothing"
    assert json.dumps(verdict.as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"map50": 0.82}, "mAP50 is 0.82 against 0.85 of the original: worse by 0.03, "
                          "tolerance 0.02"),
        ({"map50_95": 0.57}, "mAP50-95 is 0.57"),
        ({"duplicate_rate": 0.04}, "share of duplicates is 0.04"),
        ({"ece_calibrated": 0.09}, "expected calibration error is 0.09"),
        ({"ece_calibrated": None}, "expected calibration error is 0.2"),
        ({"per_class": {"dent": {"map50": 0.74, "truth_boxes": 60}}}, "mAP50 of dent is 0.74"),
        ({"latency_ms_median": 16.0}, "median latency is 16 ms against 10 ms"),
        ({"map50": float("nan")}, "mAP50 is nan"),
        ({"map50": None}, "there is no mAP50"),
    ],
)  # fmt: skip
def test_each_limit_refuses_with_its_figures_and_the_hints(
    changed: dict[str, Any], words: str
) -> None:
    tolerance = Tolerance(latency_ratio_max=1.5)
    verdict = judge(figures(**changed), figures(), None, [HINT], tolerance)
    assert not verdict.admitted
    assert len(verdict.reasons) == 2
    assert words in verdict.reasons[0]
    assert verdict.reasons[1] == HINT


def test_latency_is_not_asked_for_by_itself_and_better_is_never_refused() -> None:
    better = figures(map50=0.95, ece_calibrated=0.0, duplicate_rate=0.0, latency_ms_median=99.0)
    assert judge(better, figures(), None, [], Tolerance()).admitted
    small = {"per_class": {"rare": {"map50": 0.1, "truth_boxes": 10}}}
    assert judge(figures(**small), figures(), None, [], Tolerance()).admitted


@pytest.mark.parametrize(
    ("parity", "words"),
    [
        (replace(EXACT, unmatched=1), "1 objects without a counterpart, tolerance 0"),
        (replace(EXACT, box_error_px_max=2.0), "2 px between edges"),
        (replace(EXACT, confidence_error_max=0.034), "0.034 between confidences"),
    ],
)
def test_the_first_build_is_held_to_parity_with_pytorch(parity: Parity, words: str) -> None:
    assert judge(figures(), None, EXACT, [], Tolerance()).admitted
    verdict = judge(figures(), None, parity, [], Tolerance())
    assert not verdict.admitted
    assert words in verdict.reasons[0]
    assert judge(figures(), figures(), parity, [], Tolerance()).admitted, "int8 may move"
    assert not judge(figures(), figures(), parity, [], Tolerance(), exact=True).admitted


def test_without_an_original_or_truth_it_says_what_was_not_judged() -> None:
    verdict = judge(figures(map50=None), None, None, [], Tolerance())
    assert verdict.admitted
    assert [line.split(":")[0] for line in verdict.figures["unjudged"]] == ["accuracy", "parity"]


def test_the_trainers_figure_and_known_faults_refuse() -> None:
    assert not judge(figures(), None, EXACT, [], Tolerance(), trainer_map50=0.9).admitted
    assert judge(figures(), None, EXACT, [], Tolerance(), trainer_map50=0.86).admitted
    spoiled = judge(figures(), figures(), None, ["BGR", HINT], Tolerance(), faults=["BGR"])
    assert spoiled.reasons == ("BGR", HINT)


@pytest.mark.parametrize(
    ("count", "worse", "words"),
    [
        ("served_boxes", {"duplicate_rate": 0.0714},
         "duplicates: judged from 100 served boxes on; the build has "),
        ("ece_detections", {"ece_calibrated": 0.5},
         "calibration error: judged from 100 detections on; the build has "),
    ],
)  # fmt: skip
def test_shares_of_few_detections_are_chance_and_not_judged(
    count: str, worse: dict[str, float], words: str
) -> None:
    enough = judge(figures(**worse), figures(), None, [], Tolerance())
    assert (enough.admitted, enough.figures["unjudged"]) == (False, [])
    for mine, other, told in ((99, 100, "99, the original 100"), (None, 99, "no count, the")):
        build, original = figures(**worse, **{count: mine}), figures(**{count: other})
        few = judge(build, original, None, [], Tolerance())
        assert few.admitted
        (unjudged,) = few.figures["unjudged"]
        assert unjudged.startswith(words + told)
        assert set(worse) - set(few.figures)
    least = Tolerance(served_boxes_min=99, ece_detections_min=99)
    few = judge(figures(**worse, **{count: 99}), figures(), None, [], least)
    assert not few.admitted


@given(st.floats(0, 1), st.floats(0, 1))
def test_admission_is_the_limit_and_nothing_else(build: float, original: float) -> None:
    verdict = judge(figures(map50=build), figures(map50=original), None, [], Tolerance())
    assert verdict.admitted == (original - build <= 0.02)


@pytest.mark.parametrize(
    ("build", "baseline", "admitted", "told"),
    [
        (0.0, None, True, True),
        (0.0, 0.0005, True, True),
        (0.85, 0.85, True, False),
        (0.0, 0.85, False, False),
        (0.85, None, True, False),
    ],
)
def test_a_network_that_finds_nothing_is_said_to_be_unjudged(
    build: float, baseline: float | None, admitted: bool, told: bool
) -> None:
    against = None if baseline is None else figures(map50=baseline)
    verdict = judge(figures(map50=build), against, EXACT, [], Tolerance())
    assert verdict.admitted == admitted
    warned = accuracy_warnings(verdict.as_dict())
    assert ["finds none of the labelled objects" in line for line in warned] == [True] * told


def test_a_verdict_without_figures_warns_of_nothing() -> None:
    assert accuracy_warnings({}) == []
