"""Which image goes to which split, and which is left out. Pure: the seed is an argument.

Golden images judge, so nothing near one may be trained on or selected by. Selection
chooses the checkpoint and calibration fits confidences, so training stays off their
neighbours too.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from cloud.datasets.duplicates import Near, nearest


class Split(str, Enum):
    TRAIN = "train"
    SELECTION = "selection"
    CALIBRATION = "calibration"
    GOLDEN = "golden"


@dataclass(frozen=True)
class SplitRules:
    """How much of train is held out, and from how many bits on images count as different."""

    selection_share: float = 0.10
    calibration_share: float = 0.05
    held_out_min: int = 4
    near_distance_max: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Candidate:
    """An image that looks for its split: `name` is for people."""

    name: str
    difference_hash: bytes
    camera: str | None = None
    captured_at: float | None = None


@dataclass(frozen=True)
class LeftOut:
    """An image that is in no split, the image that it is near to and how near, in bits."""

    image: str
    near: str
    distance: int
    reason: str


@dataclass
class Plan:
    """The split of each candidate by its position; who is left out is not in it."""

    splits: dict[int, Split] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)


TRAIN_IMAGES_MIN = 4


def plan_import(train: Sequence[Candidate], golden: Sequence[Candidate], rules: SplitRules) -> Plan:
    """Split the images of an imported train folder beside the golden images of its val.

    Where cameras are known, what is held out is one block of each, its newest, as in a
    harvest; else it is drawn by the seed.

    Raises:
        ValueError: too few images of train are left to hold some of them out.
    """
    plan = Plan()
    pool = _without_near(range(len(train)), train, golden, Split.GOLDEN, rules=rules, plan=plan)
    if len(pool) < TRAIN_IMAGES_MIN:
        raise ValueError(
            f"{len(pool)} images of train differ from val; at least {TRAIN_IMAGES_MIN} are needed, "
            "so that some can be held out: add images that are not val's, or lower "
            "datasets.near_distance_bits_max"
        )
    selection = _held_out(len(pool), rules.selection_share, rules.held_out_min)
    calibration = _held_out(len(pool), rules.calibration_share, rules.held_out_min)
    if any(train[index].camera is not None for index in pool):
        cameras = _by_camera(pool, train)
        held = _shared(selection + calibration, [len(indexes) for indexes in cameras])
        for indexes, count, newest in zip(cameras, held, _shared(calibration, held), strict=True):
            _block(indexes, count - newest, newest, set(), plan)
    else:
        random.Random(rules.seed).shuffle(pool)  # noqa: S311 - a split, no secret
        for position, index in enumerate(pool):
            plan.splits[index] = (
                Split.SELECTION
                if position < selection
                else Split.CALIBRATION
                if position < selection + calibration
                else Split.TRAIN
            )
    _clear_train(train, [], rules, plan)
    return plan


def plan_harvest(
    harvest: Sequence[Candidate],
    golden: Sequence[Candidate],
    held_out: Sequence[Candidate],
    trained: Sequence[Candidate],
    rules: SplitRules,
) -> Plan:
    """Split annotated samples that join a version with these golden, held out and train images.

    Neighbours in time look alike, so what is held out is one block of each camera: its
    newest. Harvests too small for a share go to train whole.
    """
    plan = Plan()
    pool = _without_near(range(len(harvest)), harvest, golden, Split.GOLDEN, rules=rules, plan=plan)
    near_trained = nearest(
        [harvest[i].difference_hash for i in pool],
        [t.difference_hash for t in trained],
        rules.near_distance_max,
    )
    seen_in_train = {pool[position] for position in near_trained}
    for indexes in _by_camera(pool, harvest):
        selection = int(len(indexes) * rules.selection_share)
        calibration = int(len(indexes) * rules.calibration_share)
        _block(indexes, selection, calibration, seen_in_train, plan)
    _clear_train(harvest, held_out, rules, plan)
    return plan


def _by_camera(pool: Sequence[int], candidates: Sequence[Candidate]) -> list[list[int]]:
    """The images of each camera, oldest first; those of no known camera are one too."""
    found: dict[str, list[int]] = {}
    for index in pool:
        found.setdefault(candidates[index].camera or "", []).append(index)
    for indexes in found.values():
        indexes.sort(key=lambda i: (candidates[i].captured_at or 0.0, candidates[i].name))
    return list(found.values())


def _block(
    indexes: Sequence[int], selection: int, calibration: int, seen_in_train: set[int], plan: Plan
) -> None:
    """Hold the newest of a camera out, so many; the rest is train."""
    for age, index in enumerate(reversed(indexes)):
        held = (
            Split.CALIBRATION
            if age < calibration
            else Split.SELECTION
            if age < calibration + selection
            else Split.TRAIN
        )
        plan.splits[index] = Split.TRAIN if index in seen_in_train else held


def _shared(total: int, sizes: Sequence[int]) -> list[int]:
    """`total` shared out in proportion to `sizes`, whole, by the largest remainder."""
    whole = sum(sizes)
    shares = [total * size // whole for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (-(total * sizes[i] % whole), i))
    for place in by_remainder[: total - sum(shares)]:
        shares[place] += 1
    return shares


def _held_out(count: int, share: float, minimum: int) -> int:
    return max(1, min(max(minimum, round(count * share)), count // 4))


def _without_near(
    indexes: Sequence[int],
    candidates: Sequence[Candidate],
    others: Sequence[Candidate],
    other_split: Split,
    *,
    rules: SplitRules,
    plan: Plan,
) -> list[int]:
    """Those of `indexes` that are near none of `others`; the rest is listed as left out."""
    found = nearest(
        [candidates[i].difference_hash for i in indexes],
        [o.difference_hash for o in others],
        rules.near_distance_max,
    )
    for position, near in found.items():
        plan.left_out.append(_left_out(candidates[indexes[position]], others, near, other_split))
    return [index for position, index in enumerate(indexes) if position not in found]


def _left_out(
    candidate: Candidate, others: Sequence[Candidate], near: Near, other_split: Split
) -> LeftOut:
    same = "the same as" if near.distance == 0 else "nearly the same as"
    return LeftOut(
        image=candidate.name,
        near=others[near.index].name,
        distance=near.distance,
        reason=f"{same} an image of {other_split.value}",
    )


def _clear_train(
    candidates: Sequence[Candidate], held_out: Sequence[Candidate], rules: SplitRules, plan: Plan
) -> None:
    """Leave those train images out that are near a held out one, of old or of this plan."""
    held_here = [candidates[i] for i, s in plan.splits.items() if s is not Split.TRAIN]
    train = [i for i, s in plan.splits.items() if s is Split.TRAIN]
    others = [*held_here, *held_out]
    kept = set(_without_near(train, candidates, others, Split.SELECTION, rules=rules, plan=plan))
    for index in train:
        if index not in kept:
            del plan.splits[index]
