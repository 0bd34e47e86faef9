"""On how many frames a shadow looks, so that the incumbent does not suffer. Pure.

Time is cut into stretches, with the shadow and without it in turns, and the incumbent's rate
is measured in both. What else burdens the machine burdens both kinds of stretches, so their
quotient is what the shadow costs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_agent.update.shadow import ShadowCounts, grained

STRETCH_S = 2.0
STRETCH_GAPS_MIN = 10
STRETCH_S_MAX = 30.0
FIRST_OF_MOST = 0.1
LEAST_OF_MOST = 0.001
LESS, MORE = 0.5, 1.25
# What earlier stretches still weigh after another pair: about four pairs speak together.
FADING = 0.75
# A camera that is silent for longer says nothing of what the shadow costs.
PAUSE_S = 10.0


def first_share(most: float) -> float:
    """The share of frames to begin with, where `most` is allowed."""
    return most * FIRST_OF_MOST


def dial(share: float, most: float, rate_share: float | None, rate_share_min: float) -> float:
    """The share of frames to shadow next, above 0 and never above `most`.

    Args:
        share: of the stretch that is over.
        rate_share: the incumbent's rate with the shadow, of that without; None is unknown and
            changes nothing.
    """
    if rate_share is None:
        return min(share, most)
    changed = share * (LESS if rate_share < rate_share_min else MORE)
    return min(most, max(changed, most * LEAST_OF_MOST))


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

    def counts(self) -> ShadowCounts:
        lasted_s = grained(self.last_s - self.began_s)
        if self.shadowed:
            return ShadowCounts(with_frames=self.gaps, with_s=lasted_s)
        return ShadowCounts(without_frames=self.gaps, without_s=lasted_s)


@dataclass(frozen=True)
class Faded:
    """Rates over the last stretches, the older the lighter."""

    with_frames: float = 0.0
    with_s: float = 0.0
    without_frames: float = 0.0
    without_s: float = 0.0

    def after(self, counts: ShadowCounts) -> Faded:
        """With one more stretch; those of its own kind fade."""
        if counts.with_s > 0:
            return replace(
                self,
                with_frames=self.with_frames * FADING + counts.with_frames,
                with_s=self.with_s * FADING + counts.with_s,
            )
        return replace(
            self,
            without_frames=self.without_frames * FADING + counts.without_frames,
            without_s=self.without_s * FADING + counts.without_s,
        )

    @property
    def rate_share(self) -> float | None:
        if min(self.with_s, self.without_s, self.without_frames) <= 0:
            return None
        return (self.with_frames / self.with_s) / (self.without_frames / self.without_s)


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
    faded: Faded = Faded()

    @classmethod
    def of(cls, most: float, rate_share_min: float) -> Pace:
        return cls(most, rate_share_min, first_share(most))

    def after(self, at_s: float, at_rest: bool) -> tuple[Pace, ShadowCounts | None]:
        """The pace after an answer of the incumbent, and a stretch's counts if it is over."""
        if self.stretch is None:
            begun = Stretch(self.shadowed, at_s, at_s) if at_rest else None
            return replace(self, stretch=begun), None
        if at_s - self.stretch.last_s > PAUSE_S:
            return replace(self, shadowed=not self.shadowed, stretch=None), None
        stretch = self.stretch.after(at_s)
        if not stretch.is_over:
            return replace(self, stretch=stretch), None
        counts = stretch.counts()
        faded, share = self.faded.after(counts), self.share
        if stretch.shadowed:
            share = dial(share, self.most, faded.rate_share, self.rate_share_min)
            if share < self.share:
                # What was measured at the larger share would cut the smaller one again.
                faded = replace(faded, with_frames=0.0, with_s=0.0)
        ended = replace(self, share=share, shadowed=not self.shadowed, stretch=None, faded=faded)
        return ended, counts

    @property
    def share_now(self) -> float:
        """The share of frames to shadow at this moment: none in a stretch without."""
        return self.share if self.stretch is not None and self.stretch.shadowed else 0.0
