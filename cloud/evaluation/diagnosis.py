"""Why a build answers otherwise than the original: tried variants of its input, in words; pure.

The build is run as shipped and with one thing changed at a time. Where one change alone makes it
answer as the original does, that thing is what the artifact takes otherwise than its manifest
says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cloud.evaluation.parity import FLOOR, Detection, Parity, compare

AS_SHIPPED = "as shipped"
VARIANTS: dict[str, str] = {
    "channels exchanged": (
        "answers as the original does when red and blue are exchanged: the artifact takes BGR, "
        "its manifest says RGB"
    ),
    "not scaled": (
        "answers as the original does when the input is not divided by 255: the artifact scales "
        "by itself, or was made for 0..255"
    ),
    "scaled twice": (
        "answers as the original does when the input is divided by 255 twice: the artifact "
        "multiplies its input, its manifest's scale is not the one it takes"
    ),
}
"""What a variant that restores parity says of the artifact, by the variant's name."""

EXACT_CONFIDENCE, EXACT_PX = 0.01, 0.5
"""Within both, object by object, two builds are the same network fed the same pixels."""
RESTORED = 0.8
GAIN_MIN = 0.2
_TIED = 0.02

Answers = Sequence[Sequence[Detection]]


def diagnose(
    reference: Answers, variants: Mapping[str, Answers], floor: float = FLOOR
) -> tuple[str, ...]:
    """What is wrong with the build's input, in words; empty where no one variant explains it.

    A variant explains the build where it answers exactly as the reference does and the build as
    shipped does not; or, for a build of another precision, where its agreement with the reference
    is 0.8 or more and at least 0.2 above that of the build as shipped. Variants that do so
    equally well (all of them on grey images, where channels cannot be told apart) say nothing of
    which it is.

    Args:
        reference: the original's detections, for each golden frame.
        variants: the build's, by name; "as shipped" and any of `VARIANTS`.

    Raises:
        KeyError: "as shipped" is lacking, or a variant is not known.
    """
    found = {name: compare(reference, answers, floor) for name, answers in variants.items()}
    shipped = found.pop(AS_SHIPPED)
    leading = [] if _is_exact(shipped) else [n for n, p in found.items() if _is_exact(p)]
    leading = leading or _restoring(shipped, found)
    if len(leading) != 1:
        return ()
    before, after = shipped.agreement or 0.0, found[leading[0]].agreement or 0.0
    return (f"{VARIANTS[leading[0]]} (agreement {before:.2f} as shipped, {after:.2f} so)",)


def _restoring(shipped: Parity, found: Mapping[str, Parity]) -> list[str]:
    """The variants that make most answers right again, those that do it best."""
    before = shipped.agreement or 0.0
    after = {name: parity.agreement or 0.0 for name, parity in found.items()}
    good = {n: a for n, a in after.items() if a >= RESTORED and a - before >= GAIN_MIN}
    best = max(good.values(), default=0.0)
    return [name for name, agreement in good.items() if best - agreement <= _TIED]


def _is_exact(parity: Parity) -> bool:
    return (
        parity.objects > 0
        and parity.unmatched == 0
        and parity.confidence_error_max <= EXACT_CONFIDENCE
        and parity.box_error_px_max <= EXACT_PX
    )
