"""Images that are nearly the same, found by difference hashes of their grey levels.

A hash is HASH_BITS bits; two images are near when their hashes differ in at most a few.
The search is exact and by blocks, so memory stays bounded for many thousands of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE
_BLOCK_ROWS = 512


@dataclass(frozen=True)
class Near:
    """The nearest image on the other side: its position there and the distance in bits."""

    index: int
    distance: int


def difference_hash(image: Image) -> bytes:
    """The image's hash, HASH_BITS / 8 bytes.

    A small scene that a static camera sees fills few of 64 bits, so 256 are taken.
    """
    import imagehash
    import numpy

    bits: Any = imagehash.dhash(image, HASH_SIDE).hash
    return numpy.packbits(bits.flatten()).tobytes()


def nearest(hashes: Sequence[bytes], others: Sequence[bytes], distance_max: int) -> dict[int, Near]:
    """For each of `hashes` that is within `distance_max` of one of `others`, the nearest."""
    found: dict[int, Near] = {}
    if not hashes or not others:
        return found
    theirs = _words(others)
    for start in range(0, len(hashes), _BLOCK_ROWS):
        distances = _distances(_words(hashes[start : start + _BLOCK_ROWS]), theirs)
        columns = distances.argmin(axis=1)
        for row, column in enumerate(columns):
            distance = int(distances[row, column])
            if distance <= distance_max:
                found[start + row] = Near(int(column), distance)
    return found


def _words(hashes: Sequence[bytes]) -> NDArray[np.uint64]:
    import numpy

    packed = numpy.frombuffer(b"".join(hashes), dtype=numpy.uint64)
    return packed.reshape(len(hashes), HASH_BITS // 64)


def _distances(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint16]:
    import numpy

    total = numpy.zeros((len(a), len(b)), dtype=numpy.uint16)
    for word in range(a.shape[1]):
        total += numpy.bitwise_count(a[:, None, word] ^ b[None, :, word])
    return total
