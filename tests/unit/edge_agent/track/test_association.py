from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_agent.track.association import assign, distinct, overlaps

pytest.importorskip("lap", reason="the assignment is lap's")


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.floats(0, 1, width=16))
    ),
    st.sampled_from([0.05, 0.3, 0.5]),
)
def test_no_other_pairs_are_more_alike(
    similarity: np.ndarray[tuple[int, int], np.dtype[np.float64]], minimum: float
) -> None:
    rows, columns = assign(similarity, minimum)
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    assert (similarity[rows, columns] >= minimum).all()
    allowed = np.where(similarity >= minimum, similarity, 0.0)
    if allowed.shape[0] > allowed.shape[1]:
        allowed = allowed.T
    short, long = allowed.shape
    best = max(sum(allowed[range(short), list(p)]) for p in permutations(range(long), short))
    assert float(similarity[rows, columns].sum()) == pytest.approx(best)


def test_nothing_pairs_with_nothing() -> None:
    for shape in ((0, 3), (3, 0), (0, 0)):
        rows, columns = assign(np.zeros(shape), 0.2)
        assert (len(rows), len(columns)) == (0, 0)


def test_overlap_is_the_shared_part_of_both() -> None:
    left = np.array([(0, 0, 10, 10), (5, 5, 5, 5)], np.float64)
    right = np.array([(0, 0, 10, 10), (5, 0, 15, 10), (20, 20, 30, 30)], np.float64)
    assert overlaps(left, right) == pytest.approx(np.array([[1, 1 / 3, 0], [0, 0, 0]]))


def test_the_best_of_boxes_that_show_the_same_is_kept() -> None:
    boxes = np.array([(0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 10, 5), (50, 50, 60, 60)], np.float32)
    assert sorted(distinct(boxes, np.array([0.5, 0.9, 0.1, 0.0]), 0.8)) == [1, 2]
