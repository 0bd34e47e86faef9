"""Two builds on the same images: what is served, found, doubled, and renamed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cloud.annotation.models import AnnotationTask
from cloud.datasets.boxes import LabelBox
from cloud.datasets.service import Item, Split
from cloud.errors import InvalidError
from cloud.evaluation.coco import ScoredBox
from cloud.evaluation.predictions import SeenImage
from cloud.promotion import bootstrap, evidence
from cloud.promotion.comparing import Answers, compare, renamed
from cloud.promotion.policy import GatePolicy, of_model
from cloud.promotion.recent import newest_random
from protocol.bundles import Calibration, Thresholds

NAMES = ("a", "b")
LEFT, RIGHT = (10.0, 10.0, 30.0, 30.0), (60.0, 60.0, 90.0, 90.0)


def labelled(digest: str) -> Item:
    return Item(
        image=digest * 64, size_bytes=1, width=100, height=100, suffix=".png", split=Split.GOLDEN,
        boxes=(LabelBox(0, 0.2, 0.2, 0.2, 0.2), LabelBox(1, 0.75, 0.75, 0.3, 0.3)),
        difference_hash="", source="x",
    )  # fmt: skip


def answers(*boxes: tuple[int, float, Any], digest: str = "a", **more: Any) -> Answers:
    found = tuple(ScoredBox(c, box, p) for c, p, box in boxes)
    image = SeenImage(digest * 64, 100, 100, None, found)
    given: dict[str, Any] = {"class_names": NAMES, "thresholds": Thresholds(), "calibration": None}
    return Answers(**{**given, **more}, seen={image.image: image})


def test_critical_objects_go_by_what_is_served() -> None:
    whole = answers((0, 0.9, LEFT), (1, 0.9, RIGHT))
    faint = answers((0, 0.2, LEFT), (1, 0.9, RIGHT))
    found = compare([labelled("a")], faint, whole, frozenset({0, 1}))
    assert [o.class_id for o in found.missed] == [0]
    assert found.missed[0].box == pytest.approx(LEFT)
    assert found.found == ()
    assert [o.class_id for o in compare([labelled("a")], whole, faint, frozenset({0})).found] == [0]
    assert compare([labelled("a")], faint, whole, frozenset({1})).missed == ()
    low = answers((0, 0.2, LEFT), (1, 0.9, RIGHT), thresholds=Thresholds(per_class={0: 0.1}))
    assert compare([labelled("a")], low, whole, frozenset({0})).missed == ()


def test_images_that_changed_go_by_objects_found_less_wrong_boxes() -> None:
    whole = answers((0, 0.9, LEFT), (1, 0.9, RIGHT))
    wrong = answers((0, 0.9, LEFT), (1, 0.9, RIGHT), (0, 0.9, (50.0, 0.0, 60.0, 9.0)))
    found = compare([labelled("a")], wrong, whole)
    assert [c.gain for c in found.worse()] == [-1]
    assert found.better() == ()
    assert [c.gain for c in compare([labelled("a")], whole, wrong).better()] == [1]
    assert compare([labelled("a")], whole, whole).changed == ()


def test_only_images_that_both_have_seen_are_compared() -> None:
    items = [labelled("a"), labelled("b")]
    assert compare(items, answers(digest="a"), answers(digest="b")).paired.images == ()
    assert compare(items, answers(digest="b"), None).paired.images == ("b" * 64,)


def test_an_incumbent_with_other_classes_is_read_in_the_candidates() -> None:
    old = answers(
        (0, 0.9, RIGHT), (1, 0.9, LEFT), (2, 0.9, LEFT),
        class_names=("b", "a", "gone"), thresholds=Thresholds(per_class={0: 0.5, 2: 0.1}),
    )  # fmt: skip
    new = renamed(old, NAMES)
    assert [d.class_id for d in new.seen["a" * 64].detections] == [1, 0]
    assert new.thresholds.per_class == {1: 0.5}
    whole = answers((0, 0.9, LEFT), (1, 0.9, RIGHT))
    assert compare([labelled("a")], whole, old).changed == ()


def test_doubled_boxes_and_calibrated_confidences_are_counted() -> None:
    line = Calibration(raw=(0.0, 1.0), calibrated=(0.0, 0.5))
    twice = answers((0, 0.9, LEFT), (1, 0.8, LEFT), (1, 0.1, LEFT), calibration=line)
    side = compare([labelled("a")], twice, None).paired.candidate
    assert (side.served.tolist(), side.duplicates.tolist()) == ([2.0], [1.0])
    assert side.calibrated[0] == pytest.approx([0.45])
    once = np.ones((1, 1))
    assert bootstrap.duplicate_rate(side, once) == pytest.approx([0.5])
    # 0.9 is worth 0.45 and right, 0.8 is worth 0.4 and wrong: in one bin. 0.1 lies in another.
    assert bootstrap.calibration_error(side, once) == pytest.approx(
        [(abs(0.45 - 1 + 0.4) + 0.05) / 3]
    )
    bins = evidence.reliability(side)
    assert [b["count"] for b in bins] == [1, 2]


def task(number: int, **other: Any) -> AnnotationTask:
    values: dict[str, Any] = {
        "id": number, "sample_id": str(number), "device_id": "d", "camera": "c", "slot": "caps",
        "frame_id": "f", "image_sha256": f"{number:064d}", "width": 9, "height": 9,
        "class_names": list(NAMES), "predictions": [], "reason": "random",
        "selection_probability": 0.1, "captured_at": float(number), "state": "DONE", "boxes": [],
        "created_at": 0.0, "updated_at": float(number),
    }  # fmt: skip
    return AnnotationTask(**{**values, **other})


def test_recent_images_are_random_new_and_of_this_model() -> None:
    tasks = [
        task(1), task(2), task(3, reason="uncertain"), task(4, slot="other"),
        task(5, class_names=["a"]), task(6, boxes=None), task(7),
        task(8, image_sha256=f"{2:064d}", captured_at=2.0),
    ]  # fmt: skip

    def chosen(images_max: int) -> list[int | None]:
        found = newest_random(
            tasks, model="caps", class_names=NAMES,
            known_images=frozenset({f"{7:064d}"}), images_max=images_max,
        )  # fmt: skip
        return [t.id for t in found]

    assert chosen(10) == [8, 1]
    assert chosen(1) == [8]
    assert chosen(0) == []


def test_a_models_policy_overrides_and_is_checked() -> None:
    policy = of_model({"alpha": 0.01, "critical_classes": ["a"]}, NAMES)
    assert (policy.alpha, policy.map50_margin) == (0.01, GatePolicy().map50_margin)
    for wrong in ({"alpha": 0.9}, {"alpha": float("nan")}, {"bootstrap_rounds": 10**9}):
        with pytest.raises(InvalidError, match=next(iter(wrong))):
            of_model(wrong, NAMES)
