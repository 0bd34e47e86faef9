"""What is written can be read by any tool that knows the YOLO layout, and is true."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import yaml

from simulators.dataset import (
    CAMERA_START,
    TRAIN_START,
    VAL_START,
    label_lines,
    write_dataset,
)
from simulators.scenes import SCENES, Box, Drift


@pytest.mark.parametrize("name", SCENES)
def test_the_folder_has_an_image_and_a_label_file_for_each_frame(name: str, tmp_path: Path) -> None:
    scene = SCENES[name](3)
    listing = yaml.safe_load(write_dataset(scene, tmp_path, 5, 3).read_text())
    assert tuple(listing["names"].values()) == scene.class_names
    for split, count in (("train", 5), ("val", 3)):
        images = sorted((Path(listing["path"]) / listing[split]).glob("*.jpg"))
        assert len(images) == count
        for image in images:
            picture = cv2.imread(str(image))
            assert picture is not None
            assert picture.shape[:2] == (scene.size[1], scene.size[0])
            label = tmp_path / "labels" / split / f"{image.stem}.txt"
            number = int(image.stem.rsplit("_", 1)[1])
            assert label.read_text() == label_lines(scene.render(number, Drift())[1], scene.size)


def test_label_lines_are_relative_centres_and_sizes() -> None:
    assert (
        label_lines([Box(2, 10, 20, 30, 60)], (100, 200))
        == "2 0.200000 0.200000 0.200000 0.200000\n"
    )


def test_drift_is_in_the_pictures(tmp_path: Path) -> None:
    scene = SCENES["factory"](3)
    write_dataset(scene, tmp_path / "day", 1, 1)
    write_dataset(scene, tmp_path / "dusk", 1, 1, drift=Drift(lighting=1.0))
    day, dusk = (
        cv2.imread(str(next((tmp_path / name / "images" / "train").glob("*.jpg"))))
        for name in ("day", "dusk")
    )
    assert day is not None
    assert dusk is not None
    assert dusk.mean() < 0.7 * day.mean()


@pytest.mark.parametrize(("train", "val", "stride"), [(0, 1, 1), (1, 0, 1), (500_001, 1, 1)])
def test_splits_that_are_empty_or_would_meet_are_refused(
    train: int, val: int, stride: int, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"train|val"):
        write_dataset(SCENES["shelf"](0), tmp_path, train, val, stride=stride)


def test_the_ranges_of_frame_numbers_are_apart() -> None:
    assert TRAIN_START < VAL_START < CAMERA_START
