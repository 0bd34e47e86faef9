"""Who goes where: nothing near a judge is learned from, and the seed decides the rest."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.datasets.splits import (
    TRAIN_IMAGES_MIN,
    Candidate,
    Plan,
    Split,
    SplitRules,
    plan_harvest,
    plan_import,
)

RULES = SplitRules()


def candidates(seed: int, count: int, camera: str | None = None) -> list[Candidate]:
    rng = random.Random(seed)
    return [
        Candidate(f"{seed}-{i}", rng.randbytes(32), camera, captured_at=float(i))
        for i in range(count)
    ]


def flipped(candidate: Candidate, bits: int) -> Candidate:
    """The same image with some bits of its hash turned."""
    number = int.from_bytes(candidate.difference_hash) ^ ((1 << bits) - 1)
    return Candidate(f"{candidate.name}'", number.to_bytes(32), candidate.camera, 0.0)


def members(plan: Plan, split: Split) -> list[int]:
    return sorted(index for index, found in plan.splits.items() if found is split)


def test_shares_are_taken_from_train_by_the_seed() -> None:
    train = candidates(1, 200)
    plan = plan_import(train, candidates(2, 50), RULES)
    assert len(members(plan, Split.SELECTION)) == 20
    assert len(members(plan, Split.CALIBRATION)) == 10
    assert len(members(plan, Split.TRAIN)) == 170
    assert plan == plan_import(train, candidates(2, 50), RULES)
    assert plan != plan_import(train, candidates(2, 50), SplitRules(seed=1))
    drawn_since_the_first_release = [9, 26, 32, 88, 110, 112, 117, 134, 142, 193]
    assert members(plan, Split.CALIBRATION) == drawn_since_the_first_release


def test_an_import_holds_out_the_newest_block_of_each_camera() -> None:
    train = candidates(1, 60, "north") + candidates(2, 40, "south")
    plan = plan_import(train, candidates(3, 5), RULES)
    assert members(plan, Split.CALIBRATION) == [57, 58, 59, 98, 99]
    assert members(plan, Split.SELECTION) == [*range(51, 57), *range(94, 98)]
    assert plan == plan_import(train, candidates(3, 5), SplitRules(seed=1))


def test_an_import_goes_by_time_and_not_by_the_order_of_files() -> None:
    train = [
        Candidate(c.name, c.difference_hash, "north", captured_at=100.0 - i)
        for i, c in enumerate(candidates(1, 40))
    ]
    plan = plan_import(train, [], RULES)
    assert members(plan, Split.CALIBRATION) == [0, 1, 2, 3]
    assert members(plan, Split.SELECTION) == [4, 5, 6, 7]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.integers(0, 12))
@settings(deadline=None)
def test_many_small_cameras_hold_out_as_much_as_one_large(
    sizes: list[int], without_camera: int
) -> None:
    train = candidates(99, without_camera)
    for number, size in enumerate(sizes):
        train += candidates(number, size, f"camera-{number}")
    if len(train) < TRAIN_IMAGES_MIN:
        return
    plan = plan_import(train, [], RULES)
    drawn = plan_import([Candidate(c.name, c.difference_hash) for c in train], [], RULES)
    for split in Split:
        assert len(members(plan, split)) == len(members(drawn, split))


def test_what_is_near_golden_is_left_out_and_listed() -> None:
    golden = candidates(2, 5)
    train = [*candidates(1, 20), flipped(golden[3], 8), flipped(golden[1], 9), golden[0]]
    plan = plan_import(train, golden, RULES)
    assert {20, 22}.isdisjoint(plan.splits)
    assert 21 in plan.splits
    assert [(e.image, e.near, e.distance) for e in plan.left_out] == [
        ("2-3'", "2-3", 8),
        ("2-0", "2-0", 0),
    ]
    assert plan.left_out[0].reason == "nearly the same as an image of golden"
    assert plan.left_out[1].reason == "the same as an image of golden"


def test_too_few_images_say_what_to_do() -> None:
    golden = candidates(2, 5)
    with pytest.raises(ValueError, match=r"3 images of train differ from val; at least 4"):
        plan_import([*candidates(1, 3), *golden], golden, RULES)


@settings(deadline=None)
@given(st.integers(4, 60), st.integers(0, 10), st.integers(0, 30), st.integers(0, 5))
def test_train_is_clear_of_all_that_is_held_out(
    fresh: int, golden_count: int, copies: int, seed: int
) -> None:
    golden = candidates(2, golden_count)
    train = candidates(1, fresh)
    train += [flipped(train[i % fresh], 1 + i % 8) for i in range(copies)]
    plan = plan_import(train, golden, SplitRules(seed=seed))
    held = [i for i, s in plan.splits.items() if s is not Split.TRAIN]
    for index in members(plan, Split.TRAIN):
        for other in held:
            a, b = train[index].difference_hash, train[other].difference_hash
            assert (int.from_bytes(a) ^ int.from_bytes(b)).bit_count() > RULES.near_distance_max
    assert len(plan.splits) + len(plan.left_out) == len(train)
    assert members(plan, Split.SELECTION)


def test_harvest_holds_out_the_newest_block_of_each_camera() -> None:
    harvest = candidates(1, 40, "north") + candidates(2, 40, "south")
    plan = plan_harvest(harvest, [], [], [], RULES)
    assert members(plan, Split.CALIBRATION) == [38, 39, 78, 79]
    assert members(plan, Split.SELECTION) == [34, 35, 36, 37, 74, 75, 76, 77]


def test_a_small_harvest_goes_to_train_whole() -> None:
    plan = plan_harvest(candidates(1, 9, "north"), [], [], [], RULES)
    assert len(members(plan, Split.TRAIN)) == 9


def test_harvest_near_golden_or_held_out_is_left_out_and_near_train_stays_in_train() -> None:
    golden, held, trained = candidates(2, 3), candidates(3, 3), candidates(4, 3)
    harvest = [
        flipped(golden[0], 3),
        flipped(held[0], 3),
        *(flipped(t, 2) for t in trained),
        *candidates(5, 37),
    ]
    plan = plan_harvest(harvest, golden, held, trained, RULES)
    assert {e.near for e in plan.left_out} == {"2-0", "3-0"}
    assert {2, 3, 4} <= set(members(plan, Split.TRAIN))
