"""A bundle on disk becomes a detector that is warm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import BundleError
from edge_agent.detect.detector import CONFIDENCE_FLOOR, Detector
from protocol.bundles import Manifest


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    """A build that is loaded and warm, with the manifest that says what it is."""

    digest: str
    manifest: Manifest
    detector: Detector


def load_bundle(
    folder: Path, digest: str, threads: int, floor: float = CONFIDENCE_FLOOR
) -> LoadedBundle:
    """Load the bundle that lies in `folder` and run a few blank frames through it.

    The files' digests were verified when they were stored; the manifest's is checked here.

    Raises:
        BundleError: a file is missing, or the model is not what the manifest says.
        DetectorError: the runtime cannot load or run it.
        ProtocolError: the manifest is not the one that `digest` names.
    """
    raise BundleError(f"{folder} {digest} {threads} {floor}")
