from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.detect.serving import Serving
from edge_agent.errors import DetectorError
from protocol.bundles import Calibration
from tests.fixtures.seeing import detections, manifest

CURVE = Calibration(raw=(0.0, 0.2, 0.6, 1.0), calibrated=(0.0, 0.5, 0.5, 0.9))


def test_each_class_is_served_from_its_own_threshold() -> None:
    found = detections((0.24, 0), (0.25, 0), (0.59, 1), (0.61, 1))
    assert Serving(manifest()).mask(found).tolist() == [False, True, False, True]


@pytest.mark.parametrize("class_id", [-1, 2, 4000])
def test_a_class_that_the_manifest_does_not_name_is_refused(class_id: int) -> None:
    with pytest.raises(DetectorError, match="names 2"):
        Serving(manifest()).mask(detections((0.9, class_id)))


def test_without_a_calibration_confidences_stay_as_they_are() -> None:
    found = detections((0.3, 0), (0.9, 1))
    assert Serving(manifest()).calibrated(found) is found.confidences


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30))
def test_calibration_keeps_the_order_and_follows_its_points(values: list[float]) -> None:
    calibrated = manifest().model_copy(update={"calibration": CURVE})
    found = detections(*((v, 0) for v in sorted(values)))
    after = Serving(calibrated).calibrated(found)
    assert after.dtype == np.float32
    assert (np.diff(after) >= 0).all()
    assert ((after >= 0) & (after <= 0.9)).all()


def test_a_calibration_is_linear_between_its_points() -> None:
    calibrated = manifest().model_copy(update={"calibration": CURVE})
    after = Serving(calibrated).calibrated(detections((0.1, 0), (0.4, 0), (0.8, 0)))
    assert after.tolist() == pytest.approx([0.25, 0.5, 0.7])
