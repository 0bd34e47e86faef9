from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.harvest.scores import confidence_uncertainty, margin_uncertainty


@pytest.mark.parametrize(
    ("confidences", "expected"),
    [
        ([], 0.0),
        ([0.5], 1.0),
        ([1.0], 0.0),
        ([0.9, 0.5], (0.36 + 1.0) / 2),
        ([0.5, 0.5, 0.5, 0.99, 0.99], 1.0),
    ],
)
def test_the_most_uncertain_detections_count(confidences: list[float], expected: float) -> None:
    found = np.array(confidences, np.float32)
    assert confidence_uncertainty(found) == pytest.approx(expected, abs=1e-6)


def test_a_near_rival_makes_a_confident_detection_uncertain() -> None:
    p = np.array([0.8], dtype=np.float32)
    assert margin_uncertainty(p, p * np.float32(0.1)) == pytest.approx(0.9)
    assert margin_uncertainty(p, p) == 0.0


@given(st.lists(st.floats(0.0625, 1, width=32), max_size=30))
def test_it_is_a_share(found: list[float]) -> None:
    p = np.array(found, np.float32)
    assert 0 <= confidence_uncertainty(p) <= 1
    assert 0 <= margin_uncertainty(p, p * np.float32(0.5)) <= 1
