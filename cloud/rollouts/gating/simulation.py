"""Waves of cameras whose builds' worth is known: how often a gate is right. Pure.

Detectors are those of the promotion gate's simulation (signal detection; Green & Swets 1966), so
the mean average precision of a build is known without drawing any. Here they look at scenes that
go on: things come and stay for a while, traffic and light wander slowly, some of it at one
camera and some at all, and each camera has false things of its own that a build sees again and
again. Dice come in as an argument.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from cloud.promotion.simulation import World
from cloud.rollouts.gating.evidence import (
    CONFIDENCE,
    LATENCY_MS,
    CameraEvidence,
    Floats,
    WaveEvidence,
    Windows,
)

EXCHANGED_AT = 1_000_000.0
_CENTRES = (np.array(CONFIDENCE.edges()[:-1]) + np.array(CONFIDENCE.edges()[1:])) / 2
_SLOPE = 1.5
_FLOOR_LOGIT = math.log(19)
_GRID = np.linspace(-8.0, 14.0, 4401)
_MEANS = np.linspace(-6.0, 12.0, 361)


@dataclass(frozen=True)
class Scene:
    """What the cameras look at.

    Attributes:
        world: of the detectors; its boxes and false things are of one frame.
        window_s, frames: of a window.
        dwell_frames: for how many frames a thing is seen.
        traffic, traffic_s: deviation of its logarithm at one camera, and over which time it
            resembles itself; `shared_traffic`, `shared_traffic_s` of all cameras together.
        light, light_s: in deviations of a latent, at one camera and `shared_light` at all.
        difficulty: by how much cameras differ, for any build.
        taste: by how much a build is better at some cameras than at others.
        static_share: of the false things that stand still in front of a camera.
        calibration: deviation of a build's calibrator from the truth, in its logit.
    """

    world: World = field(default_factory=lambda: World(boxes_per_image=2.0, false_per_image=10.0))
    window_s: float = 60.0
    frames: int = 300
    dwell_frames: int = 25
    traffic: float = 0.4
    traffic_s: float = 300.0
    shared_traffic: float = 0.15
    shared_traffic_s: float = 1800.0
    light: float = 0.05
    shared_light: float = 0.05
    light_s: float = 1800.0
    difficulty: float = 0.3
    taste: float = 0.05
    static_share: float = 0.3
    calibration: float = 0.05


@dataclass(frozen=True)
class Build:
    """A detector: its objects lie `shift` higher; its calibrator errs by `offset` logits."""

    shift: float = 0.0
    offset: float = 0.0


@dataclass(frozen=True, eq=False)
class _Conditions:
    """What wanders, by window: factors of the traffic (their logarithms where shared), shifts of
    latents by the light; and at which time (Unix seconds) each window starts."""

    traffic: Floats
    light: Floats
    start_s: Floats

    def span(self, first: int, last: int, shift: float = 0.0) -> _Conditions:
        """Windows from `first` to `last`, with latents `shift` higher."""
        some = slice(first, last)
        return _Conditions(self.traffic[some], self.light[some] + shift, self.start_s[some])


def wave(
    scene: Scene,
    rng: np.random.Generator,
    *,
    cameras: int,
    controls: int,
    before: int,
    after: int,
    shift: float = 0.0,
    blind: Sequence[int] = (),
    quiet: float = 1.0,
) -> WaveEvidence:
    """A wave's evidence of `before` and `after` windows of each camera.

    shift: of the new build's objects; see `promotion.simulation.shift_for`.
    blind: cameras at which the new build sees nothing.
    quiet: factor of the traffic after the exchange, at all cameras.
    """
    incumbent, new = (Build(s, scene.calibration * rng.standard_normal()) for s in (0.0, shift))
    windows = before + after
    shared = _Conditions(
        _wander(rng, windows, scene.shared_traffic, scene.shared_traffic_s / scene.window_s),
        _wander(rng, windows, scene.shared_light, scene.light_s / scene.window_s),
        np.asarray(EXCHANGED_AT + scene.window_s * np.arange(-before, after), dtype=np.float64),
    )
    found = []
    for number in range(cameras + controls):
        after_build = new if number < cameras else incumbent
        conditions = _here(scene, rng, shared)
        conditions.traffic[before:] *= quiet
        camera = _camera(scene, rng, conditions, (incumbent, after_build), before)
        if number in blind:
            camera = _blinded(camera)
        found.append(_named(camera, number))
    return WaveEvidence(cameras=found[:cameras], controls=found[cameras:])


def _wander(rng: np.random.Generator, steps: int, deviation: float, memory: float) -> Floats:
    """A stationary first-order series (steps,) that forgets over `memory` steps."""
    keep = math.exp(-1 / max(memory, 1e-9))
    noise = rng.standard_normal(steps)
    values = np.empty(steps)
    values[0] = noise[0]
    for n in range(1, steps):
        values[n] = keep * values[n - 1] + math.sqrt(1 - keep * keep) * noise[n]
    return np.asarray(deviation * values)


def _here(scene: Scene, rng: np.random.Generator, shared: _Conditions) -> _Conditions:
    """What wanders at one camera, on top of what all share."""
    count = len(shared.traffic)
    own = _wander(rng, count, scene.traffic, scene.traffic_s / scene.window_s)
    mean = (scene.traffic**2 + scene.shared_traffic**2) / 2
    light = shared.light + _wander(rng, count, scene.light, scene.light_s / scene.window_s)
    light = light + scene.difficulty * rng.standard_normal()
    return _Conditions(np.exp(shared.traffic + own - mean), light, shared.start_s)


def _camera(
    scene: Scene,
    rng: np.random.Generator,
    conditions: _Conditions,
    builds: tuple[Build, Build],
    before: int,
) -> tuple[Windows, Windows]:
    incumbent, new = builds
    spots = _spots(scene, rng)
    kept = new is incumbent  # and so are its false things, and its taste
    shift = new.shift + (0.0 if kept else scene.taste * rng.standard_normal())
    count = len(conditions.traffic)
    earlier = conditions.span(0, before, incumbent.shift)
    later = conditions.span(before, count, incumbent.shift if kept else shift)
    return (
        _windows(scene, rng, earlier, incumbent, spots[0]),
        _windows(scene, rng, later, new, spots[0 if kept else 1]),
    )


def _spots(scene: Scene, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Latents of the false things that stand still, as both builds see them."""
    world = scene.world
    count = rng.poisson(world.false_per_image * scene.static_share)
    own = rng.standard_normal((2, count))
    alike = rng.random(count) < world.false_shared
    joint = math.sqrt(world.correlation) * own[0] + math.sqrt(1 - world.correlation) * own[1]
    return own[0], np.where(alike, joint, own[1])


