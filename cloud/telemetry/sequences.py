"""What of a numbered stream is new: pure, in any order, with any repetition.

A cursor knows every sequence that was accounted for: all up to `contiguous`, and the
closed ranges `ahead` of it. It grows with the number of holes, not of messages, and the
holes are bounded: what would open one too many is refused, stays unacknowledged at the
sender, and comes again when the holes before it are closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What became of a sequence or range."""

    FRESH = "fresh"
    DUPLICATE = "duplicate"
    TOO_FAR = "too_far"


@dataclass(frozen=True)
class Cursor:
    """Everything up to `contiguous` and in the ranges `ahead` (sorted, apart) has come."""

    contiguous: int = 0
    ahead: tuple[tuple[int, int], ...] = ()


def accept(cursor: Cursor, first: int, last: int, *, ranges_max: int) -> tuple[Cursor, Verdict]:
    """Account for the closed range [first, last]; one message is a range of one.

    FRESH where any of it had not come yet. At the bound of `ranges_max` ranges the cursor
    stays as it is and the verdict is TOO_FAR.
    """
    if not 1 <= first <= last:
        raise ValueError(f"[{first}, {last}] is no range of sequences")
    if last <= cursor.contiguous or any(a <= first and last <= b for a, b in cursor.ahead):
        return cursor, Verdict.DUPLICATE
    before = [r for r in cursor.ahead if r[1] + 1 < first]
    after = [r for r in cursor.ahead if last + 1 < r[0]]
    touching = cursor.ahead[len(before) : len(cursor.ahead) - len(after)]
    low = min([first, *(a for a, _ in touching)])
    high = max([last, *(b for _, b in touching)])
    if low <= cursor.contiguous + 1:
        return Cursor(max(high, cursor.contiguous), tuple(after)), Verdict.FRESH
    ahead = (*before, (low, high), *after)
    if len(ahead) > ranges_max:
        return cursor, Verdict.TOO_FAR
    return Cursor(cursor.contiguous, ahead), Verdict.FRESH
