"""Objects whose truth is known, seen as a detector would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_agent.track.settings import TrackingSection
from edge_agent.track.tracker import UNTRACKED, Seen, Tracker

Route = Callable[[int], tuple[float, float] | None]
"""Centre of an object in a frame; None where it is not to be seen."""


def seen(
    boxes: Sequence[Sequence[float]],
    confidences: list[float] | None = None,
    class_ids: list[int] | None = None,
) -> Seen:
    """Detections, served from 0.25 up."""
    scores = np.array([0.9] * len(boxes) if confidences is None else confidences, np.float32)
    classes = np.array([0] * len(boxes) if class_ids is None else class_ids, np.int32)
    return Seen(np.array(boxes, np.float32).reshape(-1, 4), scores, classes, scores >= 0.25)


def box(centre: tuple[float, float], size: float = 40.0) -> tuple[float, ...]:
    x, y = centre
    return (x - size / 2, y - size / 2, x + size / 2, y + size / 2)


@dataclass
class World:
    """Objects on their routes, followed by a tracker; `ids` by object, in order of frames."""

    routes: list[Route]
    settings: TrackingSection = field(default_factory=TrackingSection)
    fps: float = 25.0
    jitter_px: float = 0.0
    seed: int = 5

    def run(
        self, frames: int, confidence: Callable[[int], float] = lambda _f: 0.9
    ) -> list[list[int]]:
        rng = np.random.default_rng(self.seed)
        tracker = Tracker(self.settings)
        ids: list[list[int]] = [[] for _ in self.routes]
        for frame in range(frames):
            there = [(i, at) for i, route in enumerate(self.routes) if (at := route(frame))]
            order = rng.permutation(len(there))
            shown = [there[k] for k in order]
            noise = rng.normal(0, self.jitter_px, (len(shown), 4)) if self.jitter_px else 0.0
            boxes = np.array([box(at) for _, at in shown]).reshape(-1, 4) + noise
            scores = [confidence(frame)] * len(shown)
            found = tracker.update(seen(boxes.tolist(), scores), 1, frame / self.fps)
            for (i, _), track in zip(shown, found.tolist(), strict=True):
                ids[i].append(track)
        return ids


def known(ids: list[int]) -> set[int]:
    return set(ids) - {UNTRACKED}
