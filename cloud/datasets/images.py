"""Image files as they come from outside: bounded before they are decoded."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from cloud.datasets.duplicates import difference_hash
from protocol.chunks import sha256_hex

FORMATS = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp"}
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


@dataclass(frozen=True)
class ImageLimits:
    """How large an image may be, as a file and decoded."""

    file_bytes_max: int = 64 * 1024 * 1024
    pixels_max: int = 64_000_000
    side_px_min: int = 8


@dataclass(frozen=True)
class ImageFacts:
    """A decoded image: upright size in pixels, digest of its bytes, suffix of its format."""

    sha256: str
    size_bytes: int
    width: int
    height: int
    suffix: str
    difference_hash: bytes


def read_image(path: Path, limits: ImageLimits) -> ImageFacts:
    """Read and decode the image file at `path`.

    Raises:
        ValueError: it is no whole image of a known format or over a limit; the message
            says which and what to do.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise ValueError("is no regular file; remove it, or put the image in its place")
    size_bytes = path.stat().st_size
    if size_bytes > limits.file_bytes_max:
        raise ValueError(
            f"the file has {size_bytes} bytes, over {limits.file_bytes_max}; store it smaller"
        )
    return image_facts(path.read_bytes(), limits)


def words(error: Exception) -> str:
    """What Pillow says, without the address of its buffer."""
    return str(error).split("<_io", maxsplit=1)[0].strip()[:80]


def image_facts(data: bytes, limits: ImageLimits) -> ImageFacts:
    """The facts of an encoded image. Raises ValueError as `read_image` does."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            # Pillow's own warning about large images: our limit is checked right after.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(data), formats=tuple(FORMATS))
        width, height = image.size
        if width * height > limits.pixels_max:
            raise ValueError(
                f"the image says {width}x{height} pixels, over {limits.pixels_max}; store it "
                "smaller, or remove it if that is not its size"
            )
        upright = ImageOps.exif_transpose(image)
        upright.load()
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"the image says more pixels than {limits.pixels_max} and is not decoded; store it "
            "smaller, or remove it if that is not its size"
        ) from error
    except (OSError, SyntaxError, EOFError, IndexError) as error:
        raise ValueError(
            f"not a whole image of the formats {', '.join(FORMATS)} "
            f"({words(error)}); replace or remove it"
        ) from error
    if min(upright.size) < limits.side_px_min:
        raise ValueError(
            f"the image is {upright.width}x{upright.height} pixels; a side has at least "
            f"{limits.side_px_min}"
        )
    return ImageFacts(
        sha256=sha256_hex(data),
        size_bytes=len(data),
        width=upright.width,
        height=upright.height,
        suffix=FORMATS[str(image.format)],
        difference_hash=difference_hash(upright),
    )
