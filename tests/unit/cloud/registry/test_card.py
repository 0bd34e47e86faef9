"""The model card: everything that the records say, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloud.registry.card import BuildFacts, CardFacts, write

METRICS = {
    "map50": 0.81234,
    "map50_95": 0.5,
    "images": 150,
    "truth_boxes": 900,
    "ece_raw": 0.09,
    "ece_calibrated": 0.02,
    "duplicate_rate": 0.01,
    "per_class": {
        "scratch": {"map50": 0.9, "truth_boxes": 800, "threshold": 0.4, "f1": 0.85},
        "dent": {"map50": 0.6, "truth_boxes": 12},
    },
    "per_slice": {"lighting": {"dark": {"map50": 0.5}, "bright": {"map50": 0.85}}},
    "robustness": {"blur": {"3": {"relative": 0.7}}},
}
BUILDS = (
    BuildFacts(
        "a" * 64, "onnx-fp32-320x320", "EVALUATED", 9_000_000,
        {"map50": 0.81234, "map50_95": 0.5, "latency_ms_median": 18.5}, {"admitted": True},
    ),
    BuildFacts(
        "b" * 64, "openvino-int8-320x320", "REJECTED", 3_000_000,
        {"map50": 0.61}, {"admitted": False, "reasons": ["mAP50 fell by 0.2"]},
    ),
)  # fmt: skip
FACTS = CardFacts(
    model="caps",
    number=3,
    class_names=("scratch", "dent"),
    created_at=1_790_000_000.0,
    created_by="ada",
    source="training",
    parent=2,
    dataset="line-7",
    dataset_version=4,
    dataset_digest="d" * 64,
    weights_sha256="e" * 64,
    lineage={
        "seed": 7,
        "code": "abc123",
        "parameters": {"epochs": 30, "imgsz": 320},
        "environment": {"torch": "2.9"},
    },
    metrics=METRICS,
    builds=BUILDS,
    splits={"golden": 150, "train": 1000},
    left_out=5,
    aliases=("production",),
    notes=(("ada", "good in daylight"),),
)

SAID = [
    "# caps v3",
    "tells 2 classes apart: scratch, dent",
    "`production`",
    "`line-7` version 4",
    "| golden | 150 |",
    "5 images were left out",
    "from the weights of v2",
    "| epochs | 30 |",
    "150 golden images with 900 boxes: mAP50 0.8123",
    "| scratch | 0.9 |",
    "| onnx-fp32-320x320 `aaaaaaaaaaaa` | EVALUATED | 0.8123 | 0.5 | 18.5 | 9000000 | admitted |",
    "rejected: mAP50 fell by 0.2",
    "0.09 raw, 0.02 calibrated",
    "| blur 3 relative | 0.7 |",
    "Under 50 boxes in the evaluation, so figures say little: dent (12).",
    "Weak where lighting is dark: mAP50 0.5 against 0.8123 overall",
    "AGPL-3.0, through Ultralytics",
    "| seed | 7 |",
    "| code | abc123 |",
    "| environment | torch 2.9 |",
    "a" * 64,
    "d" * 64,
    "good in daylight (ada)",
]


@pytest.mark.parametrize("text", SAID)
def test_the_card_says(text: str) -> None:
    assert text in write(FACTS)


def test_it_says_no_more_than_it_knows() -> None:
    bare = replace(
        FACTS, metrics={}, lineage={}, splits=None, left_out=None, aliases=(), notes=(),
        parent=None, source="import", builds=(replace(BUILDS[0], metrics={}, verdict={}),),
    )  # fmt: skip
    card = write(bare)
    for text in (
        "It was not evaluated.",
        "not on this hub: counts are not recorded",
        "brought from outside",
        "Not evaluated: robustness.",
        "Not evaluated: calibration.",
        "Builds without an evaluation: onnx-fp32-320x320.",
        "| parent | none |",
        "| seed | not recorded |",
    ):
        assert text in card
    assert "## Robustness" not in card
    assert "## Notes" not in card
    assert "bright" not in write(FACTS).split("## Limits")[1]


def test_the_policy_may_name_another_licence_and_a_revoked_version_says_so() -> None:
    card = write(replace(FACTS, policy={"licence": "Enterprise"}, revoked=True))
    assert "Enterprise." in card
    assert "AGPL" not in card
    assert "It is revoked" in card


@pytest.mark.parametrize(
    ("came_with", "expected"),
    [("CC BY 4.0", "CC BY 4.0."), ("", "Enterprise."), (None, "Enterprise."), (7, "Enterprise.")],
)
def test_an_imported_file_keeps_the_licence_that_it_came_with(
    came_with: object, expected: str
) -> None:
    lineage = {**FACTS.lineage, "imported": {"licence": came_with}}
    card = write(replace(FACTS, lineage=lineage, policy={"licence": "Enterprise"}))
    assert card.split("## Licence")[1].split("##")[0].strip() == expected


def test_the_provenance_names_the_parent_once_and_times_as_people_do() -> None:
    times = {"started_at": 1_796_000_000.5, "training_ended_at": None, "registered_at": 1e300}
    card = write(replace(FACTS, lineage={**FACTS.lineage, "parent": 2, **times}))
    assert card.count("| parent |") == 1
    assert "| parent | v2 |" in card
    assert "| started at | 2026-11-30 00:53 UTC |" in card
    assert "| training ended at | - |" in card
    assert "| registered at | 1e+300 |" in card


def test_names_from_outside_break_no_table() -> None:
    metrics = {**METRICS, "per_class": {"a|b\n# c <script>": {"map50": 0.1, "truth_boxes": 90}}}
    card = write(replace(FACTS, metrics=metrics, notes=(("eve", "x\n# y"),)))
    assert "| a\\|b # c &lt;script> | 0.1 |" in card
    assert "\n# c" not in card
    assert "\n# y" not in card


def test_classes_that_the_evaluation_lacks_are_named_in_one_line() -> None:
    per_class = {
        "scratch": {"map50": 0.9, "truth_boxes": 800},
        "dent": {"map50": None, "truth_boxes": 0},
        "hole": {"map50": 0.5, "truth_boxes": 7},
        "spur": {"map50": 0.4, "truth_boxes": 9},
    }
    names = ("scratch", "dent", "hole", "spur", "open")
    card = write(replace(FACTS, class_names=names, metrics={**METRICS, "per_class": per_class}))
    assert "- No box in the evaluation, so nothing is known of: dent, open.\n" in card
    assert "figures say little: hole (7), spur (9).\n" in card


def test_controls_are_not_passed_on() -> None:
    card = write(replace(FACTS, notes=(("ada", "good \x1b[2J\u202eyad"),)))
    assert "good \ufffd[2J\ufffdyad (ada)" in card


@pytest.mark.parametrize(
    ("parent", "weights", "started"),
    [(2, "parent", "the weights of v2"), (None, "file:best.pt", "the checkpoint `best.pt`")],
)
def test_weights_that_were_taken_as_they_are_have_no_recipe(
    parent: int | None, weights: str, started: str
) -> None:
    parameters = {"epochs": 0, "imgsz": 320, "lr0": 0.001, "mosaic": 1.0}
    lineage = {**FACTS.lineage, "parameters": parameters, "weights": weights}
    training = _section(write(replace(FACTS, parent=parent, lineage=lineage)), "Training")
    taken = "Nothing was trained here: the weights are taken as they are from"
    assert training.startswith(f"{taken} {started}.")
    assert "| imgsz | 320 |" in training
    assert "lr0" not in training
    assert "mosaic" not in training


def test_the_training_says_first_what_it_began_with() -> None:
    lineage = {**FACTS.lineage, "weights": "scratch"}
    card = write(replace(FACTS, parent=None, lineage=lineage))
    assert _section(card, "Training").startswith("Trained from nothing.")
    assert "\n\n\n" not in card


def test_a_decision_by_hand_stands_before_what_the_evaluation_said() -> None:
    hand = {"by": "ann", "at": 1_796_000_000.5, "outcome": "REJECTED", "reason": "misses scratches"}
    held = replace(BUILDS[0], state="REJECTED", verdict={"admitted": True, "by_hand": hand})
    card = write(replace(FACTS, builds=(held,)))
    assert (
        "REJECTED by ann on 2026-11-30 00:53 UTC: misses scratches (evaluation: admitted)" in card
    )
    older = write(replace(FACTS, builds=(replace(BUILDS[1], state="EVALUATED"),)))
    found = "evaluation: rejected: mAP50 fell by 0.2"
    assert f"ADMITTED by hand, as `argosy audit` tells ({found})" in older


def _section(card: str, name: str) -> str:
    return card.split(f"## {name}")[1].split("##", maxsplit=1)[0].strip()
