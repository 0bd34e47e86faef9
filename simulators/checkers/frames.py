"""Every frame of the world accounted for: seen once, dropped, or sent after the last look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from simulators.checkers.records import Pair

SWAP_MARGIN_S = 2.0
"""How far around an exchange of builds its effect on frames is looked for."""


@dataclass(frozen=True)
class Swap:
    """An exchange of builds as the outputs show it."""

    camera: str
    at: float
    from_digest: str
    to_digest: str
    gap_ms: float
    """Largest time between two results within SWAP_MARGIN_S of the exchange."""
    dropped: int
    """Frames that were sent within SWAP_MARGIN_S and never came out."""


@dataclass(frozen=True)
class Accounts:
    """The frames of one camera from the first result to the last."""

    processed: int
    dropped: int
    seen_twice: int
    swaps: tuple[Swap, ...]
    steady_gap_ms_p99: float | None

    @property
    def dropped_in_swap(self) -> int:
        return sum(swap.dropped for swap in self.swaps)


def account(pairs: Sequence[Pair]) -> Accounts:
    """Account for one camera's frames; `pairs` in the order of the results.

    A frame counts as dropped when the world has its number, frames before and after it
    came out, and it did not: so a lost connection counts as well as a full queue.
    """
    exchanges = [
        (before, after)
        for before, after in pairwise(pairs)
        if before.output.bundle_digest != after.output.bundle_digest
    ]
    swaps = tuple(_swap(pairs, before, after) for before, after in exchanges)
    numbers = [p.truth.frame_number for p in pairs]
    steady = [
        (b.output.result_at - a.output.result_at) * 1e3
        for a, b in pairwise(pairs)
        if not any(_near(x.output.result_at, s.at) for x in (a, b) for s in swaps)
    ]
    return Accounts(
        processed=len(set(numbers)),
        dropped=len(missing(numbers)),
        seen_twice=len(numbers) - len(set(numbers)),
        swaps=swaps,
        steady_gap_ms_p99=quantile(steady, 0.99) if steady else None,
    )


def missing(numbers: Sequence[int]) -> list[int]:
    """Numbers between the least and the greatest of `numbers` that are not among them."""
    if not numbers:
        return []
    there = set(numbers)
    return [n for n in range(min(there), max(there)) if n not in there]


def quantile(values: Sequence[float], q: float) -> float:
    """The least value that at least the share `q` of the values do not exceed."""
    ordered = sorted(values)
    rank = -(-q * len(ordered) // 1)  # ceiling
    return ordered[min(len(ordered) - 1, max(0, int(rank) - 1))]


def _swap(pairs: Sequence[Pair], before: Pair, after: Pair) -> Swap:
    at = after.output.result_at
    around = [p for p in pairs if _near(p.output.result_at, at)]
    return Swap(
        camera=after.output.camera,
        at=at,
        from_digest=before.output.bundle_digest,
        to_digest=after.output.bundle_digest,
        gap_ms=max((b.output.result_at - a.output.result_at) * 1e3 for a, b in pairwise(around)),
        dropped=len(missing([p.truth.frame_number for p in around])),
    )


def _near(moment: float, at: float) -> bool:
    return abs(moment - at) <= SWAP_MARGIN_S
