"""Parts of a set of images that have something in common: a site, a line, a camera, the light.

A slice is a weight of 1 for its images and 0 for the rest, so all slices are scored from the
matching of the whole set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cloud.evaluation.matching import Floats

LIGHTING: dict[str, tuple[float, float]] = {
    "dark": (0.0, 60.0),
    "normal": (60.0, 190.0),
    "bright": (190.0, 256.0),
}
"""Mean grey level from (included) to (excluded), of 0..255. Fixed bounds, not quartiles: a slice
must mean the same in every dataset and for every build."""

LIGHTING_KIND = "lighting"

Members = dict[str, dict[str, list[int]]]
"""By kind and value, the places of the images."""


def lighting(luminance: float) -> str:
    """The name of the light in which an image of this mean grey level was taken."""
    for name, (_low, high) in LIGHTING.items():
        if luminance < high:
            return name
    return "bright"


def members(tags: Sequence[Mapping[str, str]], luminances: Sequence[float | None]) -> Members:
    """The slices that the images fall into; what is not known of an image is no slice.

    Args:
        tags: of each image, such as {"site": "…", "line": "…", "camera": "…"}.
        luminances: of each image, mean grey level 0..255.

    Raises:
        ValueError: the two are not of the same images.
    """
    found: Members = {}
    for place, (tag, luminance) in enumerate(zip(tags, luminances, strict=True)):
        light = {} if luminance is None else {LIGHTING_KIND: lighting(luminance)}
        for kind, value in {**tag, **light}.items():
            if value:
                found.setdefault(kind, {}).setdefault(value, []).append(place)
    return {kind: dict(sorted(values.items())) for kind, values in sorted(found.items())}


def weights(places: Sequence[Sequence[int]], images: int) -> Floats:
    """Weights (slices, images) that leave each slice's images and no others."""
    found = np.zeros((len(places), images))
    for row, chosen in enumerate(places):
        found[row, list(chosen)] = 1.0
    return found
