"""The evidence page: one file with everything in it, no script, no address outside of it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud.errors import HubError
from cloud.evaluation.coco import ScoredBox
from cloud.pages import data_address, environment
from cloud.promotion import plots
from cloud.promotion.comparing import ChangedImage

if TYPE_CHECKING:
    from PIL.Image import Image

TEMPLATE_FILE = "evidence.html"
THUMBNAIL_PX = 360
IMAGE_PIXELS_MAX = 100_000_000
JPEG_QUALITY = 82

WORDS = {
    "PASS": "The new version may take over.",
    "FAIL": "The new version must not take over.",
    "INCONCLUSIVE": "It is not known yet whether the new version may take over.",
}
FINDING_WORDS = {
    "HOLDS": "good enough",
    "HARM": "worse",
    "UNSHOWN": "not known",
    "REPORTED": "for information",
}

ReadImage = Callable[[str], bytes]
"""The bytes of an image by its digest; HubError where they are gone."""


def render(
    record: Mapping[str, Any],
    better: Sequence[ChangedImage],
    worse: Sequence[ChangedImage],
    read: ReadImage,
) -> str:
    """The page of a record, with the images that changed most drawn in."""
    template = environment(Path(__file__).parent).get_template(TEMPLATE_FILE)
    return template.render(
        record=record,
        verdict_words=WORDS[record["verdict"]],
        finding_words=FINDING_WORDS,
        forest=plots.forest(record),
        curves=plots.curves(record),
        reliability=plots.reliability(record),
        robustness=plots.robustness(record),
        classes=plots.classes(record),
        latency=plots.latency(record),
        worse=_thumbnails(worse, read),
        better=_thumbnails(better, read),
        colours={
            "candidate": plots.CANDIDATE,
            "incumbent": plots.INCUMBENT,
            "truth": plots.TRUTH,
        },
    )


def _thumbnails(changed: Sequence[ChangedImage], read: ReadImage) -> list[dict[str, Any]]:
    drawn = []
    for image in changed:
        try:
            sides = [
                thumbnail(read(image.image), image, side) for side in ("incumbent", "candidate")
            ]
        except (HubError, OSError, ValueError):
            continue  # gone since, or no image that can be shown: the record names it all the same
        drawn.append(
            {
                "digest": image.image,
                "gain": image.gain,
                "incumbent": data_address("jpeg", sides[0]),
                "candidate": data_address("jpeg", sides[1]),
            }
        )
    return drawn


def thumbnail(data: bytes, image: ChangedImage, side: str) -> bytes:
    """A JPEG of the image with the truth and what `side` serves drawn on it.

    Raises:
        OSError, ValueError: the bytes are no image, or one of too many pixels.
    """
    from PIL import Image as Images

    with Images.open(io.BytesIO(data)) as opened:
        if opened.width * opened.height > IMAGE_PIXELS_MAX:
            raise ValueError(f"an image of {opened.width}x{opened.height} px is too large to show")
        opened.draft("RGB", (2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))
        picture = opened.convert("RGB")
    scale = THUMBNAIL_PX / max(image.width, image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    picture = picture.resize(size)
    boxes = image.candidate if side == "candidate" else image.incumbent
    colour = plots.CANDIDATE if side == "candidate" else plots.INCUMBENT
    _draw(picture, image.truth, scale, plots.TRUTH, grow=2)
    _draw(picture, boxes, scale, colour, grow=0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _draw(
    picture: Image, boxes: Sequence[ScoredBox], scale: float, colour: str, *, grow: int
) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(picture)
    for box in boxes:
        x1, y1, x2, y2 = (edge * scale for edge in box.box)
        left, top = min(x1, x2) - grow, min(y1, y2) - grow
        pen.rectangle((left, top, max(x1, x2) + grow, max(y1, y2) + grow), outline=colour, width=2)
