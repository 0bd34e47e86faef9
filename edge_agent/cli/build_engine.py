"""`argosy-agent build-engine`: a plan of an ONNX file, for the GPU of this machine."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edge_agent.clock import Clock
from edge_agent.detect.tensorrt.build import BuildOrder, build_engine
from edge_agent.detect.tensorrt.engine_file import join_engine
from edge_agent.detect.tensorrt.probe import machine, probe
from edge_agent.errors import EdgeError
from edge_agent.evaluation.files import ProgressFile
from protocol.builds import Precision, ShortText
from protocol.bundles import CLASSES_MAX

ONNX_BYTES_MAX = 2 * 1024**3
NAMES_BYTES_MAX = 1024 * 1024
TIMINGS_BYTES_MAX = 256 * 1024**2
STEPS = 1000
"""A build's share is told in so many steps."""


@dataclass(frozen=True)
class EngineFiles:
    """What a build reads and writes.

    Attributes:
        out: the `.engine` file, whole or not at all.
        names: a JSON list of class names; None names none.
        timing_cache: timings of an earlier build, and then of this one; None keeps none.
        summary: JSON: what the plan is bound to.
        progress: JSON lines {"done", "total"}.
    """

    onnx: Path
    out: Path
    names: Path | None = None
    timing_cache: Path | None = None
    summary: Path | None = None
    progress: Path | None = None


def known_precision(text: str) -> Precision:
    """Raises EdgeError where there is none of that name."""
    try:
        return Precision(text)
    except ValueError as error:
        known = ", ".join(precision.value for precision in Precision)
        raise EdgeError(f"there is no precision {text[:40]!r}; name one of {known}") from error


def class_names(path: Path | None) -> tuple[str, ...]:
    """The names in a file. Raises EdgeError where they are no list of short texts."""
    if path is None:
        return ()
    adapter = TypeAdapter(list[ShortText])
    try:
        names = adapter.validate_json(_read(path, NAMES_BYTES_MAX))
    except ValidationError as error:
        raise EdgeError(f"{path} is no JSON list of class names; write one") from error
    if len(names) > CLASSES_MAX:
        raise EdgeError(f"{path} has {len(names)} class names, over {CLASSES_MAX}")
    return tuple(names)


def run_build(files: EngineFiles, order: BuildOrder, clock: Clock | None = None) -> dict[str, Any]:
    """Build the plan and write it; what it is bound to, and how long it took.

    Raises:
        EdgeError: a file cannot be used, no plan can be made of it here, or there is no GPU.
    """
    clock = clock or Clock()
    here = machine(probe())
    onnx = _read(files.onnx, ONNX_BYTES_MAX)
    timings = b""
    if files.timing_cache is not None and files.timing_cache.is_file():
        timings = _read(files.timing_cache, TIMINGS_BYTES_MAX)
    began_s = clock.monotonic()
    with ProgressFile(files.progress, STEPS, clock.monotonic) as told:

        def tell(share: float) -> bool:
            told.tell(round(share * STEPS))
            return True

        built = build_engine(onnx, order, timing_cache=timings, progress=tell)
        told.tell(STEPS)
    engine = join_engine(built.metadata, built.plan)
    _write(files.out, engine)
    if files.timing_cache is not None and built.timing_cache:
        _write(files.timing_cache, built.timing_cache)
    summary = {
        "gpu_name": here.gpu_name,
        "compute_capability": here.compute_capability,
        "tensorrt_version": here.tensorrt_version,
        "driver_version": here.driver_version,
        "file_precision": order.file_precision.value,
        "precision": order.precision.value,
        "batch": order.batch,
        "build_s": round(clock.monotonic() - began_s, 3),
        "size_bytes": len(engine),
    }
    if files.summary is not None:
        _write(files.summary, (json.dumps(summary, indent=2) + "\n").encode())
    return summary


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > bytes_max:
            raise EdgeError(f"{path} has {size} bytes, over {bytes_max}")
        return path.read_bytes()
    except OSError as error:
        raise EdgeError(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise EdgeError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
