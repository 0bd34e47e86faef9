"""How sure a figure is that was measured over time: blocks of time, drawn again. Pure.

Frames of a camera resemble their neighbours, and so do minutes: a slow scene shows few things
often. So whole blocks of time are drawn, of the length over which the data resemble
themselves (Künsch 1989; circular: Politis & Romano 1992; length: Politis & White 2004, with
Patton's correction of 2009). All cameras get the same blocks, since what happens to a site
happens to all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cloud.rollouts.gating.evidence import Floats

_NORMAL = NormalDist()
FREEDOM_MIN = 2.0
LENT_MAX = 8
"""Cameras whose blocks count as many as the own ones, at most."""
_BAND = 2.0
"""How far from 0 a correlation has to lie to be taken for one, in standard errors."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error, of which `freedom` independent blocks tell."""

    value: float
    error: float
    freedom: float

    def reach(self, alpha: float) -> float:
        """Half of an interval that errs on one side with probability `alpha`."""
        return t_quantile(alpha, self.freedom) * self.error

    def p_above(self, bound: float) -> float:
        """p of "it is `bound` or less", small where the figure lies far above."""
        room = self.value - bound
        if self.error <= 0:
            return 0.0 if room > 0 else 1.0
        return t_tail(room / self.error, self.freedom)


def moderated(own: Estimate, mean_error: float, cameras: int) -> Estimate:
    """One of several cameras' estimates, with what the others say of how far such ones scatter.

    A single camera's error rests on few blocks. The others' mean error adds to that, as Smyth's
    moderated t (2004) has it, but never makes it less.
    """
    freedom = own.freedom * min(cameras, LENT_MAX)
    return Estimate(own.value, max(own.error, mean_error), freedom)


def t_quantile(alpha: float, freedom: float) -> float:
    """Student's t that is exceeded with probability `alpha` (below 0.5).

    By Wallace's transformation to the normal (1959); the inverse of `t_tail`.
    """
    z = -_NORMAL.inv_cdf(alpha) * (8 * freedom + 3) / (8 * freedom + 1)
    return math.sqrt(freedom * math.expm1(z * z / freedom))


def t_tail(t: float, freedom: float) -> float:
    """Probability that Student's t exceeds `t`."""
    z = math.sqrt(freedom * math.log1p(t * t / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    return _NORMAL.cdf(-math.copysign(z, t))


def block_length(series: Floats) -> int:
    """Over how many steps the rows of `series` (cameras, steps) resemble themselves.

    Politis and White's choice for the circular bootstrap of a mean, from the correlations of all
    rows together. A row's steps without data are NaN, and left out.
    """
    steps = series.shape[1]
    if steps < 4 or not len(series):
        return 1
    lags = min(steps // 2, 4 * math.ceil(math.sqrt(steps)) + 5)
    rho = _correlations(series, lags)
    window = 2 * _last_correlated(rho, int(np.isfinite(series).sum()))
    shape = np.arange(1, min(window, lags) + 1)
    taper = np.clip(2 * (1 - shape / max(window, 1)), 0, 1)
    some = rho[1 : len(shape) + 1]
    spectrum = 1 + 2 * float((taper * some).sum())
    slope = 2 * float((taper * shape * some).sum())
    if spectrum <= 0 or slope <= 0:
        return 1
    length = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * steps ** (1 / 3)
    return int(max(1, min(math.ceil(length), steps // 3)))


def _correlations(series: Floats, lags: int) -> Floats:
    """Autocorrelation (lags + 1,) of all rows, each about its own mean."""
    known = np.isfinite(series)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, series, 0).sum(axis=1, keepdims=True) / count
    apart = np.where(known, series - mean, 0.0)
    # Each row counts the same, however much it varies.
    apart /= np.maximum(np.sqrt((apart**2).sum(axis=1, keepdims=True)), np.finfo(float).tiny)
    steps = series.shape[1]
    whole = float((apart * apart).sum())
    if whole <= 0:
        return np.zeros(lags + 1)
    products = [float((apart[:, : steps - k] * apart[:, k:]).sum()) for k in range(lags + 1)]
    return np.array(products) / whole


def _last_correlated(rho: Floats, values: int) -> int:
    """The lag after which several correlations in a row cannot be told from 0."""
    run = max(5, math.ceil(math.sqrt(math.log10(max(values, 10)))))
    band = _BAND * math.sqrt(math.log10(max(values, 10)) / max(values, 1))
    small = np.abs(rho[1:]) < band
    for lag in range(len(small)):
        if small[lag : lag + run].all():
            return max(lag, 1)
    return len(small)


def block_weights(steps: int, length: int, rounds: int, rng: np.random.Generator) -> Floats:
    """How often each step is drawn, (rounds + 1, steps); in row 0 each is drawn once."""
    blocks = math.ceil(steps / length)
    starts = rng.integers(steps, size=(rounds, blocks, 1))
    drawn = ((starts + np.arange(length)) % steps).reshape(rounds, -1)[:, :steps]
    flat = (drawn + np.arange(rounds)[:, None] * steps).reshape(-1)
    weights = np.bincount(flat, minlength=rounds * steps).reshape(rounds, steps)
    return np.concatenate([np.ones((1, steps)), weights.astype(np.float64)])
