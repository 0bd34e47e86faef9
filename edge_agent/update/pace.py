"""On how many frames a shadow looks, so that the incumbent does not suffer. Pure.

Time is cut into stretches, with the shadow and without it in turns, and the incumbent's rate
is measured in both. What else burdens the machine burdens both kinds of stretches, so their
quotient is what the shadow costs.

Where that quotient varies by itself, on a machine that is full or shared, it can tell no cost
of 2 %. There the share rests on what a look takes: a candidate that computes for no more than
2 % of the time cannot take more of it from the incumbent. Of a fast model fewer looks are
enough for a verdict, and then it may be fewer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from edge_agent.update.shadow import ShadowCounts, grained

STRETCH_S = 2.0
STRETCH_GAPS_MIN = 10
STRETCH_S_MAX = 30.0
FIRST_OF_MOST = 0.1
LEAST_OF_MOST = 0.001
LESS, MORE = 0.5, 1.25
# With these a verdict has its frames within minutes, whatever a rate says of the rest.
ENOUGH_LOOKS_PER_S = 2.0
# Of each kind, that speak together.
STRETCHES = 6
# A camera that is silent for longer says nothing of what the shadow costs.
PAUSE_S = 10.0


def first_share(most: float) -> float:
    """The share of frames to begin with, where `most` is allowed."""
    return most * FIRST_OF_MOST


def harmless(look_s: float, answers_per_s: float, rate_share_min: float) -> float:
    """The share of frames whose looks take no more of the time than the incumbent may lose.

    It holds for stretches with the shadow, which are half of all: over both kinds, a look may
    cost the incumbent twice what it takes.

    Args:
        look_s: how long the candidate computes for one frame, on all that it can get.
        answers_per_s: of the incumbent.
    """
    taken = look_s * answers_per_s
    return (1 - rate_share_min) / taken if taken > 0 else 1.0


def enough(answers_per_s: float) -> float:
    """The share of frames that are looks enough; a fast model's is small."""
    return min(1.0, ENOUGH_LOOKS_PER_S / answers_per_s) if answers_per_s > 0 else 1.0


def least_share(look_s: float, answers_per_s: float, rate_share_min: float) -> float:
    """The share of frames that no rate takes back: what is harmless, or less where that is enough.

    A look of a fast model also costs what no clock of its own thread tells: the interpreter, and
    caches. Where thousands of frames a second leave many looks to be had, the rate decides.
    """
    return min(harmless(look_s, answers_per_s, rate_share_min), enough(answers_per_s))


def dial(share: float, most: float, rates: Rates, rate_share_min: float, least: float) -> float:
    """The share of frames to shadow next, above 0 and never above `most`.

    It falls where the incumbent's rate seems to be too low, and grows only where it is high
    enough beyond doubt.

    Args:
        share: of the stretch that is over.
        least: no rate takes more back; see `least_share`.
    """
    if rates.share is None:
        return min(share, most)
    if rates.share < rate_share_min:
        share *= LESS
    elif rates.share - rates.doubt >= rate_share_min:
        share *= MORE
    return min(most, max(share, least, most * LEAST_OF_MOST))


@dataclass(frozen=True)
class Stretch:
    """Answers of the incumbent in a row, all with the shadow or all without it.

    Attributes:
        began_s, last_s: of the first answer and of the newest, monotonic.
        gaps: answers after the first: a rate is gaps by time, as the ends lie on answers.
    """

    shadowed: bool
    began_s: float
    last_s: float
    gaps: int = 0

    def after(self, at_s: float) -> Stretch:
        """With one more answer. Streams side by side may end in another order."""
        return replace(self, gaps=self.gaps + 1, last_s=max(self.last_s, at_s))

    @property
    def is_over(self) -> bool:
        """Long enough, and with enough answers to be a rate; on a slow camera time decides."""
        lasted_s = self.last_s - self.began_s
        enough = lasted_s >= STRETCH_S and self.gaps >= STRETCH_GAPS_MIN
        return enough or lasted_s >= STRETCH_S_MAX

    @property
    def answers_per_s(self) -> float:
        """0 where no time has passed."""
        lasted_s = self.last_s - self.began_s
        return self.gaps / lasted_s if lasted_s > 0 else 0.0

    def counts(self) -> ShadowCounts:
        lasted_s = grained(self.last_s - self.began_s)
        if self.shadowed:
            return ShadowCounts(with_frames=self.gaps, with_s=lasted_s)
        return ShadowCounts(without_frames=self.gaps, without_s=lasted_s)


