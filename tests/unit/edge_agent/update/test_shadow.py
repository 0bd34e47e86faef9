from __future__ import annotations

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update.shadow import (
    FAILED_FRAME,
    IOU_MIN,
    MS_EMPTY,
    Seen,
    ShadowCounts,
    compare,
    judge,
    match,
    median_ms,
)
from protocol.messages import ShadowPolicy
from protocol.states import Verdict

Found = tuple[float, float, float, str, float]

places = st.floats(0, 60, allow_subnormal=False)
found = st.tuples(places, places, st.floats(1, 40), st.sampled_from("abc"), st.floats(0, 1))
latencies = st.one_of(st.none(), st.floats(0.01, 5000))
sights = st.builds(lambda boxes, ms: saw(*boxes, ms=ms), st.lists(found, max_size=6), latencies)
frames = st.lists(st.tuples(sights, sights), max_size=12)


def saw(*boxes: Found, ms: float | None = 10.0) -> Seen:
    """Square boxes (x, y, side, class, confidence), the most confident first."""
    rows = sorted(boxes, key=lambda row: -row[4])
    corners = [(x, y, x + side, y + side) for x, y, side, _, _ in rows]
    return Seen(
        np.array(corners, np.float32).reshape(-1, 4),
        tuple(name for *_, name, _ in rows),
        np.array([row[4] for row in rows], np.float32),
        ms,
    )


def merged(counts: list[ShadowCounts]) -> ShadowCounts:
    return reduce(ShadowCounts.merge, counts, ShadowCounts())


def counted(
    *, frames: int = 300, both: int = 600, flips: int = 0, births: int = 0, misses: int = 0
) -> ShadowCounts:
    """Counts with latencies of a tie."""
    latency = MS_EMPTY.add([10.0] * frames).counts
    return ShadowCounts(
        frames=frames,
        incumbent_boxes=both + misses,
        candidate_boxes=both + births,
        matched=both,
        flips=flips,
        incumbent_ms=latency,
        candidate_ms=latency,
    )


def test_a_frame_is_counted_box_by_box() -> None:
    incumbent = saw((0, 0, 10, "a", 0.9), (20, 0, 10, "b", 0.5), (40, 0, 10, "a", 0.4), ms=10.0)
    candidate = saw((1, 0, 10, "a", 0.7), (20, 0, 10, "a", 0.6), (0, 40, 10, "b", 0.3), ms=20.0)
    counts = compare(incumbent, candidate)
    assert (counts.frames, counts.matched, counts.flips) == (1, 2, 1)
    assert (counts.births, counts.misses, counts.detections) == (1, 1, 4)
    assert counts.disagreeing == 1
    assert counts.agreement == pytest.approx(1 / 4)
    assert counts.class_flips == pytest.approx(1 / 2)
    assert counts.confidence_shift == pytest.approx((0.2 + 0.1) / 2, abs=1e-5)
    assert counts.latency_ratio == pytest.approx(2.0, rel=0.15)


def test_a_box_of_its_own_class_is_matched_before_another_that_overlaps_more() -> None:
    incumbent = saw((0, 0, 10, "b", 0.9), (2, 0, 10, "a", 0.5))
    candidate = saw((0, 0, 10, "a", 0.9), (0, 0, 10, "b", 0.2))
    counts = compare(incumbent, candidate)
    assert (counts.matched, counts.flips, counts.disagreeing) == (2, 0, 0)


def test_the_most_confident_box_chooses_first_and_takes_what_it_overlaps_most() -> None:
    incumbent = saw((0, 0, 10, "a", 0.9), (3, 0, 10, "a", 0.8))
    candidate = saw((2, 0, 10, "a", 0.3), (3, 0, 10, "a", 0.9))
    assert sorted(match(incumbent, candidate)) == [(0, 1), (1, 0)]


def test_two_empty_frames_agree() -> None:
    counts = compare(saw(), saw())
    assert (counts.detections, counts.agreement, counts.disagreeing) == (0, 1.0, 0)


