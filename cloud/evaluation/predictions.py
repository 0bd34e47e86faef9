"""What a build saw in a set of images, kept as a blob: JSON lines under gzip.

Kept from the scoring floor on, so that any later question of thresholds, classes, slices or
another model beside it is answered without a second run.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cloud.errors import InvalidError
from cloud.evaluation.coco import ScoredBox
from cloud.shipped import ShippedResult
from protocol.chunks import Sha256, sha256_hex

CONFIDENCE_DECIMALS, BOX_DECIMALS = 7, 3
LINE_BYTES_MAX = 1024 * 1024
PLAIN_BYTES_MAX = 1024 * 1024 * 1024


@dataclass(frozen=True)
class SeenImage:
    """One image: its digest, size in px, mean grey level and what was seen in it."""

    image: Sha256
    width: int
    height: int
    luminance: float | None
    detections: tuple[ScoredBox, ...]


def images_sha256(digests: Iterable[Sha256]) -> Sha256:
    """The name of a set of images: over their digests, sorted, one a line."""
    return sha256_hex("".join(f"{digest}\n" for digest in sorted(digests)).encode())


def seen(digests: Sequence[Sha256], results: Sequence[ShippedResult]) -> list[SeenImage]:
    """The results of the images that `digests` name, in their order."""
    return [
        SeenImage(
            image=digest,
            width=result.width,
            height=result.height,
            luminance=result.luminance,
            detections=tuple(ScoredBox(d.class_id, d.box, d.confidence) for d in result.detections),
        )
        for digest, result in zip(digests, results, strict=True)
    ]


def encode(images: Iterable[SeenImage]) -> bytes:
    """The same bytes for the same content."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as packed:
        for image in images:
            row = {
                "image": image.image,
                "size": [image.width, image.height],
                "luminance": image.luminance,
                "detections": [_row(d) for d in image.detections],
            }
            packed.write(json.dumps(row, separators=(",", ":"), allow_nan=False).encode() + b"\n")
    return buffer.getvalue()


def decode(data: bytes) -> list[SeenImage]:
    """Raises InvalidError where `data` is not such a blob, or unpacks to too much."""
    images, read_bytes = [], 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            while line := packed.readline(LINE_BYTES_MAX):
                read_bytes += len(line)
                _check_size(read_bytes)
                images.append(_parse(json.loads(line)))
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise InvalidError(
            f"the predictions cannot be read: {error}", "evaluate the build again"
        ) from error
    return images


def _check_size(plain_bytes: int) -> None:
    if plain_bytes > PLAIN_BYTES_MAX:
        raise ValueError(f"over {PLAIN_BYTES_MAX} bytes unpacked")


def _row(box: ScoredBox) -> list[float]:
    edges = (round(edge, BOX_DECIMALS) for edge in box.box)
    return [box.class_id, round(box.confidence, CONFIDENCE_DECIMALS), *edges]


def _parse(row: dict[str, object]) -> SeenImage:
    width, height = (int(side) for side in row["size"])  # type: ignore[attr-defined]
    luminance = row["luminance"]
    return SeenImage(
        image=str(row["image"]),
        width=width,
        height=height,
        luminance=None if luminance is None else float(luminance),  # type: ignore[arg-type]
        detections=tuple(
            ScoredBox(int(c), (float(x1), float(y1), float(x2), float(y2)), float(p))
            for c, p, x1, y1, x2, y2 in row["detections"]  # type: ignore[attr-defined]
        ),
    )
