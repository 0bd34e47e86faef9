"""The annotator: true where it should be, wrong as often as it was told to be."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.annotator import Mistakes, Oracle, TruthBook, corrupt
from simulators.hub import HubError
from simulators.scenes import Box

BOXES = tuple(Box(n % 3, 10.0 * n, 5.0, 10.0 * n + 8, 25.0) for n in range(20))


class FakeHub:
    """The hub's annotation interface in memory."""

    def __init__(self, tasks: list[dict[str, Any]]) -> None:
        self.tasks = {task["id"]: task for task in tasks}
        self.labels: dict[int, list[dict[str, Any]]] = {}
        self.skipped: list[int] = []

    def items(self, path: str, **params: Any) -> list[dict[str, Any]]:
        assert path == "/annotation/tasks" and params["state"] == "pending"
        done = self.labels.keys() | set(self.skipped)
        return [t for i, t in self.tasks.items() if i not in done]

    def put(self, path: str, body: dict[str, Any]) -> None:
        if self.tasks[int(path.rsplit("/", 1)[1])].get("taken"):
            raise HubError(409, "somebody else has labelled it")
        self.labels[int(path.rsplit("/", 1)[1])] = body["boxes"]

    def post(self, path: str) -> None:
        self.skipped.append(int(path.split("/")[3]))


def task(number: int, **more: Any) -> dict[str, Any]:
    size = {"width": 100, "height": 100}
    return {"id": number, "frame_id": f"c-{number}", "class_names": ["a", "b"], **size, **more}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.jsonl"
    boxes = [[0, 10, 10, 30, 30], [1, 90, 90, 120, 95], [2, 1, 1, 9, 9]]
    path.write_text(
        "".join(
            json.dumps({"connection": "c", "index": n, "boxes": boxes}) + "\n" for n in range(3)
        )
    )
    return path


def oracle(hub: FakeHub, truth: Path) -> Oracle:
    return Oracle(hub, TruthBook([truth]))  # type: ignore[arg-type]


def test_true_boxes_are_put_cut_at_the_edge(truth: Path) -> None:
    hub = FakeHub([task(0), task(1)])
    annotator = oracle(hub, truth)
    assert annotator.work() == 2
    assert annotator.work() == 0
    assert hub.labels[0] == [
        {"class_id": 0, "box": [10, 10, 30, 30]},
        {"class_id": 1, "box": [90, 90, 100, 95]},
    ]
    assert (annotator.done.labelled, annotator.done.skipped) == (2, 0)
    assert annotator.done.last_label_at is not None


def test_an_unknown_frame_is_skipped_and_a_taken_one_left(truth: Path) -> None:
    hub = FakeHub([task(7), task(1, taken=True)])
    annotator = oracle(hub, truth)
    annotator.work()
    assert hub.skipped == [7]
    assert (annotator.done.labelled, annotator.done.skipped) == (0, 1)


def test_a_log_that_grows_is_read_on(truth: Path) -> None:
    book = TruthBook([truth, truth.with_name("later.jsonl")])
    assert book.boxes("c-5") is None
    line = json.dumps({"connection": "c", "index": 5, "boxes": []})
    with truth.open("a") as log:
        log.write(line[:10])
        log.flush()
        assert book.boxes("c-5") is None
        log.write(line[10:] + "\n")
    assert book.boxes("c-5") == ()


def test_no_mistakes_change_nothing() -> None:
    assert corrupt(BOXES, Mistakes(), 3, random.Random(1)) == BOXES


@given(st.integers(0, 1000))
def test_mistakes_are_seeded_and_of_their_kind(seed: int) -> None:
    missing = corrupt(BOXES, Mistakes(missed=0.5), 3, random.Random(seed))
    assert set(missing) <= set(BOXES)
    assert missing == corrupt(BOXES, Mistakes(missed=0.5), 3, random.Random(seed))
    wrong = corrupt(BOXES, Mistakes(wrong_class=1.0), 3, random.Random(seed))
    assert all(a.class_id != b.class_id and a.x1 == b.x1 for a, b in zip(BOXES, wrong, strict=True))
    moved = corrupt(BOXES, Mistakes(jittered=1.0), 3, random.Random(seed))
    assert all(a.class_id == b.class_id for a, b in zip(BOXES, moved, strict=True))
    assert all(abs(a.x1 - b.x1) <= 0.15 * 8 + 1e-9 for a, b in zip(BOXES, moved, strict=True))
    assert all(b.x1 <= b.x2 and b.y1 <= b.y2 for b in moved)


def test_mistakes_come_as_often_as_dialled() -> None:
    rng = random.Random(3)
    kept = sum(len(corrupt(BOXES, Mistakes(missed=0.2), 3, rng)) for _ in range(200))
    assert kept / (200 * len(BOXES)) == pytest.approx(0.8, abs=0.03)


def test_a_share_is_a_share() -> None:
    with pytest.raises(ValueError, match="missed"):
        Mistakes(missed=1.5)