@given(sights, sights)
def test_pairs_are_one_to_one_and_overlap(incumbent: Seen, candidate: Seen) -> None:
    pairs = match(incumbent, candidate)
    assert len({i for i, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    for i, c in pairs:
        a, b = incumbent.boxes[i].astype(float), candidate.boxes[c].astype(float)
        sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        shared = sides.clip(0).prod()
        both = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared
        assert shared / both >= IOU_MIN - 1e-9
    counts = compare(incumbent, candidate)
    assert min(counts.births, counts.misses, counts.matched - counts.flips) >= 0
    assert 0 <= counts.agreement <= 1


@given(sights)
def test_a_build_agrees_with_itself(sight: Seen) -> None:
    counts = compare(sight, sight)
    assert counts.agreement == 1
    assert (counts.disagreeing, counts.confidence_shift) == (0, 0)


@given(frames, st.randoms(use_true_random=False), st.integers(0, 12))
def test_counts_are_the_same_in_any_order_and_grouping(
    seen: list[tuple[Seen, Seen]], order: object, cut: int
) -> None:
    counts = [compare(*pair) for pair in seen]
    together = merged(counts)
    order.shuffle(counts)  # type: ignore[attr-defined]
    assert merged(counts[:cut]).merge(merged(counts[cut:])) == together
    assert together.frames == len(seen)


def test_what_agrees_passes_and_says_so() -> None:
    judgement = judge(ShadowPolicy(), counted())
    assert judgement.verdict is Verdict.PASS
    assert judgement.figures["shadow_agreement"] == 1
    assert judgement.figures["shadow_latency_ratio"] == pytest.approx(1)
    assert "shadow_rate_share" not in judgement.figures, "unknown is not 0"


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (counted(both=600, births=300, misses=300), "agreement"),
        (counted(flips=40), "another class"),
        (replace(counted(), confidence_shift_sum=120.0), "confidences lie"),
        (replace(counted(), candidate_ms=MS_EMPTY.add([30.0] * 300).counts), "median latency"),
        (replace(counted(), errors=10), "raised"),
        (replace(ShadowCounts(), errors=300), "raised"),
    ],
)
def test_what_differs_fails_with_the_reason(counts: ShadowCounts, words: str) -> None:
    judgement = judge(ShadowPolicy(), counts)
    assert judgement.verdict is Verdict.FAIL
    assert words in judgement.reason


def test_a_rare_error_is_no_fault() -> None:
    assert judge(ShadowPolicy(), counted().merge(FAILED_FRAME)).verdict is Verdict.PASS


def test_a_candidate_whose_latency_is_not_known_is_not_passed() -> None:
    counts = replace(counted(), candidate_ms=MS_EMPTY.counts)
    judgement = judge(ShadowPolicy(), counts)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "latency" in judgement.reason


wide = st.builds(
    counted,
    frames=st.integers(1, 500),
    both=st.integers(0, 900),
    births=st.integers(0, 300),
    misses=st.integers(0, 300),
)
flipped = st.builds(
    lambda counts, share, shift: replace(
        counts, flips=int(counts.matched * share), confidence_shift_sum=counts.matched * shift
    ),
    wide,
    st.floats(0, 0.2),
    st.floats(0, 0.5),
)


@given(flipped, st.integers(1, 400), st.integers(0, 400))
def test_below_either_minimum_there_is_no_verdict(
    counts: ShadowCounts, frames_min: int, detections_min: int
) -> None:
    policy = ShadowPolicy(frames_min=frames_min, detections_min=detections_min)
    below = counts.frames < frames_min or counts.detections < detections_min
    assert (judge(policy, counts).verdict is Verdict.INCONCLUSIVE) is below


@given(flipped, st.integers(1, 50))
def test_more_agreement_never_turns_pass_into_fail(counts: ShadowCounts, more: int) -> None:
    policy = ShadowPolicy(frames_min=20, detections_min=10)
    if judge(policy, counts).verdict is not Verdict.PASS:
        return
    assert judge(policy, counts.merge(counted(frames=more, both=more))).verdict is Verdict.PASS
    mended = replace(counts, flips=max(0, counts.flips - more))
    assert judge(policy, mended).verdict is Verdict.PASS


@given(st.lists(st.floats(0.2, 50_000), min_size=1, max_size=60))
def test_a_median_is_right_to_a_bin(values: list[float]) -> None:
    median = median_ms(MS_EMPTY.add(values).counts)
    lower = sorted(values)[(len(values) - 1) // 2]
    assert median is not None
    assert lower / 1.27 <= median <= lower * 1.27


def test_the_rate_is_compared_between_stretches() -> None:
    stretches = ShadowCounts(with_frames=49, with_s=2.0, without_frames=100, without_s=4.0)
    assert stretches.rate_share == pytest.approx(0.98)
    assert ShadowCounts().rate_share is None
