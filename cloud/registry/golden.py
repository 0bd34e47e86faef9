"""Golden frames: images that travel inside a bundle with what the build sees in them.

They go to every site, so they are images that their owner released (or that a simulator
drew), and where there are none, patterns drawn here from a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.shipped import ShippedResult
from protocol.bundles import GoldenDetection, GoldenFrame, GoldenSet

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FRAMES = 4
SIDE_PX_MAX = 640
DETECTIONS_WANTED = 4
# A model that sees little in a pattern still answers something; the highest floor that
# leaves enough to compare is taken.
FLOORS = (0.25, 0.1, 0.05, 0.02, 0.01)


def write_frames(sources: Sequence[Path], folder: Path) -> list[Path]:
    """PNGs of `sources` in `folder`, at most FRAMES and of SIDE_PX_MAX; patterns where none."""
    from PIL import Image, ImageOps

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(FRAMES if not sources else min(FRAMES, len(sources))):
        path = folder / f"{number:03d}.png"
        if sources:
            with Image.open(sources[number]) as image:
                frame = ImageOps.exif_transpose(image).convert("RGB")
            frame.thumbnail((SIDE_PX_MAX, SIDE_PX_MAX))
        else:
            frame = pattern(seed=number)
        frame.save(path)
        paths.append(path)
    return paths


def pattern(seed: int, side_px: int = 320) -> Picture:
    """Shapes on a smooth noise ground; the same for the same seed."""
    import numpy
    from PIL import Image, ImageDraw

    rng = numpy.random.default_rng(seed)
    coarse = rng.integers(40, 216, (9, 9, 3), dtype=numpy.uint8)
    image = Image.fromarray(coarse).resize((side_px, side_px), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for shape in (draw.rectangle, draw.ellipse) * 4:
        x, y = rng.integers(0, side_px - 40, 2).tolist()
        width, height = rng.integers(20, side_px // 3, 2).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        shape((x, y, x + width, y + height), fill=colour, outline=(0, 0, 0))
    return image


def provisional(frames: Sequence[str]) -> GoldenSet:
    """A golden set that expects nothing yet, for the run that finds out."""
    return GoldenSet(frames=tuple(GoldenFrame(image=name, detections=()) for name in frames))


def expected(frames: Sequence[str], results: Sequence[ShippedResult]) -> GoldenSet:
    """The golden set that `results`, one for each frame, make."""
    floor = FLOORS[-1]
    for floor in FLOORS:
        if sum(d.confidence >= floor for r in results for d in r.detections) >= DETECTIONS_WANTED:
            break
    return GoldenSet(
        confidence_floor=floor,
        frames=tuple(
            GoldenFrame(
                image=name,
                detections=tuple(
                    GoldenDetection(class_id=d.class_id, confidence=d.confidence, box=d.box)
                    for d in result.detections
                    if d.confidence >= floor
                ),
            )
            for name, result in zip(frames, results, strict=True)
        ),
    )
