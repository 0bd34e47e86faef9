"""Small labelled folders in YOLO layout: squares and discs on a noisy ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASS_NAMES = ("square", "disc")
COLOURS = ((0, 200, 0), (220, 0, 0))


def draw(seed: int, side_px: int = 96) -> tuple[Image.Image, list[tuple[int, list[float]]]]:
    """An image and its objects: class and box (x1, y1, x2, y2) in pixels."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(90, 160, (side_px // 8, side_px // 8, 3), dtype=np.uint8)
    image = Image.fromarray(ground).resize((side_px, side_px), Image.Resampling.BICUBIC)
    pen, objects = ImageDraw.Draw(image), []
    for _ in range(int(rng.integers(1, 4))):
        class_id, radius = int(rng.integers(0, 2)), int(rng.integers(10, 18))
        x, y = rng.integers(radius, side_px - radius, 2).tolist()
        box = [float(v) for v in (x - radius, y - radius, x + radius, y + radius)]
        shape = pen.ellipse if class_id else pen.rectangle
        shape(tuple(box), fill=COLOURS[class_id])
        objects.append((class_id, box))
    return image, objects


def write_folder(folder: Path, train: int = 40, val: int = 10, side_px: int = 96) -> Path:
    """A dataset folder; the same content for the same arguments."""
    for split, seeds in (("train", range(train)), ("val", range(10_000, 10_000 + val))):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            image, objects = draw(seed, side_px)
            image.save(folder / "images" / split / f"{seed}.jpg", quality=92)
            lines = [_line(class_id, box, side_px) for class_id, box in objects]
            (folder / "labels" / split / f"{seed}.txt").write_text("".join(lines))
    names = ", ".join(CLASS_NAMES)
    (folder / "data.yaml").write_text(
        f"path: .\ntrain: images/train\nval: images/val\nnames: [{names}]\n"
    )
    return folder


def _line(class_id: int, box: list[float], side_px: int) -> str:
    x1, y1, x2, y2 = (v / side_px for v in box)
    return f"{class_id} {(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}\n"
