from __future__ import annotations

from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.harvest.sampler import Sampler, TokenBucket, hamming
from protocol.messages import HarvestPolicy

policies = st.builds(
    HarvestPolicy,
    images_per_hour=st.floats(0, 36_000),
    images_burst=st.integers(0, 50),
    bytes_per_hour=st.floats(0, 1e9),
    bytes_burst=st.integers(0, 2_000_000),
    random_share=st.floats(0, 1),
    uncertainty_min=st.floats(0, 1),
)
gaps_s = st.one_of(st.floats(0, 5), st.floats(-5, 0), st.floats(0, 3600))
frames = st.lists(
    st.tuples(gaps_s, st.floats(0, 1), st.integers(1, 500_000), st.integers(0, 2**64 - 1)),
    max_size=150,
)


@given(st.floats(0, 100), st.floats(0, 10), st.lists(st.tuples(gaps_s, st.floats(0, 20))))
def test_a_bucket_never_gives_more_than_it_got(
    capacity: float, per_s: float, steps: list[tuple[float, float]]
) -> None:
    now_s, taken, latest_s = 0.0, 0.0, 0.0
    bucket = TokenBucket(capacity, per_s, now_s)
    for gap_s, wanted in steps:
        now_s += gap_s
        latest_s = max(latest_s, now_s)
        bucket.advance(now_s)
        taken += wanted if bucket.take(wanted) else 0.0
        assert 0 <= bucket.tokens <= capacity
        assert taken <= capacity + per_s * latest_s + 1e-6


@settings(max_examples=200)
@given(policies, frames, st.integers())
def test_images_and_bytes_stay_within_the_policy(
    policy: HarvestPolicy, seen: list[tuple[float, float, int, int]], seed: int
) -> None:
    sampler = Sampler(policy, 0.0, Random(seed))
    now_s = latest_s = 0.0
    images = size_bytes = 0
    for gap_s, uncertainty, size, fingerprint in seen:
        now_s += gap_s
        latest_s = max(latest_s, now_s)
        choice = sampler.choose("a", uncertainty, now_s, lambda value=fingerprint: value)  # type: ignore[misc]
        if choice is None:
            continue
        assert 0 < choice.selection_probability <= 1
        assert choice.reason == "random" or uncertainty >= policy.uncertainty_min
        if sampler.pay(choice, size):
            images, size_bytes = images + 1, size_bytes + size
        hours = latest_s / 3600
        assert images <= policy.images_burst + policy.images_per_hour * hours + 1e-6
        assert size_bytes <= policy.bytes_burst + policy.bytes_per_hour * hours + 1e-3


def _run(policy: HarvestPolicy, uncertainty: float, frames_count: int, seed: int = 1) -> list[str]:
    """Reasons of what is sent at ten frames a second, every picture unlike the others."""
    sampler, rng = Sampler(policy, 0.0, Random(seed)), Random(seed)
    sent: list[str] = []
    for number in range(frames_count):
        choice = sampler.choose("a", uncertainty, number / 10, lambda: rng.getrandbits(64))
        if choice is not None and sampler.pay(choice, 1000):
            sent.append(choice.reason)
    return sent


def test_certain_frames_are_sent_by_chance_alone_at_the_share_of_the_rate() -> None:
    policy = HarvestPolicy(images_per_hour=3600, random_share=0.15, images_burst=20)
    sent = _run(policy, uncertainty=0.0, frames_count=20_000)
    assert set(sent) == {"random"}
    assert len(sent) == pytest.approx(2000 * 0.15, rel=0.2)


def test_uncertain_frames_never_use_up_the_share_of_chance() -> None:
    policy = HarvestPolicy(images_per_hour=3600, random_share=0.2, images_burst=20)
    sent = _run(policy, uncertainty=0.9, frames_count=20_000)
    assert sent.count("random") == pytest.approx(2000 * 0.2, rel=0.25)
    assert sent.count("uncertain") == pytest.approx(2000 * 0.8, rel=0.1)


def test_random_images_weighted_by_their_probability_estimate_all_frames() -> None:
    policy = HarvestPolicy(images_per_hour=7200, random_share=0.5, images_burst=100)
    sampler = Sampler(policy, 0.0, Random(3))
    weights = 0.0
    for number in range(30_000):
        choice = sampler.choose("a", 0.0, number / 20, lambda: 0)
        if choice is not None:
            sampler.pay(choice, 1)
            weights += 1 / choice.selection_probability
    assert weights == pytest.approx(30_000, rel=0.1)


