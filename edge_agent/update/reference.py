"""What a build finds while nothing drifts, by the reference that it brings."""

from __future__ import annotations

from pathlib import Path

from protocol.bundles import DRIFT_PATH, DriftReference

REFERENCE_BYTES_MAX = 64 * 1024 * 1024


def detections_per_frame(bundle: Path) -> float:
    """Served detections per frame on the images of the bundle's drift reference; 0.0 where it
    brings none that can be read."""
    try:
        with (bundle / DRIFT_PATH).open("rb") as file:
            found = DriftReference.model_validate_json(file.read(REFERENCE_BYTES_MAX))
    except (OSError, ValueError):
        return 0.0
    return sum(one.served for one in found.stats.classes.values()) / found.images