def _windows(
    scene: Scene,
    rng: np.random.Generator,
    conditions: _Conditions,
    build: Build,
    spots: Floats,
) -> Windows:
    """What a build counts in windows of these conditions."""
    world, count = scene.world, len(conditions.start_s)
    classes = len(world.class_shares)
    steady = math.sqrt(world.correlation)
    edges, table = _eyes(scene, build)
    rates = np.zeros((count, classes, len(_CENTRES)))
    shares = np.array(world.class_shares) / sum(world.class_shares)
    mean = world.boxes_per_image * scene.frames / scene.dwell_frames * conditions.traffic
    for k, (share, separation) in enumerate(zip(shares, world.separations(), strict=True)):
        at = np.repeat(np.arange(count), rng.poisson(mean * share))
        latent = separation + conditions.light[at] + steady * rng.standard_normal(len(at))
        place = np.rint((latent - _MEANS[0]) / (_MEANS[1] - _MEANS[0])).astype(np.int64)
        place = place.clip(0, len(_MEANS) - 1)
        seen, firsts = np.unique(at, return_index=True)
        if len(seen):
            rates[seen, k] = scene.dwell_frames * np.add.reduceat(table[place], firsts)
    moving = world.false_per_image * (1 - scene.static_share) * _shares(edges, np.zeros(1), 1.0)[0]
    still = _shares(edges, spots, 0.5).sum(axis=0)
    rates += scene.frames * (moving + still) / classes
    counts = rng.poisson(rates).astype(np.float64)
    class_worth = counts @ _CENTRES
    frames = np.full(count, float(scene.frames))
    dropped = rng.binomial(scene.frames, 0.002, size=count).astype(np.float64)
    return Windows(
        class_names=tuple(f"class {k}" for k in range(classes)),
        start_s=conditions.start_s,
        length_s=np.full(count, scene.window_s),
        frames=frames,
        captured=frames + dropped,
        dropped=dropped,
        luminance=np.full(count, 120.0),
        worth=class_worth.sum(axis=1),
        squares=(counts @ _CENTRES**2).sum(axis=1),
        cubes=(counts @ _CENTRES**3).sum(axis=1),
        fourths=(counts @ _CENTRES**4).sum(axis=1),
        class_worth=class_worth,
        latency=_latency(scene, rng, count),
    )


