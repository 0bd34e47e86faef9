"""A bundle on disk becomes a detector that is warm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.detect.detector import CONFIDENCE_FLOOR, Detector, detect
from edge_agent.detect.options import LoadOptions
from edge_agent.errors import BundleError
from protocol.bundles import MANIFEST_BYTES_MAX, MANIFEST_PATH, MODEL_PATH, Manifest, read_manifest

WARM_FRAMES = 1


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    """A build that is loaded and warm, with the manifest that says what it is."""

    digest: str
    manifest: Manifest
    detector: Detector


def load_bundle(
    folder: Path, digest: str, threads: int, floor: float = CONFIDENCE_FLOOR
) -> LoadedBundle:
    """Load the bundle that lies in `folder` and run a blank frame through it.

    The files' digests were verified when they were stored; the manifest's is checked here.

    Args:
        threads: for the runtime; 0 lets it choose.
        floor: the lowest confidence that the detector answers.

    Raises:
        BundleError: a file is missing, or the model is not what the manifest says.
        DetectorError: the runtime cannot load or run it.
        ProtocolError: the manifest is not the one that `digest` names.
    """
    manifest = _read(folder, digest)
    make = DETECTORS.get(manifest.build.runtime)
    if make is None:
        raise BundleError(
            f"bundle {digest[:12]} is for {manifest.build.runtime}; "
            f"this agent runs {', '.join(DETECTORS)}"
        )
    detector = make(folder, manifest, LoadOptions(threads, floor))
    build = manifest.build
    blank = np.full((build.input_height, build.input_width, 3), 114, dtype=np.uint8)
    try:
        for _ in range(WARM_FRAMES):
            detect(detector, blank)
    except BaseException:
        detector.close()
        raise
    return LoadedBundle(digest, manifest, detector)


def _read(folder: Path, digest: str) -> Manifest:
    path = folder / MANIFEST_PATH
    try:
        if path.stat().st_size > MANIFEST_BYTES_MAX:
            raise BundleError(f"{path} is over {MANIFEST_BYTES_MAX} bytes; fetch the bundle again")
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"no bundle in {folder}: {error.strerror}; fetch it again") from error
    return read_manifest(data, digest)


def _onnx(folder: Path, manifest: Manifest, options: LoadOptions) -> Detector:
    from edge_agent.detect.onnx import OnnxDetector

    detector = OnnxDetector(
        folder / MODEL_PATH,
        threads=options.threads,
        floor=options.floor,
        preprocessing=manifest.preprocessing,
    )
    said = (manifest.build.input_width, manifest.build.input_height, manifest.head)
    found = (detector.input_width, detector.input_height, detector.head)
    if said != found:
        detector.close()
        raise BundleError(
            f"the manifest of {manifest.model} v{manifest.version} says (width, height, head) "
            f"{said}, its model has {found}; export it again"
        )
    return detector


def _tensorrt(folder: Path, manifest: Manifest, options: LoadOptions) -> Detector:
    from edge_agent.detect.tensorrt.detector import open_tensorrt

    return open_tensorrt(folder, manifest, options)


DETECTORS: dict[str, Callable[[Path, Manifest, LoadOptions], Detector]] = {
    "onnxruntime": _onnx,
    "tensorrt": _tensorrt,
}
"""Who runs a build, by its runtime; each is imported when its first bundle is loaded."""
