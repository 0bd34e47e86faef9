"""A folder in YOLO layout from a rendered scene, for training without any camera.

Three ranges of frame numbers never meet: `train` begins at `TRAIN_START`, `val` at `VAL_START`, and
a camera serves from `CAMERA_START` on, so nothing that is measured on a camera was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import yaml

from simulators.scenes import Box, Drift, Scene

TRAIN_START = 0
VAL_START = 500_000
CAMERA_START = 1_000_000
FRAME_STRIDE = 23
"""Frames between two that are written: far enough for other parts or products to be in sight."""
JPEG_QUALITY = 92


def write_dataset(
    scene: Scene,
    folder: Path,
    train_frames: int,
    val_frames: int,
    *,
    drift: Drift | None = None,
    stride: int = FRAME_STRIDE,
) -> Path:
    """Write images/{train,val}, labels/{train,val} and data.yaml; the path of data.yaml.

    Raises:
        ValueError: a split is empty or so long that it would run into the next one's frames.
        OSError: the folder cannot be written.
    """
    drift = drift or Drift()
    for split, start, count in (
        ("train", TRAIN_START, train_frames),
        ("val", VAL_START, val_frames),
    ):
        if not 0 < count * stride <= VAL_START:
            raise ValueError(
                f"{split}: {count} frames every {stride} do not fit in {VAL_START} frame numbers; "
                "ask for at least one and for fewer, or for a smaller stride"
            )
        _write_split(scene, folder, split, range(start, start + count * stride, stride), drift)
    listing = folder / "data.yaml"
    listing.write_text(
        yaml.safe_dump(
            {
                "path": str(folder.resolve()),
                "train": "images/train",
                "val": "images/val",
                "names": dict(enumerate(scene.class_names)),
            },
            sort_keys=False,
        )
    )
    return listing


def label_lines(boxes: Iterable[Box], size: tuple[int, int]) -> str:
    """YOLO label text: class, centre x, centre y, width, height, relative to the frame's size."""
    width, height = size
    return "".join(
        f"{b.class_id} {(b.x1 + b.x2) / 2 / width:.6f} {(b.y1 + b.y2) / 2 / height:.6f} "
        f"{(b.x2 - b.x1) / width:.6f} {(b.y2 - b.y1) / height:.6f}\n"
        for b in boxes
    )


def _write_split(scene: Scene, folder: Path, split: str, numbers: range, drift: Drift) -> None:
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        frame, boxes = scene.render(number, drift)
        stem = f"{scene.name}_{number:07d}"
        path = images / f"{stem}.jpg"
        if not cv2.imwrite(str(path), frame, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
            raise OSError(f"{path}: could not write the image; is the disk full?")
        (labels / f"{stem}.txt").write_text(label_lines(boxes, scene.size))
