"""Near images: what is found, and that nearness has no direction."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cloud.datasets.duplicates import HASH_BITS, Near, difference_hash, nearest

hashes = st.lists(st.binary(min_size=HASH_BITS // 8, max_size=HASH_BITS // 8), max_size=6)
bits = st.integers(0, HASH_BITS)


def distance(a: bytes, b: bytes) -> int:
    return (int.from_bytes(a) ^ int.from_bytes(b)).bit_count()


@given(hashes, hashes, bits)
def test_the_nearest_is_the_one_that_a_plain_search_finds(
    some: list[bytes], others: list[bytes], distance_max: int
) -> None:
    expected = {}
    for index, one in enumerate(some):
        best = min(range(len(others)), key=lambda i: distance(one, others[i]), default=None)
        if best is not None and distance(one, others[best]) <= distance_max:
            expected[index] = Near(best, distance(one, others[best]))
    assert nearest(some, others, distance_max) == expected


@given(hashes, hashes, bits)
def test_nearness_is_symmetrical(some: list[bytes], others: list[bytes], distance_max: int) -> None:
    near_some = nearest(some, others, distance_max)
    near_others = nearest(others, some, distance_max)
    assert bool(near_some) == bool(near_others)
    for found in near_some.values():
        assert found.index in near_others
        assert near_others[found.index].distance <= found.distance


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((240, 180), Image.Resampling.BICUBIC)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(40, 95))
def test_the_same_picture_saved_otherwise_is_near_and_another_is_far(
    seed: int, quality: int
) -> None:
    buffer = BytesIO()
    picture(seed).resize((320, 240)).save(buffer, "JPEG", quality=quality)
    again = difference_hash(Image.open(buffer))
    assert nearest([again], [difference_hash(picture(seed))], distance_max=16)
    assert not nearest([again], [difference_hash(picture(seed + 1))], distance_max=16)


def test_many_are_searched_block_by_block() -> None:
    rng = np.random.default_rng(1)
    some = [rng.bytes(HASH_BITS // 8) for _ in range(1500)]
    found = nearest(some, list(reversed(some)), 0)
    assert found == {i: Near(len(some) - 1 - i, 0) for i in range(len(some))}