@lru_cache(maxsize=8)
def _eyes(scene: Scene, build: Build) -> tuple[Floats, Floats]:
    """A build's edges (see `_edges`), and what things of latents _MEANS give: (means, bins)."""
    edges = _edges(scene, build)
    return edges, _shares(edges, _MEANS, math.sqrt(1 - scene.world.correlation))


def _edges(scene: Scene, build: Build) -> Floats:
    """The latents (21,) at which the build's calibrated confidence goes from bin to bin.

    The calibrator knows how often a latent is right on labelled images; what lies below the
    device's floor of raw confidence is not counted.
    """
    world = scene.world
    shares = np.array(world.class_shares) / sum(world.class_shares)
    apart = _GRID - world.separations()[:, None] - build.shift
    right = world.boxes_per_image * shares @ _density(apart)
    wrong = world.false_per_image * _density(_GRID)
    logit = np.log(np.maximum(right, 1e-300)) - np.log(np.maximum(wrong, 1e-300)) + build.offset
    confidence = np.maximum.accumulate(1 / (1 + np.exp(-logit)))
    inner = np.interp(np.array(CONFIDENCE.edges()[1:-1]), confidence, _GRID)
    floor = world.separation / 2 - _FLOOR_LOGIT / _SLOPE
    edges: Floats = np.maximum(np.concatenate([[floor], inner, [np.inf]]), floor)
    return edges


def _density(x: Floats) -> Floats:
    return np.asarray(np.exp(-x * x / 2))


def _shares(edges: Floats, means: Floats, deviation: float) -> Floats:
    """Share of normals at `means` in each bin, (means, bins)."""
    z = (edges[None, :] - means[:, None]) / deviation
    below = np.vectorize(math.erf, otypes=[float])(z / math.sqrt(2))
    shares: Floats = np.diff((1 + below) / 2, axis=1)
    return shares


def _latency(scene: Scene, rng: np.random.Generator, count: int) -> Floats:
    """Inference times around 20 ms."""
    share = rng.multinomial(scene.frames, _latency_shares(), size=count)
    return share.astype(np.float64)


@lru_cache(maxsize=1)
def _latency_shares() -> Floats:
    edges = np.log(np.array(LATENCY_MS.edges()))
    shares = _shares(edges, np.array([math.log(20.0)]), 0.15)[0]
    return np.asarray(shares / shares.sum())


def _blinded(camera: tuple[Windows, Windows]) -> tuple[Windows, Windows]:
    before, after = camera
    columns = {name: getattr(after, name).copy() for name in after.__dataclass_fields__
               if name != "class_names"}  # fmt: skip
    for name in ("worth", "squares", "cubes", "fourths", "class_worth"):
        columns[name] = np.zeros_like(columns[name])
    return before, Windows(after.class_names, **columns)


def _named(camera: tuple[Windows, Windows], number: int) -> CameraEvidence:
    return CameraEvidence(f"dev-{number:03d}", "cam", EXCHANGED_AT, *camera)
