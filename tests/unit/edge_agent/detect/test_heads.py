from __future__ import annotations

import numpy as np
import pytest

from edge_agent.detect.heads import head_name, parse_end2end, parse_raw


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


def test_a_head_is_known_by_its_shape() -> None:
    assert head_name((1, 300, 6)) == "end2end"
    assert head_name((1, 84, 8400)) == "raw"
    assert head_name((1, 1000)) is None
