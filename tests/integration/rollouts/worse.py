"""A shelf to watch, with its labels as they should be and as somebody careless left them."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import cv2
import yaml

from simulators.dataset import CAMERA_START, JPEG_QUALITY, write_dataset
from simulators.scenes import SCENES, Drift

SCENE = "shelf"
TAUGHT, SHOWN = 1, 2
"""The world that a detector learns from, and the one whose images the hub is given."""
SIDE_PX = 96
TAUGHT_IMAGES, SHOWN_IMAGES, GOLDEN_IMAGES = 120, 160, 40
FOOTAGE_STRIDE = 14
"""A shelf that changes this much faster shows many arrangements in a short film."""
LOST_SHARE, MOVED = 0.3, 0.25
"""Labels that are missing; how far the others lie beside what they mean, in their own sides."""


def write_labelled(folder: Path, world: int, images: int) -> Path:
    """Images with true labels; the same for every call."""
    write_dataset(SCENES[SCENE](world), folder, images, GOLDEN_IMAGES)
    return folder


def write_spoiled(labelled: Path, folder: Path) -> Path:
    """The same images with spoiled labels. Those that a version is judged by stay true."""
    shutil.copytree(labelled, folder)
    dice = random.Random(TAUGHT)
    for path in sorted((folder / "labels" / "train").iterdir()):
        lines = path.read_text().splitlines()
        kept = [_moved(line, dice) for line in lines if dice.random() >= LOST_SHARE]
        path.write_text("".join(kept))
    listing = folder / "data.yaml"
    told = yaml.safe_load(listing.read_text())
    listing.write_text(yaml.safe_dump({**told, "path": str(folder.resolve())}))
    return folder


def write_footage(folder: Path, seed: int, frames: int) -> Path:
    """What a camera sees, for an agent to play over and over: frames that nobody trained on."""
    folder.mkdir(parents=True)
    scene = SCENES[SCENE](seed)
    for number in range(frames):
        image, _boxes = scene.render(CAMERA_START + number * FOOTAGE_STRIDE, Drift())
        path = folder / f"{number:05d}.jpg"
        if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
            raise OSError(f"{path}: could not write the image")
    return folder


def _moved(line: str, dice: random.Random) -> str:
    class_id, *numbers = line.split()
    x, y, width, height = (float(number) for number in numbers)
    x += dice.choice((-1, 1)) * MOVED * width
    y += dice.choice((-1, 1)) * MOVED * height
    x = min(max(x, width / 2), 1 - width / 2)
    y = min(max(y, height / 2), 1 - height / 2)
    return f"{class_id} {x:.6f} {y:.6f} {width:.6f} {height:.6f}\n"
