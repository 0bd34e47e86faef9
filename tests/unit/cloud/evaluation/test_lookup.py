"""What is handed on of an evaluation that is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cloud.evaluation import perturbed
from cloud.evaluation.lookup import Evaluations
from cloud.settings import BuildingSettings


@pytest.mark.parametrize(
    ("clean", "relative", "found"),
    [(0.5, 0.8, {"light 1": 0.8}), (0.0, None, None), (None, None, {})],
)
def test_robustness_of_what_sees_nothing_is_undefined(
    monkeypatch: pytest.MonkeyPatch, clean: float | None, relative: float | None, found: Any
) -> None:
    table = {"clean": clean, "per_perturbation": {"light": {"relative": [relative]}}}
    known = SimpleNamespace(metrics={"robustness": table})
    monkeypatch.setattr(perturbed, "choose", lambda *_: ["an image"])
    monkeypatch.setattr(Evaluations, "_manifest", lambda *_: SimpleNamespace(of=lambda _: ()))
    monkeypatch.setattr(Evaluations, "_known", lambda *_: known)
    evaluations = Evaluations(cast(Any, None), BuildingSettings(), cast(Any, None))
    assert evaluations.robustness(cast(Any, None), cast(Any, None)) == found
