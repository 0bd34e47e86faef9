"""Why a build answers otherwise than the original: tried variants of its input, in words; pure.

The build is run as shipped and with one thing changed at a time. Where one change alone makes it
answer as the original does, that thing is what the artifact takes otherwise than its manifest
says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cloud.evaluation.parity import FLOOR, Detection, compare

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

RESTORED = 0.8
GAIN_MIN = 0.2
_TIED = 0.02

Answers = Sequence[Sequence[Detection]]


def diagnose(
    reference: Answers, variants: Mapping[str, Answers], floor: float = FLOOR
) -> tuple[str, ...]:
    """What is wrong with the build's input, in words; empty where no one variant explains it.

    A variant explains the build where its agreement with the reference is 0.8 or more and at
    least 0.2 above that of the build as shipped. Variants that do so equally well (all of them
    on grey images, where channels cannot be told apart) say nothing of which it is.

    Args:
        reference: the original's detections, for each golden frame.
        variants: the build's, by name; "as shipped" and any of `VARIANTS`.

    Raises:
        KeyError: "as shipped" is lacking, or a variant is not known.
    """
    agreements = {
        name: compare(reference, answers, floor).agreement or 0.0
        for name, answers in variants.items()
    }
    shipped = agreements.pop(AS_SHIPPED)
    restoring = {
        name: found
        for name, found in agreements.items()
        if found >= RESTORED and found - shipped >= GAIN_MIN
    }
    if not restoring:
        return ()
    best = max(restoring.values())
    leading = [name for name, found in restoring.items() if best - found <= _TIED]
    if len(leading) > 1:
        return ()
    said = VARIANTS[leading[0]]
    return (f"{said} (agreement {shipped:.2f} as shipped, {best:.2f} so)",)
