"""What an artifact sees when it is fed otherwise than its manifest says.

A file that was exported for another channel order or another scale works, and sees badly.
Fed the way it was made for, it sees as the original does: that tells what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cloud.building.making import Artifact
from cloud.children import ChildFailed
from cloud.registry.bundles import BundleSpec, begin, with_preprocessing
from cloud.shipped import ShippedRunner
from protocol.messages import DetectedBox

REFERENCE_FLOOR = 0.01
"""From which the checkpoint's own answers are kept."""

PROBES = 8
TINT = (1.0, 0.7, 0.4)
"""What red, green and blue are multiplied by in a probe."""

AS_SHIPPED = "as shipped"
EXCHANGED = "channels exchanged"
NOT_SCALED = "not scaled"
SCALED_TWICE = "scaled twice"

_SCALES = {AS_SHIPPED: 1 / 255, EXCHANGED: 1 / 255, NOT_SCALED: 1.0, SCALED_TWICE: 1 / 255**2}

Frame = Sequence[DetectedBox]


def seen_in_variants(
    artifact: Artifact,
    spec: BundleSpec,
    frames: Sequence[Path],
    agent: ShippedRunner,
    folder: Path,
) -> Mapping[str, Sequence[Frame]]:
    """What is seen in the golden frames, by the way of feeding them.

    A way in which the runtime fails is left out.

    Raises:
        ChildCanceled: the job is to end.
    """
    folder.mkdir(parents=True)
    exchanged = [_exchanged(frame, folder / f"exchanged-{frame.name}") for frame in frames]
    found = {}
    for number, (name, scale) in enumerate(_SCALES.items()):
        draft = begin(folder / str(number), artifact.files, frames)
        bundle = draft.write(with_preprocessing(spec, scale=scale))
        images = exchanged if name == EXCHANGED else list(frames)
        try:
            run = agent.run(bundle.folder, images, folder / f"run-{number}", REFERENCE_FLOOR)
        except ChildFailed:
            continue
        found[name] = [result.detections for result in run.results]
    return found


def tinted(images: Sequence[Path], folder: Path) -> list[Path]:
    """The images in warm light, so that their channels differ; as PNG files."""
    from PIL import Image, ImageOps

    folder.mkdir(parents=True)
    paths = []
    for number, path in enumerate(images):
        with Image.open(path) as image:
            bands = ImageOps.exif_transpose(image).convert("RGB").split()
        toned = [
            band.point([round(level * share) for level in range(256)])
            for band, share in zip(bands, TINT, strict=True)
        ]
        target = folder / f"{number:03d}.png"
        Image.merge("RGB", toned).save(target)
        paths.append(target)
    return paths


def _exchanged(frame: Path, target: Path) -> Path:
    """The frame with red in place of blue and blue in place of red."""
    from PIL import Image

    with Image.open(frame) as image:
        red, green, blue = image.convert("RGB").split()
    Image.merge("RGB", (blue, green, red)).save(target)
    return target
