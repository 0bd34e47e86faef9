"""An annotator who knows the truth, and may be made to err.

Works as a person would, through the hub's public REST interface: takes the pending tasks,
looks what was really in each frame up in the cameras' truth logs, and puts the boxes. How
often it errs is dialled in and seeded by frame, so the same frame gets the same mistake in
whatever order the tasks come.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from simulators.hub import Hub, HubError
from simulators.scenes import Box


@dataclass(frozen=True)
class Mistakes:
    """How an annotator errs: each a probability per box.

    Attributes:
        missed: the box is left out.
        wrong_class: it gets another class.
        jittered: its corners move, each by up to `jitter_share` of the box's side.
    """

    missed: float = 0.0
    wrong_class: float = 0.0
    jittered: float = 0.0
    jitter_share: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.name != "seed"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give a share between 0 and 1")


def corrupt(
    boxes: Sequence[Box], mistakes: Mistakes, classes: int, rng: random.Random
) -> tuple[Box, ...]:
    """`boxes` as somebody with these `mistakes` would draw them; `classes` is their number."""
    drawn = []
    for box in boxes:
        if rng.random() < mistakes.missed:
            continue
        class_id = box.class_id
        if classes > 1 and rng.random() < mistakes.wrong_class:
            class_id = rng.choice([c for c in range(classes) if c != class_id])
        drawn.append(_moved(box, class_id, mistakes, rng))
    return tuple(drawn)


def _moved(box: Box, class_id: int, mistakes: Mistakes, rng: random.Random) -> Box:
    if rng.random() >= mistakes.jittered:
        return Box(class_id, box.x1, box.y1, box.x2, box.y2)
    across = mistakes.jitter_share * (box.x2 - box.x1)
    down = mistakes.jitter_share * (box.y2 - box.y1)
    x1, x2 = sorted((box.x1 + rng.uniform(-across, across), box.x2 + rng.uniform(-across, across)))
    y1, y2 = sorted((box.y1 + rng.uniform(-down, down), box.y2 + rng.uniform(-down, down)))
    return Box(class_id, x1, y1, x2, y2)


@dataclass
class TruthBook:
    """The boxes of every frame by frame id (`<connection>-<index>`), read from truth logs.

    Logs may still grow: each `refresh` reads on where the last one stopped.
    """

    paths: Sequence[Path]
    _boxes: dict[str, tuple[Box, ...]] = field(default_factory=dict)
    _read_bytes: dict[Path, int] = field(default_factory=dict)

    def boxes(self, frame_id: str) -> tuple[Box, ...] | None:
        """What was in the frame, None where no log knows it."""
        if frame_id not in self._boxes:
            self.refresh()
        return self._boxes.get(frame_id)

    def refresh(self) -> None:
        """Read what the logs have gained; half a line at the end waits for its other half."""
        for path in self.paths:
            if not path.exists():
                continue
            with path.open("rb") as log:
                log.seek(self._read_bytes.get(path, 0))
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    self._read_bytes[path] = self._read_bytes.get(path, 0) + len(line)
                    record = json.loads(line)
                    self._boxes[f"{record['connection']}-{record['index']}"] = tuple(
                        Box(int(c), x1, y1, x2, y2) for c, x1, y1, x2, y2 in record["boxes"]
                    )


@dataclass
class Annotated:
    """What an annotator has done so far."""

    labelled: int = 0
    skipped: int = 0
    boxes: int = 0
    last_label_at: float | None = None


class Oracle:
    """Labels pending tasks from the truth, with the mistakes that were asked for."""

    def __init__(
        self,
        hub: Hub,
        truth: TruthBook,
        mistakes: Mistakes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hub = hub
        self._truth = truth
        self._mistakes = mistakes or Mistakes()
        self._clock = clock
        self.done = Annotated()

    def work(self, camera: str | None = None) -> int:
        """Label all tasks that are pending now; how many there were."""
        tasks = list(self._hub.items("/annotation/tasks", state="pending", camera=camera))
        for task in tasks:
            self._label(task)
        return len(tasks)

    def _label(self, task: dict[str, Any]) -> None:
        boxes = self._truth.boxes(task["frame_id"])
        try:
            if boxes is None:
                self._hub.post(f"/annotation/tasks/{task['id']}/skip")
                self.done.skipped += 1
                return
            rng = random.Random(f"{self._mistakes.seed}:{task['frame_id']}")
            drawn = corrupt(boxes, self._mistakes, len(task["class_names"]), rng)
            self._hub.put(f"/annotation/tasks/{task['id']}", {"boxes": _inside(drawn, task)})
        except HubError as error:
            if error.status != 409:  # another annotator was faster
                raise
            return
        self.done.labelled += 1
        self.done.boxes += len(drawn)
        self.done.last_label_at = self._clock()


def _inside(boxes: Sequence[Box], task: dict[str, Any]) -> list[dict[str, Any]]:
    """The boxes as the hub takes them: cut at the image's edge, classes that it knows."""
    width, height, known = task["width"], task["height"], len(task["class_names"])
    cut = (
        (
            b.class_id,
            (max(0.0, b.x1), max(0.0, b.y1), min(float(width), b.x2), min(float(height), b.y2)),
        )
        for b in boxes
        if b.class_id < known
    )
    return [
        {"class_id": class_id, "box": [round(v, 2) for v in (x1, y1, x2, y2)]}
        for class_id, (x1, y1, x2, y2) in cut
        if x2 - x1 >= 1 and y2 - y1 >= 1
    ]
