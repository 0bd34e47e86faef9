from __future__ import annotations

from dataclasses import replace
from random import Random

import cv2
import numpy as np
import pytest

from edge_agent.cameras.source import Image
from edge_agent.harvest.diversity import dhash
from edge_agent.harvest.sampler import hamming
from edge_agent.harvest.sink import HarvestedSample, HarvestSink, snapshot
from protocol.messages import HarvestPolicy
from tests.fixtures.seeing import detections, image, result


def _photo(seed: int) -> Image:
    small = image(12, 9, seed)
    return np.asarray(cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def test_an_uncertain_frame_is_sent_with_what_was_seen_in_it() -> None:
    sent: list[HarvestedSample] = []
    sink = HarvestSink(HarvestPolicy(random_share=0), Random(1), sent.append)
    picture = _photo(1)
    sink.take(result(detections((0.5, 0), (0.08, 1)), picture=picture, at_s=50.0))
    [sample] = sent
    assert (sample.reason, sample.selection_probability) == ("uncertain", 1.0)
    assert sample.uncertainty == pytest.approx((1 + 4 * 0.08 * 0.92) / 2)
    assert [d.class_id for d in sample.detections] == [0, 1]
    assert [d.confidence for d in sample.detections] == pytest.approx([0.5, 0.08])
    decoded = cv2.imdecode(np.frombuffer(sample.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == picture.shape
    assert np.abs(decoded.astype(int) - picture).mean() < 3


def test_uncertainty_is_taken_after_calibration() -> None:
    sent: list[HarvestedSample] = []
    sink = HarvestSink(HarvestPolicy(random_share=0), Random(1), sent.append)
    sure = replace(result(detections((0.5, 0))), calibrated=np.array([0.99], np.float32))
    sink.take(sure)
    assert sent == [], "raw 0.5 is uncertain, calibrated 0.99 is not"


def test_another_policy_holds_from_the_next_frame_and_the_same_one_refills_nothing() -> None:
    sent: list[HarvestedSample] = []
    one = HarvestPolicy(random_share=0, images_burst=1, images_per_hour=0)
    sink = HarvestSink(one, Random(1), sent.append)
    for number in range(10):
        sink.set_policy(one.model_copy())
        sink.take(result(picture=_photo(number), at_s=float(number)))
    assert len(sent) == 1
    sink.set_policy(one.model_copy(update={"images_burst": 2}))
    for number in range(10, 40):
        sink.take(result(picture=_photo(number), at_s=float(number)))
    assert len(sent) == 3


def test_an_image_that_the_byte_budget_cannot_pay_for_is_not_sent() -> None:
    sent: list[HarvestedSample] = []
    policy = HarvestPolicy(random_share=0, bytes_burst=100)
    HarvestSink(policy, Random(1), sent.append).take(result(picture=_photo(1)))
    assert sent == []


def test_a_disagreement_is_sent_with_what_the_incumbent_saw() -> None:
    sent: list[HarvestedSample] = []
    sink = HarvestSink(HarvestPolicy(random_share=0), Random(1), sent.append)
    sure = result(detections((0.99, 0)), picture=_photo(1))
    sink.take(sure)
    assert sent == []
    sink.disagreed(sure, 0.1)
    [sample] = sent
    assert (sample.reason, sample.selection_probability) == ("disagreement", 0.1)
    assert [d.class_id for d in sample.detections] == [0]


def test_disagreements_are_bound_by_the_policy_of_now() -> None:
    sent: list[HarvestedSample] = []
    sink = HarvestSink(HarvestPolicy(), Random(1), sent.append)
    sink.set_policy(HarvestPolicy(enabled=False))
    sink.disagreed(result(picture=_photo(1)), 1.0)
    sink.set_policy(HarvestPolicy(bytes_burst=100))
    sink.disagreed(result(picture=_photo(1)), 1.0)
    assert sent == []


def test_a_snapshot_is_sent_whatever_is_in_it() -> None:
    sample = snapshot(result(detections()))
    assert (sample.reason, sample.selection_probability, sample.uncertainty) == ("snapshot", 1, 0)
    assert sample.frame_id == "c0ffee-0"


def test_like_pictures_have_like_hashes() -> None:
    picture = _photo(1)
    brighter = np.clip(picture.astype(int) + 12, 0, 255).astype(np.uint8)
    assert hamming(dhash(picture), dhash(brighter)) <= 8
    assert hamming(dhash(picture), dhash(_photo(2))) > 16
