"""The simulation's own claims, and that a wave's gate is right on it, in small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from cloud.promotion import simulation
from cloud.rollouts.gating.evidence import CameraEvidence
from cloud.rollouts.gating.figures import Kind, Measured, measure
from cloud.rollouts.gating.judging import judge
from cloud.rollouts.gating.policy import GatePolicy
from cloud.rollouts.gating.simulation import Scene, wave

CALM = Scene(
    traffic=0.1, shared_traffic=0.0, light=0.0, shared_light=0.0, difficulty=0.0, taste=0.0,
    static_share=0.0, calibration=0.0,
)  # fmt: skip


def scene(quality: float, calm: Scene = CALM) -> Scene:
    return replace(calm, world=simulation.of_quality(calm.world, quality))


def measured(cameras: Sequence[CameraEvidence]) -> dict[Kind, Measured]:
    return measure(cameras, GatePolicy().camera_frames_min)


@pytest.mark.parametrize("quality", [0.6, 0.8, 0.9, 0.97])
def test_what_a_loss_of_map50_costs_in_confidence_is_beyond_the_margin(quality: float) -> None:
    """0.05 mAP50 cost 0.03 to 0.05 of the weighed mean: what the default margin rests on."""
    here = scene(quality)
    shift = simulation.shift_for(here.world, 0.05)
    some = wave(here, np.random.default_rng(1), cameras=12, controls=0, before=120, after=120,
                shift=shift)  # fmt: skip
    figures = measured(some.cameras)["confidence"]
    drop = float(figures.shift.mean())
    assert 0.025 < drop < 0.055
    assert drop > GatePolicy().confidence_drop_max


def test_confidence_does_not_go_with_the_traffic() -> None:
    """Half as many things come by: nothing is seen worse."""
    some = wave(scene(0.9), np.random.default_rng(1), cameras=8, controls=0, before=120, after=120,
                quiet=0.5)  # fmt: skip
    figures = measured(some.cameras)
    assert abs(float(figures["confidence"].shift.mean())) < 0.008
    assert float(figures["detections"].shift.mean()) > 0.3
    assert figures["confidence"].things == pytest.approx([0.5] * 8, abs=0.1)


def test_the_errors_of_the_wave_are_the_spread_over_new_waves() -> None:
    """Of a scene that is slow at each camera: what a camera has of its own evens out."""
    slow = replace(scene(0.9), traffic=0.4, traffic_s=600.0)
    weights = np.full(6, 1 / 6)
    values, errors = [], []
    for seed in range(16):
        some = wave(slow, np.random.default_rng(seed), cameras=6, controls=0, before=240, after=40)
        estimate = measured(some.cameras)["detections"].over(weights)
        values.append(estimate.value)
        errors.append(estimate.error)
    assert 0.6 < np.mean(errors) / np.std(values) < 1.8


def test_the_gate_accepts_equals_and_no_worse_ones_in_small() -> None:
    here = scene(0.9, Scene(traffic=0.2, shared_traffic=0.05))
    shift = simulation.shift_for(here.world, 0.05)
    verdicts: dict[float, list[str]] = {0.0: [], shift: []}
    for loss, found in verdicts.items():
        for seed in range(6):
            some = wave(here, np.random.default_rng(seed), cameras=8, controls=8, before=120,
                        after=40, shift=loss)  # fmt: skip
            found.append(judge(some, GatePolicy(), 1).verdict.value)
    assert verdicts[0.0].count("PASS") >= 5
    assert "FAIL" not in verdicts[0.0]
    assert "PASS" not in verdicts[shift]
