"""Whether a set that judges was taught: by digest, and by looks. Pure.

Within a dataset an import sees to it. Here the golden images are of one manifest, what was
learned from of another.
"""

from __future__ import annotations

from cloud.datasets.duplicates import nearest
from cloud.datasets.manifest import DatasetManifest, Item
from cloud.datasets.splits import LeftOut, Split
from cloud.errors import InvalidError

NAMED_MAX = 5
LEARNED_FROM = (Split.TRAIN, Split.SELECTION, Split.CALIBRATION)
"""Training learns from train, selection chooses the checkpoint, calibration fits thresholds."""


def check_disjoint(golden: DatasetManifest, trained: DatasetManifest) -> None:
    """See that no golden image of `golden` is one that `trained` teaches, selects or fits by.

    Raises:
        InvalidError: some are; it says how many and names the first.
    """
    learned = {item.image for item in trained.of(*LEARNED_FROM)}
    shared = [item for item in golden.of(Split.GOLDEN) if item.image in learned]
    if shared:
        named = ", ".join(f"{item.image[:12]} ({item.source})" for item in shared[:NAMED_MAX])
        raise InvalidError(
            f"{len(shared)} golden images were learned from, such as {named}",
            "evaluate on a golden set that shares no image with the version's dataset",
        )


def near_across(
    golden: DatasetManifest, trained: DatasetManifest, near_distance_max: int
) -> tuple[list[Item], list[LeftOut]]:
    """The golden images of `golden` to evaluate by, and those that are left out of it.

    Left out is what looks nearly like an image that `trained` teaches, selects or fits by:
    their hashes differ in at most `near_distance_max` bits.
    """
    judges, learned = golden.of(Split.GOLDEN), trained.of(*LEARNED_FROM)
    found = nearest(
        [bytes.fromhex(item.difference_hash) for item in judges],
        [bytes.fromhex(item.difference_hash) for item in learned],
        near_distance_max,
    )
    kept = [item for place, item in enumerate(judges) if place not in found]
    left_out = [
        LeftOut(
            image=judges[place].source,
            near=learned[near.index].source,
            distance=near.distance,
            reason=f"nearly the same as an image of {learned[near.index].split.value}",
        )
        for place, near in found.items()
    ]
    return kept, left_out
