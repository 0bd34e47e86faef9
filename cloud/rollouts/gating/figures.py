"""The figures of a wave's gate, of each camera against its own baseline, drawn again. Pure.

The mean calibrated confidence is taken with each detection weighed by the square of its own: it
is of those that are likely right. The plain mean is the share of right ones among all that lie
above the floor, most of which are no objects at any quality: it hardly moves when a build gets
worse, and moves with the traffic (docs/adr/0032-wave-gates.md has the figures).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cloud.rollouts.gating import resampling
from cloud.rollouts.gating.evidence import (
    LATENCY_BINS,
    LATENCY_MS,
    CameraEvidence,
    Floats,
    Windows,
)
from cloud.rollouts.gating.resampling import Estimate

Kind = Literal["confidence", "detections", "class_mix", "latency", "dropped"]
KINDS: tuple[Kind, ...] = ("confidence", "detections", "class_mix", "latency", "dropped")

ROUNDS = 300
CLASSES_MAX = 20
LIGHT_TOLERANCE = 16.0
"""Grey levels by which the light of both sides may miss each other: a bin of the histogram."""
RIGHT_MIN = 20.0
"""Detections that are likely right, below which a camera tells nothing of how well it sees."""
WINDOWS_MIN = 8
PLACEBOS_MIN, PLACEBOS_MAX = 2, 64
OVERLAP_WORTH = 1.5
"""Spans that overlap tell of a variance about as much as this many times those that do not."""
QUANTILE = 0.95
_HEADS = ("frames", "captured", "dropped", "worth", "squares", "cubes", "fourths")
_HEAD = len(_HEADS)
BIN_STEP = math.log(LATENCY_MS.high / LATENCY_MS.low) / LATENCY_BINS

Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Measured:
    """One figure of all cameras, C of them, of K parts (1, or the classes).

    Attributes:
        before, after: (C, K), in the figure's unit; latency as ln ms.
        shift: (C, K), how much worse it is after; of the class mix how far it moved.
        certain: (C, K), the least shift that the bins allow: what harm is told by.
        things: (C,), how many times as many things as before come by.
        known: (C,), where the camera showed enough to have it.
        before_rounds, after_rounds: (C, rounds, K), distances from `shift` when one side's
            blocks are drawn again.
        placebos: (C, spans, K), shifts of spans within the baseline, as long as the time
            after the exchange; without spans where the baseline is too short.
        freedom: independent blocks before, after, and placebos, each less one.
    """

    kind: Kind
    before: Floats
    after: Floats
    shift: Floats
    certain: Floats
    things: Floats
    known: Bools
    before_rounds: Floats
    after_rounds: Floats
    placebos: Floats
    freedom: tuple[float, ...]

    def over(self, weights: Floats, *, certain: bool = False) -> Estimate:
        """The sum of the cameras' shifts by `weights` (C,).

        The error of the time after is the larger of two: from its own blocks, and from spans
        of the baseline as long as it, which know of changes that are slower than that time.
        """
        sides = [
            np.einsum("c,crk->rk", weights, rounds)
            for rounds in (self.before_rounds, self.after_rounds, self.placebos)
        ]
        value = weights @ (self.certain if certain else self.shift)
        if self.kind == "class_mix":
            return self._distance(value, sides)
        variances = [float((side**2).mean()) if side.size else 0.0 for side in sides]
        return Estimate(float(value[0]), *self._error(variances))

    def _distance(self, value: Floats, sides: list[Floats]) -> Estimate:
        """Total variation distance, less what chance alone makes of it."""
        variances, chance = [], []
        for side in sides:
            far = np.abs(side).sum(axis=1) / 2
            along = (side * np.sign(value)).sum(axis=1) / 2
            both = (float((along**2).mean()), float(far.var())) if far.size else (0.0, 0.0)
            variances.append(max(both))
            chance.append(float((far**2).mean()) if far.size else 0.0)
        seen = float(np.abs(value).sum() / 2)
        left = max(0.0, seen**2 - chance[0] - max(chance[1:]))
        return Estimate(math.sqrt(left), *self._error(variances))

    def _error(self, variances: Sequence[float]) -> tuple[float, float]:
        """Standard error, and its degrees of freedom by Welch's rule (1947)."""
        before, after, placebo = variances
        freedom = self.freedom[2] if placebo > after else self.freedom[1]
        after = max(after, placebo)
        whole = before + after
        if whole <= 0:
            return 0.0, self.freedom[0]
        parts = before**2 / self.freedom[0] + after**2 / freedom
        return math.sqrt(whole), max(resampling.FREEDOM_MIN, whole**2 / parts)


