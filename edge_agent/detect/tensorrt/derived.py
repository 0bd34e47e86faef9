"""Engines that this machine built of a bundle's ONNX file: their names, and where they lie.

    <engines>/<key>.<sha256>.engine

The key names all that the engine depends on, the digest is of the file itself: one that was
damaged since is none. Another driver, GPU or TensorRT has another key, so an engine is never
loaded where it was not built; it is built anew.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edge_agent.detect.tensorrt.cache_key import Machine, engine_key
from edge_agent.detect.tensorrt.errors import EngineMissingError
from edge_agent.detect.tensorrt.profile import BatchProfile
from edge_agent.store import file_sha256
from protocol.builds import Format
from protocol.bundles import MODEL_PATH, Manifest
from protocol.chunks import Sha256

RUNTIME = "tensorrt"
SUFFIX = ".engine"


def is_derived(manifest: Manifest) -> bool:
    """Whether a bundle is an ONNX file that runs as an engine: each device builds its own."""
    return manifest.build.format is Format.ONNX and manifest.build.runtime == RUNTIME


def key_of(manifest: Manifest, machine: Machine) -> Sha256:
    """The key of the engine that `machine` builds of a bundle."""
    build = manifest.build
    side = (3, build.input_height, build.input_width)
    one, most = (1, *side), (build.batch, *side)
    onnx, profile = manifest.file(MODEL_PATH).sha256, BatchProfile("images", one, most, most)
    return engine_key(machine, onnx, build.runtime_precision, build.batch, profile)


def find_engine(engines: Path, key: Sha256) -> Path | None:
    """The engine of a key, read whole and marked as used; None where there is no sound one."""
    for path in sorted(engines.glob(f"{key}.*{SUFFIX}")):
        if file_sha256(path) == path.name.split(".")[1]:
            with contextlib.suppress(OSError):
                os.utime(path)
            return path
        path.unlink(missing_ok=True)
    return None


def require_engine(engines: Path | None, manifest: Manifest, machine: Machine) -> Path:
    """The engine of a bundle. Raises EngineMissingError where it is not built yet."""
    found = None if engines is None else find_engine(engines, key_of(manifest, machine))
    if found is None:
        raise EngineMissingError(
            f"no engine of {manifest.model} v{manifest.version} was built for TensorRT "
            f"{machine.tensorrt_version}, driver {machine.driver_version} on {machine.gpu_name}; "
            "it is built with the next attempt"
        )
    return found
