"""Drawn images of boxes for the metrics: any that hypothesis likes, and a real-looking set."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from cloud.evaluation.coco import ScoredBox, ScoredImage

# Coarse, so that equal confidences, equal overlaps and boxes on a threshold's edge come up.
coarse = st.builds(
    lambda c, x, y, w, h, p: ScoredBox(c, (x * 10.0, y * 10.0, (x + w) * 10.0, (y + h) * 10.0), p),
    st.integers(0, 2), st.integers(0, 3), st.integers(0, 3), st.integers(0, 4), st.integers(1, 4),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]),
)  # fmt: skip
images = st.builds(
    lambda t, p: ScoredImage(tuple(t), tuple(p)),
    st.lists(coarse, max_size=5),
    st.lists(coarse, max_size=8),
)


def a_set(
    count: int, rng: np.random.Generator, *, classes: int = 3, shift_px: float = 4.0
) -> list[ScoredImage]:
    """Images with five objects each, most of them found, and six false alarms.

    What is right is mostly more confident than what is not.
    """
    found = []
    for _ in range(count):
        truth = [_box(int(rng.integers(classes)), _place(rng)) for _ in range(5)]
        seen = []
        for label in truth:
            if rng.random() < 0.85:
                near = np.array(label.box) + rng.normal(0, shift_px, 4)
                seen.append(_box(label.class_id, near, float(rng.beta(4, 2))))
        seen.extend(
            _box(int(rng.integers(classes)), _place(rng), float(rng.beta(1, 6))) for _ in range(6)
        )
        found.append(ScoredImage(tuple(truth), tuple(seen)))
    return found


def _place(rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    corner, side = rng.uniform(0, 560, 2), rng.uniform(20, 80, 2)
    return np.concatenate([corner, corner + side])


def _box(
    class_id: int,
    edges: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    confidence: float = 1.0,
) -> ScoredBox:
    x1, y1, x2, y2 = (float(edge) for edge in edges)
    return ScoredBox(class_id, (x1, y1, x2, y2), confidence)