def in_like_light(camera: CameraEvidence) -> CameraEvidence:
    """The windows of both sides whose light the other side has seen, too.

    No build changes the light, and a night says nothing of a build that is compared with days.
    Windows whose light is not known are kept.
    """
    before, after = camera.before, camera.after
    after = after.only(_within(after.luminance, before.luminance))
    before = before.only(_within(before.luminance, after.luminance))
    return CameraEvidence(camera.device_id, camera.camera, camera.exchanged_at, before, after)


def _within(light: Floats, other: Floats) -> Bools:
    known = other[np.isfinite(other)]
    if not len(known):
        return np.ones(len(light), dtype=bool)
    low, high = known.min() - LIGHT_TOLERANCE, known.max() + LIGHT_TOLERANCE
    return np.asarray(~np.isfinite(light) | ((light >= low) & (light <= high)))


def measure(
    cameras: Sequence[CameraEvidence], frames_min: int, seed: int = 1
) -> dict[Kind, Measured]:
    """All figures of `cameras`.

    frames_min: on each side, below which nothing is known of a camera.
    seed: of the drawing, so that a gate can be repeated to the last figure.
    """
    names = _class_names(cameras)
    step_s = _step_s(cameras)
    before = _aligned([(c.before, c.exchanged_at) for c in cameras], names, step_s)
    after = _aligned([(c.after, c.exchanged_at) for c in cameras], names, step_s)
    length = max(resampling.block_length(series) for series in _series(before))
    rng = np.random.default_rng(seed)
    lengths = (length, max(1, min(length, after.shape[1] // 4)))
    sides = [
        resampling.block_weights(side.shape[1], blocks, ROUNDS, rng) @ side
        for side, blocks in zip((before, after), lengths, strict=True)
    ]
    steps = (before.shape[1], after.shape[1])
    freedom = (
        steps[0] / length - 1,
        steps[1] / length - 1,
        OVERLAP_WORTH * steps[0] / steps[1] - 1,
    )
    drawn = _Drawn(
        before=sides[0],
        after=sides[1],
        spans=_spans(before, steps[1]),
        part=min(steps[1] / steps[0], 1 / PLACEBOS_MIN),
        freedom=tuple(max(resampling.FREEDOM_MIN, each) for each in freedom),
    )
    known = _known(cameras, sides[0][:, 0], sides[1][:, 0], frames_min)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {kind: _measured(kind, drawn, known[kind]) for kind in KINDS}


def same_hour(camera: CameraEvidence, day_s: float = 86_400.0) -> bool:
    """Whether the baseline holds the same time of the day before, for most of what came after."""
    if not len(camera.before) or not len(camera.after):
        return False
    wanted = camera.after.start_s - day_s
    place = np.searchsorted(camera.before.start_s, wanted).clip(0, len(camera.before) - 1)
    near = np.minimum(
        np.abs(camera.before.start_s[place] - wanted),
        np.abs(camera.before.start_s[np.maximum(place - 1, 0)] - wanted),
    )
    return bool((near <= 2 * float(np.median(camera.before.length_s)) + 60.0).mean() >= 0.5)


def _class_names(cameras: Sequence[CameraEvidence]) -> tuple[str, ...]:
    """The classes of which most is seen; what is left over shares a last part."""
    worth: dict[str, float] = {}
    for camera in cameras:
        for side in (camera.before, camera.after):
            for name, value in zip(side.class_names, side.class_worth.sum(axis=0), strict=True):
                worth[name] = worth.get(name, 0.0) + float(value)
    return tuple(sorted(worth, key=lambda name: (-worth[name], name))[:CLASSES_MAX])


def _step_s(cameras: Sequence[CameraEvidence]) -> float:
    lengths = np.concatenate([side.length_s for c in cameras for side in (c.before, c.after)])
    return max(1e-3, float(np.median(lengths))) if len(lengths) else 1.0


def _aligned(
    sides: Sequence[tuple[Windows, float]], names: tuple[str, ...], step_s: float
) -> Floats:
    """Sums of each camera in steps of time from its exchange, (cameras, steps, columns).

    Steps of which no camera has anything are left out. Columns: frames, captured, dropped,
    worth, squares, cubes, fourths; worth by class, with a last one for all others; latency by bin.
    """
    steps = [np.floor((w.start_s - at) / step_s).astype(np.int64) for w, at in sides]
    used = np.unique(np.concatenate(steps)) if steps else np.zeros(0, dtype=np.int64)
    sums = np.zeros((len(sides), max(1, len(used)), _HEAD + len(names) + 1 + LATENCY_BINS))
    for row, (windows, _) in enumerate(sides):
        at = np.searchsorted(used, steps[row])
        columns = np.zeros((len(windows), sums.shape[2]))
        for column, name in enumerate(_HEADS):
            columns[:, column] = getattr(windows, name)
        for k, name in enumerate(windows.class_names):
            column = names.index(name) if name in names else len(names)
            columns[:, _HEAD + column] += windows.class_worth[:, k]
        columns[:, -LATENCY_BINS:] = windows.latency
        np.add.at(sums[row], at, columns)
    return sums


def _series(sums: Floats) -> tuple[Floats, ...]:
    """What each step adds to detections per frame and to confidence, (cameras, steps), and the
    means of both over the cameras, (1, steps)."""
    frames, worth, squares, cubes = (sums[..., column] for column in (0, 3, 4, 5))
    tiny = np.finfo(float).tiny
    rate = worth.sum(axis=1, keepdims=True) / np.maximum(frames.sum(axis=1, keepdims=True), tiny)
    mean = cubes.sum(axis=1, keepdims=True) / np.maximum(squares.sum(axis=1, keepdims=True), tiny)
    missing = np.where(frames > 0, 0.0, np.nan)
    each = (worth - rate * frames + missing, cubes - mean * squares + missing)
    size = np.maximum(np.where(frames > 0, worth, 0.0).mean(axis=1, keepdims=True), tiny)
    known = np.maximum((frames > 0).sum(axis=0, keepdims=True), 1)
    # What all share is slow, and small beside what each has of its own: it shows in their mean.
    return *each, *(np.nan_to_num(one / size).sum(axis=0, keepdims=True) / known for one in each)


def _spans(before: Floats, steps: int) -> Floats:
    """Sums over spans of `steps` within the baseline, (cameras, spans, columns)."""
    whole = before.shape[1]
    if whole < PLACEBOS_MIN * steps:
        return before[:, :0]
    running = np.concatenate([np.zeros_like(before[:, :1]), before.cumsum(axis=1)], axis=1)
    starts = np.unique(np.linspace(0, whole - steps, PLACEBOS_MAX).astype(int))
    return np.asarray(running[:, starts + steps] - running[:, starts])


def _known(
    cameras: Sequence[CameraEvidence], before: Floats, after: Floats, frames_min: int
) -> dict[Kind, Bools]:
    """Which cameras showed enough for each figure; sums are (cameras, columns)."""
    enough = np.array([min(len(c.before), len(c.after)) >= WINDOWS_MIN for c in cameras])
    enough &= (before[:, 0] >= frames_min) & (after[:, 0] >= frames_min)
    awaited = before[:, 3] / np.maximum(before[:, 0], 1) * after[:, 0]
    busy = enough & (before[:, 3] >= RIGHT_MIN)
    seeing = busy & (after[:, 3] >= RIGHT_MIN)
    timed = [side[:, -LATENCY_BINS:].sum(axis=1) > 0 for side in (before, after)]
    return {
        "confidence": seeing,
        "detections": busy & (awaited >= RIGHT_MIN),
        "class_mix": seeing,
        "latency": enough & timed[0] & timed[1],
        "dropped": enough & (before[:, 1] > 0) & (after[:, 1] > 0),
    }


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Sums of both sides (cameras, rounds + 1, columns), as they are in round 0; and of spans
    within the baseline, each of which is the share `part` of it."""

    before: Floats
    after: Floats
    spans: Floats
    part: float
    freedom: tuple[float, ...]


def _measured(kind: Kind, drawn: _Drawn, known: Bools) -> Measured:
    sides = (drawn.before, drawn.after)
    before, after = (figure(kind, sums) for sums in sides)
    first, last = before[:, :1], after[:, :1]
    whole = _shift(kind, first, last)
    certain = whole
    if kind == "latency":
        bins = [_p95_bin(sums[:, :1, -LATENCY_BINS:])[0] for sums in sides]
        certain = ((bins[1] - bins[0] - 1) * BIN_STEP)[..., None]
    # A span is a part of the baseline that it is held against, and so the nearer to it.
    placebos = _shift(kind, first, figure(kind, drawn.spans)) / math.sqrt(1 - drawn.part)
    told = _shown(kind, first, last)
    return Measured(
        kind=kind,
        before=told[0][:, 0],
        after=told[1][:, 0],
        things=_things(*(sums[:, 0, 3:_HEAD] / sums[:, 0, :1] for sums in sides)),
        shift=_only(whole, known)[:, 0],
        certain=_only(certain, known)[:, 0],
        known=known,
        before_rounds=_only(_shift(kind, before[:, 1:], last) - whole, known),
        after_rounds=_only(_shift(kind, first, after[:, 1:]) - whole, known),
        placebos=_only(placebos, known),
        freedom=drawn.freedom,
    )


def _only(values: Floats, known: Bools) -> Floats:
    """0 where nothing is known, so that a weighted sum is one of known cameras."""
    kept = known[:, None, None] & np.isfinite(values)
    return np.where(kept, values, 0.0)


def figure(kind: Kind, sums: Floats) -> Floats:
    """The figure (..., K) of sums (..., columns); NaN where it is of nothing. Of the confidence
    the sums of its powers per frame, from which `_shift` makes it."""
    match kind:
        case "confidence":
            return np.asarray(sums[..., 3:_HEAD] / sums[..., :1])
        case "detections":
            return np.asarray((sums[..., 3] / sums[..., 0])[..., None])
        case "class_mix":
            return np.asarray(sums[..., _HEAD:-LATENCY_BINS] / sums[..., 3:4])
        case "latency":
            place, share = _p95_bin(sums[..., -LATENCY_BINS:])
            return np.asarray((math.log(LATENCY_MS.low) + BIN_STEP * (place + share))[..., None])
        case "dropped":
            return np.asarray((sums[..., 2] / sums[..., 1])[..., None])


def _shift(kind: Kind, before: Floats, after: Floats) -> Floats:
    """How much worse `after` is than `before`."""
    if kind == "confidence":
        return _awaited_confidence(before, after) - _confidence(after)
    if kind == "detections":
        return np.asarray(1 - after / before)
    return after - before


def _confidence(moments: Floats) -> Floats:
    """Mean confidence (..., 1) from sums of powers per frame (..., 4)."""
    return np.asarray((moments[..., 2] / moments[..., 1])[..., None])


def _things(before: Floats, after: Floats) -> Floats:
    """How many times as many things as before come by, by the worth of both sides.

    A calibrated confidence says which part of a detection is right. What is right goes with the
    things that come by; what is wrong is the background's, and stays.
    """
    wrong = before[..., 0] - before[..., 1]
    return np.asarray(np.maximum(0.0, (after[..., 0] - wrong) / before[..., 1]))


def _awaited_confidence(before: Floats, after: Floats) -> Floats:
    """The baseline's mean confidence (..., 1), had as many things come by as came after."""
    things = _things(before, after)
    cubes = before[..., 2] + (things - 1) * before[..., 3]
    squares = before[..., 1] + (things - 1) * before[..., 2]
    return np.asarray((cubes / squares)[..., None])


def _shown(kind: Kind, before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """Both sides as they are told, of figures of both."""
    if kind == "confidence":
        return _awaited_confidence(before, after), _confidence(after)
    return before, after


def _p95_bin(counts: Floats) -> tuple[Floats, Floats]:
    """The bin in which the 95th percentile lies, and how far into it (0..1)."""
    running = counts.cumsum(axis=-1)
    wanted = QUANTILE * running[..., -1:]
    place = (running < wanted).sum(axis=-1, keepdims=True).clip(0, LATENCY_BINS - 1)
    held = np.take_along_axis(counts, place, axis=-1)
    reached = np.take_along_axis(running, place, axis=-1) - held
    return place[..., 0].astype(float), ((wanted - reached) / held)[..., 0]
