"""A scene is a pure function of seed, frame number and drift; its boxes tell the truth."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.scenes import SCENES, Drift, Scene

DIALS = [field.name for field in dataclasses.fields(Drift)]
FRAMES_FOR_EVERY_CLASS = 400
FRESH: dict[str, Scene] = {name: make(5) for name, make in SCENES.items()}


@pytest.mark.parametrize("name", SCENES)
@settings(max_examples=15, deadline=None)
@given(number=st.integers(0, 2_000_000), dials=st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_a_frame_depends_on_seed_number_and_drift_alone(
    name: str, number: int, dials: list[float]
) -> None:
    drift = Drift(*dials)
    again = SCENES[name](5)
    again.render(number + 17, Drift(lighting=1.0))
    frame, boxes = FRESH[name].render(number, drift)
    other_frame, other_boxes = again.render(number, drift)
    assert frame.tobytes() == other_frame.tobytes()
    assert boxes == other_boxes


@pytest.mark.parametrize("name", SCENES)
@settings(max_examples=25, deadline=None)
@given(number=st.integers(0, 2_000_000), dials=st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_boxes_lie_inside_the_frame(name: str, number: int, dials: list[float]) -> None:
    scene = FRESH[name]
    width, height = scene.size
    frame, boxes = scene.render(number, Drift(*dials))
    assert frame.shape == (height, width, 3)
    assert frame.dtype == np.uint8
    for box in boxes:
        assert 0 <= box.x1 < box.x2 <= width
        assert 0 <= box.y1 < box.y2 <= height
        assert 0 <= box.class_id < len(scene.class_names)


@pytest.mark.parametrize("name", SCENES)
def test_every_class_appears_and_the_last_one_only_with_its_drift(name: str) -> None:
    scene = FRESH[name]
    last = len(scene.class_names) - 1

    def seen(drift: Drift) -> set[int]:
        numbers = range(0, FRAMES_FOR_EVERY_CLASS, 20)
        return {box.class_id for number in numbers for box in scene.render(number, drift)[1]}

    assert seen(Drift()) == set(range(last))
    assert seen(Drift(new_defect=1.0)) == set(range(last + 1))


@pytest.mark.parametrize("name", SCENES)
def test_seeds_and_far_frames_show_different_worlds(name: str) -> None:
    frame, boxes = FRESH[name].render(0, Drift())
    assert boxes != SCENES[name](6).render(0, Drift())[1]
    assert boxes != FRESH[name].render(5000, Drift())[1]
    assert np.ptp(frame) > 100


@pytest.mark.parametrize("name", SCENES)
def test_neighbouring_frames_are_alike(name: str) -> None:
    def apart(first: int, second: int) -> float:
        frames = (FRESH[name].render(n, Drift())[0].astype(int) for n in (first, second))
        return float(np.abs(np.subtract(*frames)).mean())

    near = [apart(n, n + 1) for n in range(100, 120)]
    far = [apart(n, n + 1009) for n in range(100, 120)]
    assert np.median(near) < 0.7 * np.median(far)


@pytest.mark.parametrize("name", SCENES)
def test_light_fades_steadily(name: str) -> None:
    means = [
        float(FRESH[name].render(40, Drift(lighting=dial))[0].mean())
        for dial in np.linspace(0, 1, 6)
    ]
    assert all(later < earlier - 3 for earlier, later in itertools.pairwise(means))


@pytest.mark.parametrize("name", SCENES)
def test_blur_takes_detail_away_steadily(name: str) -> None:
    def detail(dial: float) -> float:
        frame = FRESH[name].render(40, Drift(blur=dial))[0].astype(float).mean(axis=2)
        rows = frame.reshape(80, 4, 80, 4).mean(axis=(1, 3))
        return float(np.abs(np.diff(rows, axis=1)).mean())

    details = [detail(dial) for dial in (0.0, 0.4, 0.7, 1.0)]
    assert all(later < earlier for earlier, later in itertools.pairwise(details))


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("dial", [d for d in DIALS if d != "new_defect"])
def test_a_small_turn_of_a_dial_is_a_small_change(name: str, dial: str) -> None:
    def change(value: float) -> float:
        before = FRESH[name].render(40, Drift())[0].astype(int)
        after = FRESH[name].render(40, Drift(**{dial: value}))[0].astype(int)
        return float(np.abs(before - after).mean())

    assert change(0.02) < 0.35 * change(1.0)
    assert change(1.0) > 1.0


@pytest.mark.parametrize("name", SCENES)
def test_only_a_moved_camera_moves_the_boxes(name: str) -> None:
    scene = FRESH[name]
    still = scene.render(40, Drift())[1]
    assert scene.render(40, Drift(lighting=1.0, blur=1.0, packaging=1.0))[1] == still
    assert scene.render(40, Drift(shift=0.5))[1] != still


@pytest.mark.parametrize("dial", DIALS)
@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf, True, "0.5"])
def test_a_dial_outside_its_range_is_refused_by_name(dial: str, value: object) -> None:
    with pytest.raises(ValueError, match=dial):
        Drift(**{dial: value})  # type: ignore[arg-type]
