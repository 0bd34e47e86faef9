"""No detection may come from a build that nobody assigned or that never passed its proof."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from simulators.checkers.records import OutputFrame


def unassigned(outputs: Iterable[OutputFrame], assigned: Collection[str]) -> dict[str, int]:
    """Frames by digest that came from a build outside of `assigned`."""
    counts: dict[str, int] = {}
    for output in outputs:
        if output.bundle_digest not in assigned:
            counts[output.bundle_digest] = counts.get(output.bundle_digest, 0) + 1
    return counts


def before_proof(outputs: Iterable[OutputFrame], proven_at: dict[str, float]) -> list[OutputFrame]:
    """Outputs of one device whose build had not reached SWAPPING by then.

    `proven_at` gives for each digest when the device said so; a digest that it never
    named has not been proven at all.
    """
    return [o for o in outputs if o.result_at < proven_at.get(o.bundle_digest, float("inf"))]
