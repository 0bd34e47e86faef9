"""Pairs of models on golden sets that nobody had to label: how often a gate is right.

Each object has a difficulty that both models feel and noise that each has for itself; what is
no object now and then looks like one, to both or to one of them. All is Gaussian on the scale of
confidence (signal detection; Green & Swets 1966), so the average precision that a model has on
endlessly many images is known without drawing any. Pure: the dice come in as an argument.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cloud.evaluation import average_precision
from cloud.evaluation.matching import IOU_50, ClassMatches, Floats, Integers, Matches
from cloud.promotion.pair import Latency, PairedEvidence, PairedSet, Side

_SEARCH_STEPS = 24
_LATENT_STEPS = 1500
_SLOPE = 1.5
"""How steeply a latent becomes a confidence: changes no order, so no average precision."""

BOARD_SHARES: tuple[float, ...] = (207 / 950, 142 / 950, 182 / 950, 139 / 950, 143 / 950, 137 / 950)
"""Boxes of each class among those of the circuit boards' golden set."""


@dataclass(frozen=True)
class World:
    """What there is to be seen, and how alike two trainings see it.

    Attributes:
        class_shares: of the boxes, by class.
        boxes_per_image: mean of a Poisson count, at least one.
        separation: mean latent of an object above that of what is none, in its deviations.
        class_spread: the classes' separations lie evenly within this much around it.
        correlation: of the two models' latents of one thing.
        image_share: share of the common part that a whole image has in common (light, focus).
        false_per_image: things that are no object, seen by a model in an image.
        false_shared: share of those that the other model sees too.
        floor: latent from which a detection is told at all.
    """

    class_shares: tuple[float, ...] = BOARD_SHARES
    boxes_per_image: float = 950 / 150
    separation: float = 3.5
    class_spread: float = 1.0
    correlation: float = 0.5
    image_share: float = 0.15
    false_per_image: float = 30.0
    false_shared: float = 0.5
    floor: float = -1.0

    def separations(self) -> Floats:
        """Of each class, (classes,)."""
        return self.separation + self.class_spread * np.linspace(0.5, -0.5, len(self.class_shares))


@dataclass(frozen=True)
class _Things:
    """Things in images as one model sees them: image, class and latent of each, (N,)."""

    images: Integers
    classes: Integers
    latents: Floats


def pair(
    world: World, images: int, rng: np.random.Generator, shift: float = 0.0
) -> tuple[Matches, Matches]:
    """A candidate and an incumbent on the same new images; the candidate's objects lie `shift`
    deviations higher, which makes it better, or worse where it is negative."""
    counts = np.maximum(rng.poisson(world.boxes_per_image, images), 1)
    at = np.repeat(np.arange(images), counts)
    shares = np.array(world.class_shares)
    classes = rng.choice(len(shares), len(at), p=shares / shares.sum())
    mood = rng.standard_normal(images)
    objects = _latents(world, at, mood, rng) + world.separations()[classes]
    objects[0] += shift
    true = [_Things(at, classes, latents) for latents in objects]
    wrong = _false(world, images, mood, rng)
    return (
        _matches(world, images, true[0], wrong[0]),
        _matches(world, images, true[1], wrong[1]),
    )


def evidence(candidate: Matches, incumbent: Matches) -> PairedEvidence:
    """A simulated pair as a gate takes it: detection alone, so all else is the same."""
    names = tuple(f"class {c}" for c in candidate.per_class)
    images = tuple(f"{i:06d}" for i in range(candidate.images))
    golden = PairedSet(images, Side.of(candidate), Side.of(incumbent))
    same = Latency(10.0, "simulated")
    return PairedEvidence(
        class_names=names,
        known=frozenset(candidate.per_class),
        golden=golden,
        candidate_robustness={"light 3": 0.9},
        incumbent_robustness={"light 3": 0.9},
        candidate_latency=same,
        incumbent_latency=same,
    )


