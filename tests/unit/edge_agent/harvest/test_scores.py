from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.detect.detector import Detections
from edge_agent.harvest.scores import image_uncertainty
from tests.fixtures.seeing import detections


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
    found = detections(*((p, 0) for p in confidences))
    assert image_uncertainty(found) == pytest.approx(expected, abs=1e-6)


def test_a_near_rival_makes_a_confident_detection_uncertain() -> None:
    p = np.array([0.8], dtype=np.float32)
    close = Detections(np.zeros((1, 4), np.float32), p, np.zeros(1, np.int32), p * 0.1)
    assert image_uncertainty(close, "margin") == pytest.approx(0.9)
    assert image_uncertainty(detections((0.8, 0)), "margin") == 0.0


@given(st.lists(st.tuples(st.floats(0.0625, 1, width=32), st.just(0)), max_size=30))
def test_it_is_a_share(found: list[tuple[float, int]]) -> None:
    assert 0 <= image_uncertainty(detections(*found), "confidence") <= 1
    assert 0 <= image_uncertainty(detections(*found), "margin") <= 1
