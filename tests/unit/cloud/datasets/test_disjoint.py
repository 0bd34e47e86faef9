"""A golden set of one dataset and what a version of another learned from."""

from __future__ import annotations

import pytest

from cloud.datasets import manifest as manifests
from cloud.datasets.manifest import DatasetManifest, Item
from cloud.datasets.service import check_disjoint, near_across
from cloud.datasets.splits import LeftOut, Split
from cloud.errors import InvalidError
from tests.unit.cloud.datasets.test_extension import item


def manifest(*items: Item) -> DatasetManifest:
    return manifests.build(("a", "b"), list(items))


def turned(like: Item, bits: int, seed: int, split: Split) -> Item:
    """Another image whose hash differs in so many bits."""
    number = int(like.difference_hash, 16) ^ ((1 << bits) - 1)
    return item(seed, split, difference_hash=f"{number:064x}")


@pytest.mark.parametrize("split", [Split.TRAIN, Split.SELECTION, Split.CALIBRATION])
def test_a_golden_image_that_was_learned_from_is_refused(split: Split) -> None:
    golden = manifest(*(item(n, Split.GOLDEN) for n in range(9)))
    trained = manifest(*(item(n, split) for n in range(2, 30)))
    with pytest.raises(InvalidError) as refused:
        check_disjoint(golden, trained)
    assert "7 golden images were learned from" in refused.value.message
    assert sum(item(n).image[:12] in refused.value.message for n in range(2, 9)) == 5
    assert refused.value.message.count("import:") == 5


def test_golden_of_both_and_train_of_both_are_no_overlap() -> None:
    golden = manifest(item(1, Split.GOLDEN), item(2, Split.TRAIN))
    trained = manifest(item(1, Split.GOLDEN), item(2, Split.TRAIN))
    check_disjoint(golden, trained)


def test_what_looks_like_a_learned_image_is_left_out_and_listed() -> None:
    near, far, plain = (item(n, Split.GOLDEN) for n in (1, 2, 3))
    golden = manifest(near, far, plain, item(4, Split.TRAIN))
    trained = manifest(
        turned(near, 8, 11, Split.CALIBRATION),
        turned(far, 9, 12, Split.TRAIN),
        turned(plain, 0, 13, Split.GOLDEN),
    )
    kept, left_out = near_across(golden, trained, 8)
    assert sorted(kept, key=lambda i: i.source) == [far, plain]
    assert left_out == [
        LeftOut("import:1.jpg", "import:11.jpg", 8, "nearly the same as an image of calibration")
    ]
    assert near_across(golden, manifest(item(4)), 8) == (list(golden.of(Split.GOLDEN)), [])
