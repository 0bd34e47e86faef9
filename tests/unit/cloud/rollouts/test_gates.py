"""The verdict of a wave's gate: what it must be whatever the figures are."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.promotion.gate import Finding
from cloud.rollouts.gating import judging as gates
from cloud.rollouts.gating.component import Component
from cloud.rollouts.gating.evidence import (
    CameraEvidence,
    DeviceEvidence,
    WaveEvidence,
    Windows,
)
from cloud.rollouts.gating.judging import GateResult, judge
from cloud.rollouts.gating.policy import GatePolicy
from cloud.rollouts.gating.simulation import Scene, wave
from protocol.states import Verdict

POLICY = GatePolicy()
STEADY = Scene(traffic=0.15, shared_traffic=0.05, static_share=0.1, taste=0.0, calibration=0.0)
"""A line that runs: what a gate can tell of it hangs on the build, not on the hour."""

few = settings(max_examples=4, deadline=None)
seeds = st.integers(0, 2**16)


@cache
def evidence(
    seed: int = 1,
    *,
    cameras: int = 10,
    controls: int = 10,
    after: int = 60,
    shift: float = 0.0,
    blind: tuple[int, ...] = (),
    quiet: float = 1.0,
) -> WaveEvidence:
    return wave(
        STEADY, np.random.default_rng(seed), cameras=cameras, controls=controls, before=240,
        after=after, shift=shift, blind=blind, quiet=quiet,
    )  # fmt: skip


def component(result: GateResult, name: str) -> Component:
    return next(c for c in result.components if c.name == name)


def darkened(camera: CameraEvidence) -> CameraEvidence:
    after = camera.after
    return replace(camera, after=replace(after, luminance=np.full(len(after), 12.0)))


def test_an_equal_build_passes_and_a_far_worse_one_fails() -> None:
    equal, worse = judge(evidence(), POLICY, 1), judge(evidence(shift=-1.5), POLICY, 1)
    assert (equal.verdict, equal.test) == (Verdict.PASS, 1)
    assert worse.verdict is Verdict.FAIL
    assert component(worse, "mean confidence").finding is Finding.HARM
    assert "mean confidence" in worse.reason


def test_a_fall_that_two_calibrators_may_make_holds_and_asks() -> None:
    result = judge(evidence(shift=-0.7), POLICY, 1)
    assert result.verdict is Verdict.INCONCLUSIVE
    found = component(result, "mean confidence")
    assert found.finding is Finding.UNSHOWN
    assert "two calibrators alone may differ so" in found.reason
    strict = POLICY.model_copy(update={"confidence_harm_min": 0.0})
    assert component(judge(evidence(shift=-0.7), strict, 1), "mean confidence").finding is (
        Finding.HARM
    )


@given(seed=seeds)
@few
def test_the_same_evidence_gives_the_same_verdict_to_the_last_figure(seed: int) -> None:
    some = evidence(seed, cameras=3, controls=0, after=20)
    assert judge(some, POLICY, 2) == judge(some, POLICY, 2)


@given(seed=seeds, shift=st.sampled_from([-1.0, -0.3, 0.0]))
@few
def test_the_order_of_the_cameras_changes_no_verdict(seed: int, shift: float) -> None:
    some = evidence(seed, cameras=4, controls=4, after=20, shift=shift)
    turned = replace(some, cameras=some.cameras[::-1], controls=some.controls[::-1])
    one, other = judge(some, POLICY, 1), judge(turned, POLICY, 1)
    assert one.verdict is other.verdict
    for a in one.components:
        b = component(other, a.name)
        assert a.finding is b.finding
        assert a.shift == pytest.approx(b.shift, abs=1e-9)
        assert a.low == pytest.approx(b.low, abs=1e-9)


@given(seed=seeds, shift=st.sampled_from([-1.0, -0.3, 0.0]))
@few
def test_a_later_test_of_the_same_evidence_shows_less_either_way(seed: int, shift: float) -> None:
    some = evidence(seed, cameras=4, controls=4, after=20, shift=shift)
    first, later = judge(some, POLICY, 1), judge(some, POLICY, 4)
    assert later.alpha < first.alpha
    for strict in later.components:
        loose = next((c for c in first.components if c.name == strict.name), None)
        if strict.finding in {Finding.HARM, Finding.HOLDS}:
            assert loose is not None
            assert loose.finding is strict.finding


def test_all_tests_together_spend_no_more_than_alpha() -> None:
    spent = [gates.alpha_of(0.05, test) for test in range(1, 2000)]
    assert 0.0499 < sum(spent) <= 0.05
    assert spent == sorted(spent, reverse=True)


def test_one_blind_camera_among_fifty_fails_the_wave() -> None:
    some = evidence(3, cameras=50, controls=0, blind=(17,))
    result = judge(some, POLICY, 1)
    assert result.verdict is Verdict.FAIL
    harmed = [c for c in result.components if c.finding is Finding.HARM]
    assert [(c.camera, c.kind) for c in harmed] == [("dev-017/cam", "detection_rate")]


def test_fifty_equal_cameras_fail_nothing() -> None:
    for seed in range(2):
        assert judge(evidence(seed, cameras=50, controls=0), POLICY, 1).verdict is not Verdict.FAIL


@pytest.mark.parametrize("controls", [0, 1, 10])
@pytest.mark.parametrize("quiet", [0.3, 0.05, 0.0])
def test_quiet_cameras_never_fail(controls: int, quiet: float) -> None:
    for seed in range(3):
        some = evidence(seed, controls=controls, quiet=quiet)
        assert judge(some, POLICY, 1).verdict is not Verdict.FAIL


def test_fewer_things_without_controls_are_not_laid_to_the_build() -> None:
    result = judge(evidence(controls=0, quiet=0.3), POLICY, 1)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "scene alone" in component(result, "detections per frame").reason


def test_the_controls_take_off_what_happens_to_all() -> None:
    result = judge(evidence(quiet=0.5), POLICY, 1)
    rate = component(result, "detections per frame")
    assert (rate.controls, rate.cameras) == (10, 10)
    assert rate.before is not None
    assert rate.after is not None
    assert rate.after < 0.8 * rate.before
    assert abs(rate.shift or 0.0) < 0.1


def test_two_controls_are_too_few_to_tell() -> None:
    assert component(judge(evidence(controls=2), POLICY, 1), "mean confidence").controls == 0


def test_a_night_is_not_held_against_days() -> None:
    some = evidence(quiet=0.2, shift=-1.0)
    dark = replace(some, cameras=[darkened(camera) for camera in some.cameras])
    result = judge(dark, POLICY, 1)
    assert (result.verdict, result.frames, result.test) == (Verdict.INCONCLUSIVE, 0, 0)


def test_half_of_the_cameras_in_the_dark_are_too_few_of_the_wave() -> None:
    some = evidence()
    dark = [darkened(c) if n < 6 else c for n, c in enumerate(some.cameras)]
    result = judge(replace(some, cameras=dark), POLICY, 1)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert component(result, "cameras").finding is Finding.UNSHOWN


@pytest.mark.parametrize(
    "more", [{"frames_min": 10**6}, {"detections_min": 10**7}, {"camera_frames_min": 10**6}]
)
def test_too_little_is_inconclusive_and_no_test(more: dict[str, int]) -> None:
    result = judge(evidence(shift=-2.0), POLICY.model_copy(update=more), 3)
    assert (result.verdict, result.test) == (Verdict.INCONCLUSIVE, 2)


def test_nothing_at_all_is_inconclusive() -> None:
    result = judge(WaveEvidence(cameras=()), POLICY, 1)
    assert (result.verdict, result.test, result.cameras) == (Verdict.INCONCLUSIVE, 0, 0)


def test_starts_and_words_of_people_fail_whatever_was_measured() -> None:
    crashing = DeviceEvidence("dev-1", starts=3)
    stopped = DeviceEvidence("dev-2", overridden="went back by hand")
    for device, name in ((crashing, "restarts"), (stopped, "overrides")):
        for cameras in ((), evidence().cameras):
            some = replace(evidence(), cameras=cameras, devices=[device])
            result = judge(some, POLICY, 1)
            assert result.verdict is Verdict.FAIL
            assert device.device_id in component(result, name).reason
    allowed = POLICY.model_copy(update={"restarts_max": 3, "overrides_max": 1})
    some = replace(evidence(), devices=[crashing, stopped])
    assert judge(some, allowed, 1).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("agreement", "seen", "finding"),
    [(0.9, 500, Finding.HOLDS), (0.3, 500, Finding.HARM), (0.3, 20, Finding.REPORTED)],
)
def test_shadows_are_judged_together(agreement: float, seen: float, finding: Finding) -> None:
    shadow = {"shadow_agreement": agreement, "shadow_detections": seen}
    some = replace(evidence(), devices=[DeviceEvidence("dev-1", shadow=shadow)])
    assert component(judge(some, POLICY, 1), "shadow").finding is finding


def slowed(camera: CameraEvidence, bins: int) -> CameraEvidence:
    latency = np.roll(camera.after.latency, bins, axis=1)
    return replace(camera, after=replace(camera.after, latency=latency))


def test_a_build_that_takes_twice_the_time_fails_and_one_bin_more_is_no_proof() -> None:
    for bins, verdict in ((3, Verdict.FAIL), (1, Verdict.INCONCLUSIVE)):
        some = replace(evidence(), cameras=[slowed(c, bins) for c in evidence().cameras])
        result = judge(some, POLICY, 1)
        assert result.verdict is verdict
        harmed = {c.kind for c in result.components if c.finding is Finding.HARM}
        assert harmed == ({"latency"} if bins == 3 else set())


def test_dropped_frames_fail() -> None:
    def dropping(windows: Windows) -> Windows:
        return replace(windows, dropped=windows.captured * 0.2)

    cameras = [replace(c, after=dropping(c.after)) for c in evidence().cameras]
    result = judge(replace(evidence(), cameras=cameras), POLICY, 1)
    assert component(result, "dropped frames").finding is Finding.HARM


def test_another_class_in_its_place_is_a_shift_of_the_mix() -> None:
    def turned(windows: Windows) -> Windows:
        return replace(windows, class_names=windows.class_names[::-1])

    mixed = replace(STEADY.world, class_shares=(0.5, 0.1, 0.1, 0.1, 0.1, 0.1))
    some = wave(replace(STEADY, world=mixed), np.random.default_rng(1), cameras=4, controls=4,
                before=100, after=40)  # fmt: skip
    cameras = [replace(c, after=turned(c.after)) for c in some.cameras]
    result = judge(replace(some, cameras=cameras), POLICY, 1)
    assert component(result, "class mix").finding is Finding.HARM
    assert component(judge(some, POLICY, 1), "class mix").finding is Finding.HOLDS


def test_a_result_is_kept_as_json() -> None:
    for some in (evidence(), evidence(shift=-1.0), WaveEvidence(cameras=())):
        result = judge(some, POLICY, 1)
        assert GateResult.of(json.loads(json.dumps(result.as_dict()))) == result


def test_a_verdict_stands_until_there_is_twice_as_much() -> None:
    first = judge(evidence(after=20), POLICY, 1)
    assert not gates.grown(evidence(after=20), first)
    assert gates.grown(evidence(after=40), first)
    carried = gates.carry(first, [DeviceEvidence("dev-1", starts=9)], POLICY)
    assert (carried.verdict, carried.test, carried.alpha) == (Verdict.FAIL, 1, first.alpha)
    assert gates.carry(first, (), POLICY) == first