@dataclass(frozen=True)
class Rates:
    """The incumbent's answers per second in the last stretches of both kinds, newest last."""

    shadowed: tuple[float, ...] = ()
    alone: tuple[float, ...] = ()

    def after(self, stretch: Stretch) -> Rates:
        if stretch.shadowed:
            return replace(self, shadowed=(*self.shadowed, stretch.answers_per_s)[-STRETCHES:])
        return replace(self, alone=(*self.alone, stretch.answers_per_s)[-STRETCHES:])

    @property
    def share(self) -> float | None:
        """The mean rate with the shadow, of that without; None where one is not known."""
        if not (self.shadowed and any(self.alone)):
            return None
        return fmean(self.shadowed) / fmean(self.alone)

    @property
    def doubt(self) -> float:
        """How far `share` may lie beside the truth: twice its standard error, by the spread
        of the stretches' rates (that of a quotient: the relative errors' squares add up)."""
        kinds = (self.shadowed, self.alone)
        if self.share is None or min(map(len, kinds)) < 2:
            return math.inf
        errors = (stdev(kind) / (fmean(kind) or 1.0) / math.sqrt(len(kind)) for kind in kinds)
        return 2 * self.share * math.hypot(*errors)


@dataclass(frozen=True)
class Pace:
    """Where the stretches stand, and the share that holds now.

    A stretch begins with a first answer while the candidate is at rest, so that what it
    began in one stretch burdens no other.
    """

    most: float
    rate_share_min: float
    share: float
    shadowed: bool = False
    stretch: Stretch | None = None
    rates: Rates = Rates()

    @classmethod
    def of(cls, most: float, rate_share_min: float) -> Pace:
        return cls(most, rate_share_min, first_share(most))

    def after(
        self, at_s: float, at_rest: bool, look_s: float | None = None
    ) -> tuple[Pace, ShadowCounts | None]:
        """The pace after an answer of the incumbent, and a stretch's counts if it is over.

        Args:
            at_s: when the answer was there, monotonic.
            at_rest: whether the candidate looks at nothing.
            look_s: how long it computes for a frame; None as long as it has seen none, and then
                the incumbent's rate is not the shadow's doing and changes nothing.
        """
        if self.stretch is None:
            begun = Stretch(self.shadowed, at_s, at_s) if at_rest else None
            return replace(self, stretch=begun), None
        if at_s - self.stretch.last_s > PAUSE_S:
            return replace(self, shadowed=not self.shadowed, stretch=None), None
        stretch = self.stretch.after(at_s)
        if not stretch.is_over:
            return replace(self, stretch=stretch), None
        rates, share = self.rates.after(stretch), self.share
        if look_s is None:
            share = min(share, enough(stretch.answers_per_s))
        elif stretch.shadowed:
            least = least_share(look_s, stretch.answers_per_s, self.rate_share_min)
            share = dial(share, self.most, rates, self.rate_share_min, least)
            if share < self.share:
                # What was measured at the larger share would cut the smaller one again.
                rates = replace(rates, shadowed=())
        ended = replace(self, share=share, shadowed=not self.shadowed, stretch=None, rates=rates)
        return ended, stretch.counts()

    @property
    def share_now(self) -> float:
        """The share of frames to shadow at this moment: none in a stretch without."""
        return self.share if self.stretch is not None and self.stretch.shadowed else 0.0