def true_map50(world: World, shift: float = 0.0) -> float:
    """mAP50 of a model of this world on endlessly many images, by COCO's 101 recalls."""
    latent = np.linspace(8.0 + world.separation, world.floor, _LATENT_STEPS)
    false = world.false_per_image / len(world.class_shares) * _above(latent)
    found = []
    for share, separation in zip(world.class_shares, world.separations(), strict=True):
        recall = _above(latent - separation - shift)
        right = world.boxes_per_image * share * recall
        precision = right / np.maximum(right + false, np.finfo(float).tiny)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        place = np.searchsorted(recall, average_precision.RECALLS)
        found.append(np.append(precision, 0.0)[place].mean())
    return float(np.mean(found))


def of_quality(world: World, map50: float) -> World:
    """The world whose separation gives models of that mAP50."""
    low, high = 0.0, 8.0
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        reached = true_map50(replace(world, separation=middle))
        low, high = (middle, high) if reached < map50 else (low, middle)
    return replace(world, separation=(low + high) / 2)


def shift_for(world: World, loss: float) -> float:
    """The shift that costs a model of this world so much mAP50 (0: none)."""
    if loss == 0:
        return 0.0
    whole = true_map50(world)
    low, high = -4.0, 0.0
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        lost = whole - true_map50(world, middle)
        low, high = (middle, high) if lost > loss else (low, middle)
    return (low + high) / 2


def _above(latent: Floats) -> Floats:
    """Share of a standard normal above each of `latent`."""
    return np.array([0.5 * math.erfc(x / math.sqrt(2)) for x in latent])


def _latents(world: World, at: Integers, mood: Floats, rng: np.random.Generator) -> Floats:
    """Both models' latents of the same things, (2, N), of deviation 1."""
    shared = np.sqrt(world.image_share) * mood[at] + np.sqrt(
        1 - world.image_share
    ) * rng.standard_normal(len(at))
    own = rng.standard_normal((2, len(at)))
    return np.asarray(np.sqrt(world.correlation) * shared + np.sqrt(1 - world.correlation) * own)


def _false(world: World, images: int, mood: Floats, rng: np.random.Generator) -> list[_Things]:
    """What is no object and looks like one, to each model."""
    classes, both = len(world.class_shares), world.false_per_image * world.false_shared
    at = np.repeat(np.arange(images), rng.poisson(both, images))
    kinds = rng.integers(classes, size=len(at))
    found = []
    for shared in _latents(world, at, mood, rng):
        own_at = np.repeat(np.arange(images), rng.poisson(world.false_per_image - both, images))
        own_kinds = rng.integers(classes, size=len(own_at))
        own = rng.standard_normal(len(own_at))
        found.append(
            _Things(
                np.concatenate([at, own_at]),
                np.concatenate([kinds, own_kinds]),
                np.concatenate([shared, own]),
            )
        )
    return found


def _matches(world: World, images: int, true: _Things, wrong: _Things) -> Matches:
    latents = np.concatenate([true.latents, wrong.latents])
    at = np.concatenate([true.images, wrong.images])
    classes = np.concatenate([true.classes, wrong.classes])
    correct = np.arange(len(latents)) < len(true.latents)
    told = np.flatnonzero(latents > world.floor)
    told = told[np.argsort(-latents[told], kind="stable")]
    confidences = 1 / (1 + np.exp(-_SLOPE * (latents[told] - world.separation / 2)))
    per_class = {}
    for class_id in range(len(world.class_shares)):
        own = classes[told] == class_id
        per_class[class_id] = ClassMatches(
            confidences[own],
            correct[told][own],
            at[told][own],
            np.bincount(true.images[true.classes == class_id], minlength=images).astype(np.int64),
        )
    return Matches(IOU_50, images, per_class)


def acceptance(verdicts: Sequence[str], verdict: str = "PASS") -> tuple[float, float, float]:
    """Share of `verdict` with its 95 % interval (Wilson 1927): share, low, high."""
    count, z = len(verdicts), 1.959964
    share = sum(v == verdict for v in verdicts) / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count**2)) / (1 + z * z / count)
    return share, float(centre - half), float(centre + half)
