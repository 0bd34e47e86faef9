"""Whether what was brought from outside is admitted by what it finds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cloud.building import judging
from cloud.building.making import Base
from cloud.building.targets import parse
from cloud.building.workshop import Order, Workshop, as_it_is
from cloud.evaluation.tolerance import Tolerance, Verdict

PER_CLASS = {"dent": {"map50": 0.0, "truth_boxes": 7}, "rust": {"map50": 0.0, "truth_boxes": 5}}


def judged(monkeypatch: pytest.MonkeyPatch, *, imported: bool, boxes_min: int = 12) -> Verdict:
    """The verdict on an fp32 file without an original that finds none of twelve objects."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("there is no original to compare its input with")

    monkeypatch.setattr(judging, "_diagnosis", refuse)
    base = Base(Path("model.onnx"), 17)
    order = Order(parse("onnx-fp32@64", 64), as_it_is(base), base, imported=imported)
    shop = SimpleNamespace(tolerance=Tolerance(blind_boxes_min=boxes_min))
    return judging.verdict_of(
        cast(Any, None), order, cast(Any, None), cast(Workshop, shop),
        metrics={"map50": 0.0, "map50_95": 0.0, "per_class": PER_CLASS}, parity=None,
    )  # fmt: skip


def test_an_import_that_finds_nothing_is_rejected_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verdict = judged(monkeypatch, imported=True)
    assert not verdict.admitted
    (reason,) = verdict.reasons
    assert reason.startswith("it finds none of the 12 labelled objects (mAP50 is 0)")
    assert not any(line.startswith("accuracy") for line in verdict.figures["unjudged"])


def test_of_few_objects_or_of_a_training_that_says_nothing_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for verdict in (
        judged(monkeypatch, imported=True, boxes_min=13),
        judged(monkeypatch, imported=False),
    ):
        assert verdict.admitted
        assert any("finds none" in line for line in verdict.figures["unjudged"])
