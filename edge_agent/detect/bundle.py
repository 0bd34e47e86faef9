"""A bundle on disk becomes a detector that is warm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.detect.detector import Detector, detect
from edge_agent.detect.options import LoadOptions
from edge_agent.errors import BundleError, DetectorError
from protocol.builds import Format
from protocol.bundles import MANIFEST_BYTES_MAX, MANIFEST_PATH, Manifest, read_manifest

WARM_FRAMES = 1


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    """A build that is loaded and warm, with the manifest that says what it is."""

    digest: str
    manifest: Manifest
    detector: Detector


def load_bundle(folder: Path, digest: str, options: LoadOptions) -> LoadedBundle:
    """Load the bundle that lies in `folder` and run a blank frame through it.

    The files' digests were verified when they were stored; the manifest's is checked here.

    Raises:
        BundleError: a file is missing, or the model is not what the manifest says.
        DetectorError: the runtime is not installed, or cannot load or run it.
        ProtocolError: the manifest is not the one that `digest` names.
    """
    manifest = _read(folder, digest)
    detector = _open(folder, manifest, options)
    build = manifest.build
    blank = np.full((build.input_height, build.input_width, 3), 114, dtype=np.uint8)
    try:
        for _ in range(WARM_FRAMES):
            detect(detector, blank)
    except BaseException:
        detector.close()
        raise
    return LoadedBundle(digest, manifest, detector)


def _open(folder: Path, manifest: Manifest, options: LoadOptions) -> Detector:
    build, name = manifest.build, f"{manifest.model} v{manifest.version}"
    runtime = DETECTORS.get(build.runtime)
    if runtime is None:
        raise BundleError(f"{name} is for {build.runtime}; this agent runs {', '.join(DETECTORS)}")
    if build.format not in (runtime.format, runtime.derives_of):
        raise BundleError(
            f"{name} is {build.format.value} for {build.runtime}, which loads "
            f"{runtime.format.value}; pack it again"
        )
    try:
        return runtime.open(folder, manifest, options)
    except ImportError as error:
        raise DetectorError(
            f"{build.runtime} is not installed here; install argosy[{runtime.extra}]: {error}"
        ) from error


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
    from edge_agent.detect.onnx import open_onnx

    return open_onnx(folder, manifest, options)


def _openvino(folder: Path, manifest: Manifest, options: LoadOptions) -> Detector:
    from edge_agent.detect.openvino import open_openvino

    return open_openvino(folder, manifest, options)


def _tensorrt(folder: Path, manifest: Manifest, options: LoadOptions) -> Detector:
    from edge_agent.detect.tensorrt.detector import open_tensorrt

    return open_tensorrt(folder, manifest, options)


@dataclass(frozen=True)
class Runtime:
    """How a runtime's builds are opened, of which format they are, what to install for it, and
    of which format the device can build its own."""

    open: Callable[[Path, Manifest, LoadOptions], Detector]
    format: Format
    extra: str
    derives_of: Format | None = None


DETECTORS: dict[str, Runtime] = {
    "onnxruntime": Runtime(_onnx, Format.ONNX, "edge"),
    "onnxruntime-cuda": Runtime(_onnx, Format.ONNX, "edge-cuda"),
    "onnxruntime-tensorrt": Runtime(_onnx, Format.ONNX, "edge-cuda"),
    "openvino": Runtime(_openvino, Format.OPENVINO, "edge-openvino"),
    "tensorrt": Runtime(_tensorrt, Format.TENSORRT, "edge-tensorrt", derives_of=Format.ONNX),
}
"""Who runs a build, by its runtime; each is imported when its first bundle is loaded."""
