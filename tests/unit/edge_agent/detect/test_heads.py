from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_agent.detect.heads import (
    DETECTIONS_MAX,
    deduplicate,
    parse_end2end,
    parse_raw,
)


def test_end2end_rows_from_the_floor_on_with_rivals_of_one_anchor() -> None:
    box, other = (1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0)
    output = np.array(
        [(*box, 0.8, 1), (*other, 0.6, 0), (*box, 0.5, 2), (*box, 0.1, 0), (*other, 0.04, 1)],
        dtype=np.float32,
    )
    found = parse_end2end(output, 0.05)
    assert found.class_ids.tolist() == [1, 0, 2, 0]
    assert found.class_ids.dtype == np.int32
    assert found.margins == pytest.approx([0.3, 0.6, 0.3, 0.4])
    assert found.boxes.tolist() == [list(box), list(other), list(box), list(box)]


def test_end2end_with_nothing_found() -> None:
    found = parse_end2end(np.zeros((300, 6), np.float32), 0.05)
    assert len(found.confidences) == 0
    assert found.boxes.shape == (0, 4)


def test_raw_suppresses_the_same_class_only() -> None:
    #            x   y   w   h  class 0, 1, 2
    anchors = [
        (50, 50, 20, 20, 0.9, 0.2, 0.1),
        (51, 50, 20, 20, 0.8, 0.1, 0.1),
        (50, 51, 20, 20, 0.1, 0.1, 0.7),
        (90, 90, 10, 10, 0.01, 0.02, 0.03),
    ]
    found = parse_raw(np.array(anchors, dtype=np.float32).T, 0.05)
    assert found.class_ids.tolist() == [0, 2]
    assert found.confidences == pytest.approx([0.9, 0.7])
    assert found.margins == pytest.approx([0.7, 0.6])
    assert found.boxes[0].tolist() == [40, 40, 60, 60]
    assert len(parse_raw(np.zeros((7, 100), np.float32), 0.05).confidences) == 0


def test_raw_answers_no_more_than_the_most_confident() -> None:
    count = DETECTIONS_MAX + 50
    output = np.zeros((6, count), np.float32)
    output[0] = np.arange(count) * 20
    output[2:4] = 10
    output[5] = np.linspace(0.1, 0.9, count)
    found = parse_raw(output, 0.05)
    assert len(found) == DETECTIONS_MAX
    assert found.confidences[0] == pytest.approx(0.9)
    assert (np.diff(found.confidences) <= 0).all()


def test_duplicates_are_dropped_whatever_their_class() -> None:
    box, near, far = (0, 0, 100, 100), (2, 0, 102, 100), (50, 0, 150, 100)
    output = np.array(
        [(*box, 0.9, 0), (*near, 0.8, 1), (*far, 0.7, 2), (*box, 0.6, 3)], dtype=np.float32
    )
    found = parse_end2end(output, 0.05)
    kept = deduplicate(found, 0.9)
    assert kept.class_ids.tolist() == [0, 2]
    assert kept.margins == pytest.approx([0.3, 0.7])
    assert len(deduplicate(parse_end2end(output[:0], 0.05), 0.9)) == 0


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(1, 60)] * 2, st.integers(0, 2)),
        min_size=1,
        max_size=40,
    )
)
def test_raw_suppresses_as_a_plain_loop_would(anchors: list[tuple[int, ...]]) -> None:
    output = np.zeros((7, len(anchors)), np.float32)
    for index, (x, y, width, height, class_id) in enumerate(anchors):
        output[:4, index] = x, y, width, height
        output[4 + class_id, index] = 0.9 - index * 0.01
    found = parse_raw(output, 0.05)
    kept: list[int] = []
    for index, (*box, class_id) in enumerate(anchors):
        overlaps = [_iou(box, anchors[k][:4]) for k in kept if anchors[k][4] == class_id]
        assume(all(abs(overlap - 0.7) > 1e-5 for overlap in overlaps))
        if all(overlap < 0.7 for overlap in overlaps):
            kept.append(index)
    assert found.confidences.tolist() == pytest.approx([0.9 - i * 0.01 for i in kept])


def _iou(one: Sequence[int], other: Sequence[int]) -> float:
    """Of two boxes given by centre and size."""
    overlaps = [
        min(a + s / 2, b + t / 2) - max(a - s / 2, b - t / 2)
        for a, s, b, t in zip(one[:2], one[2:], other[:2], other[2:], strict=True)
    ]
    inner = max(overlaps[0], 0) * max(overlaps[1], 0)
    return inner / (one[2] * one[3] + other[2] * other[3] - inner)