def test_doubt_leaves_the_part_of_chance_untouched_and_an_image_is_paid_for_once() -> None:
    policy = HarvestPolicy(images_burst=10, images_per_hour=0, random_share=0.3)
    assert _run(policy, uncertainty=1.0, frames_count=2000) == ["uncertain"] * 7
    one = HarvestPolicy(images_burst=1, images_per_hour=0, random_share=0, bytes_per_hour=0)
    sampler = Sampler(one, 0.0, Random(1))
    choice = sampler.choose("a", 1.0, 0.0, lambda: 0)
    assert choice is not None
    assert [sampler.pay(choice, 1) for _ in range(3)] == [True, False, False]


def test_like_pictures_are_sent_once() -> None:
    sampler = Sampler(HarvestPolicy(random_share=0), 0.0, Random(1))
    reasons = [sampler.choose("a", 1.0, n / 10, lambda: 0b111) for n in range(20)]
    assert sum(r is not None for r in reasons) == 1
    assert sampler.choose("b", 1.0, 2.0, lambda: 0b111), "another camera has pictures of its own"


def test_a_policy_that_is_off_or_without_budget_sends_nothing() -> None:
    assert _run(HarvestPolicy(enabled=False), 0.9, 500) == []
    assert _run(HarvestPolicy(images_burst=0), 0.9, 500) == []
    assert _run(HarvestPolicy(bytes_burst=0), 0.9, 500) == []


def test_the_fingerprint_is_asked_for_only_when_it_decides() -> None:
    calls = count()
    sampler = Sampler(HarvestPolicy(random_share=0, uncertainty_min=0.5), 0.0, Random(1))
    sampler.choose("a", 0.4, 0.1, lambda: next(calls))
    assert next(calls) == 0


def test_hamming_counts_bits() -> None:
    assert [hamming(0, 0), hamming(0b1010, 0b0101), hamming(0, 2**64 - 1)] == [0, 4, 64]


@settings(max_examples=100)
@given(policies, frames, st.integers(), st.floats(0.001, 1))
def test_disagreements_stay_within_the_policy_too(
    policy: HarvestPolicy, seen: list[tuple[float, float, int, int]], seed: int, share: float
) -> None:
    sampler, rng = Sampler(policy, 0.0, Random(seed)), Random(seed)
    now_s = latest_s = 0.0
    images = size_bytes = 0
    for gap_s, uncertainty, size, fingerprint in seen:
        now_s += gap_s
        latest_s = max(latest_s, now_s)
        if rng.random() < 0.5:
            choice = sampler.choose_disagreement("a", share, now_s, fingerprint)
        else:
            choice = sampler.choose("a", uncertainty, now_s, lambda value=fingerprint: value)  # type: ignore[misc]
        if choice is None:
            continue
        assert 0 < choice.selection_probability <= 1
        if sampler.pay(choice, size):
            images, size_bytes = images + 1, size_bytes + size
        hours = latest_s / 3600
        assert images <= policy.images_burst + policy.images_per_hour * hours + 1e-6
        assert size_bytes <= policy.bytes_burst + policy.bytes_per_hour * hours + 1e-3


def test_doubt_leaves_half_of_its_part_to_disagreements_while_there_are_any() -> None:
    policy = HarvestPolicy(images_burst=20, images_per_hour=0, random_share=0)
    sampler, rng = Sampler(policy, 0.0, Random(1)), Random(1)
    assert sampler.choose_disagreement("b", 1e-9, 0.0, 0) is not None
    sent = []
    for number in range(2000):
        choice = sampler.choose("a", 1.0, number / 100, lambda: rng.getrandbits(64))
        if choice is not None and sampler.pay(choice, 1):
            sent.append(choice.reason)
    assert sent == ["uncertain"] * 10
    for number in range(2000):
        choice = sampler.choose_disagreement("a", 0.5, 30.0 + number / 100, rng.getrandbits(64))
        if choice is not None and sampler.pay(choice, 1):
            sent.append(choice.reason)
    assert sent.count("disagreement") == 10
    # Long after the shadow, doubt has all of its part again; there is nothing left of it here.
    assert sampler.choose("a", 1.0, 500.0, lambda: rng.getrandbits(64)) is None


def test_a_disagreement_says_how_likely_it_was_looked_at_and_taken() -> None:
    sampler = Sampler(HarvestPolicy(random_share=0), 0.0, Random(1))
    choice = sampler.choose_disagreement("a", 0.25, 0.0, 1)
    assert choice is not None
    assert (choice.reason, choice.selection_probability) == ("disagreement", 0.25)
    assert sampler.choose_disagreement("a", 0.25, 0.1, 1) is None, "the same picture again"
    off = Sampler(HarvestPolicy(enabled=False), 0.0, Random(1))
    assert off.choose_disagreement("a", 1.0, 0.0, 1) is None
