"""Builds the TensorRT engine of an ONNX bundle on this device, and keeps it.

A bundle whose build is ONNX for the runtime `tensorrt` has no engine: each device builds its
own, in a child at the lowest priority, before the proof, which then runs that very engine.
What was built is kept under a key of all that it depends on, so that an attempt that begins
again, or goes back, does not build again. Kernel timings are kept too: they make the next
build of this machine faster, of whatever model.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.children import NOT_STARTED, ChildLimits, run_child
from edge_agent.config import Limits
from edge_agent.detect.tensorrt.cache_key import Machine, timing_cache_key
from edge_agent.detect.tensorrt.derived import (
    RUNTIME,
    SUFFIX,
    find_engine,
    is_derived,
    key_of,
)
from edge_agent.detect.tensorrt.errors import EngineBuildError
from edge_agent.detect.tensorrt.probe import machine, probe
from edge_agent.errors import EdgeError
from edge_agent.store import TEMPORARY, file_sha256, fsync_directory
from protocol.builds import Capabilities, Precision
from protocol.bundles import MODEL_PATH, Manifest
from protocol.chunks import Sha256

MODULE = "edge_agent.update.engine"
BUILDING, TIMINGS = ".building-", "timings-"
ONNX_BYTES_MAX = 2 * 1024**3
TIMINGS_BYTES_MAX = 256 * 1024**2
TOLD_STEP = 0.01
REFUSED = 3

_PROGRESS = re.compile(rb"progress (0|1|0\.[0-9]{1,6})")


def needs_engine(manifest: Manifest, capabilities: Capabilities) -> bool:
    """Whether this device must build an engine before it can run the bundle."""
    return is_derived(manifest) and any(r.runtime == RUNTIME for r in capabilities.runtimes)


@dataclass(frozen=True)
class Kept:
    """A file of the cache; `used_ns` is when it was used last."""

    name: str
    size_bytes: int
    used_ns: int


def to_evict(kept: Iterable[Kept], bytes_max: int, pinned: Collection[str]) -> list[str]:
    """What must go for the rest to fit, the least recently used first; nothing pinned. Pure."""
    files = sorted(kept, key=lambda file: (file.used_ns, file.name))
    excess = sum(file.size_bytes for file in files) - bytes_max
    gone = []
    for file in files:
        if excess <= 0:
            break
        if file.name not in pinned:
            gone.append(file.name)
            excess -= file.size_bytes
    return gone


class EngineCache:
    """The engines and kernel timings of this device, bounded in bytes.

    Args:
        folder: made where it is not there.
        bytes_max: of all files together; what is pinned may go over it.
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self.folder, self.bytes_max = folder, bytes_max

    def find(self, key: Sha256) -> Path | None:
        """The engine of a key, where there is a sound one; it counts as used now."""
        return find_engine(self.folder, key)

    def prepare(self) -> None:
        """Make the folder, and clear what a kill left of builds. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob(f"{BUILDING}*"):
            path.unlink(missing_ok=True)

    def keep(self, key: Sha256, made: Path, pinned: Collection[Sha256]) -> Path:
        """Take a file in as the engine of `key`, and let go of what is over the bound.

        Args:
            pinned: keys whose engines must stay.

        Raises OSError.
        """
        sha256 = file_sha256(made)
        if sha256 is None:
            raise OSError(f"{made} cannot be read")
        target = self.folder / f"{key}.{sha256}{SUFFIX}"
        _sync(made)
        made.replace(target)
        fsync_directory(self.folder)
        self.trim({*pinned, key})
        return target

    def trim(self, pinned: Collection[Sha256]) -> None:
        """Let go of what is over the bound, the least recently used first."""
        kept = []
        for path in self.folder.iterdir():
            if not path.name.startswith("."):
                seen = path.stat()
                kept.append(Kept(path.name, seen.st_size, seen.st_mtime_ns))
        stay = {file.name for file in kept if file.name.split(".")[0] in pinned}
        for name in to_evict(kept, self.bytes_max, stay):
            (self.folder / name).unlink(missing_ok=True)

    def timings(self, here: Machine) -> Path:
        """Where the kernel timings of a machine are kept."""
        return self.folder / f"{TIMINGS}{timing_cache_key(here)}"


def build(
    folder: Path,
    manifest: Manifest,
    cache: EngineCache,
    limits: Limits,
    cancel: threading.Event,
    *,
    on_progress: Callable[[float], None] = lambda _share: None,
    kept: Iterable[Manifest] = (),
) -> Path:
    """The engine of the bundle in `folder`, built where there is none yet.

    Args:
        cancel: ends the build when set.
        on_progress: gets the share done, 0 to 1, now and then, on the calling thread.
        kept: bundles whose engines must stay, if they have any.

    Raises:
        EngineBuildError: no engine can be built of it here, or the build was ended.
        OSError: the disk refused it, or no process can be started.
    """
    here = machine(probe())
    key = key_of(manifest, here)
    found = cache.find(key)
    if found is not None:
        return found
    cache.prepare()
    made = cache.folder / f"{BUILDING}{key}{TEMPORARY}"

    def hear(line: bytes) -> None:
        told = _PROGRESS.fullmatch(line.strip())
        if told is not None:  # TensorRT may print what it likes
            on_progress(float(told[1]))

    try:
        ended = run_child(
            MODULE,
            _arguments(folder / MODEL_PATH, made, cache.timings(here), manifest),
            ChildLimits(
                limits.engine_timeout_s,
                limits.engine_memory_bytes_max,
                file_bytes=cache.bytes_max,
                reserves=True,
            ),
            cancel=cancel,
            on_line=hear,
        )
        if ended.code == NOT_STARTED:
            raise OSError(f"the engine's build {ended.reason}")
        if ended.code == REFUSED:
            raise EngineBuildError(ended.errors)
        if ended.reason:
            raise EngineBuildError(f"the engine's build {ended.reason}")
        pinned = {key_of(other, here) for other in kept if is_derived(other)}
        return cache.keep(key, made, pinned)
    finally:
        made.unlink(missing_ok=True)


def _arguments(onnx: Path, made: Path, timings: Path, manifest: Manifest) -> list[str]:
    build = manifest.build
    return [
        *(str(onnx), str(made), str(timings)),
        *("--file-precision", build.precision.value),
        *("--precision", build.runtime_precision.value),
        *("--batch", str(build.batch)),
    ]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---- the child -----------------------------------------------------------------------


def derive(onnx: Path, out: Path, timings: Path, precisions: tuple[str, str], batch: int) -> None:
    """Build the engine of `onnx` into `out`, and take what was learnt into `timings`.

    Raises:
        EdgeError, OSError: it cannot be built here, or not be written.
    """
    from edge_agent.detect.tensorrt.build import BuildOrder, build_engine
    from edge_agent.detect.tensorrt.engine_file import join_engine

    told = -math.inf

    def tell(share: float) -> bool:
        nonlocal told
        if share - told >= TOLD_STEP:
            told = share
            sys.stdout.write(f"progress {min(1.0, max(0.0, share)):.4f}\n".replace("1.0000", "1"))
            sys.stdout.flush()
        return True

    # The names of classes are the bundle's: one engine serves bundles that differ in these.
    order = BuildOrder(Precision(precisions[0]), Precision(precisions[1]), batch)
    known = _read(timings, TIMINGS_BYTES_MAX) if timings.is_file() else b""
    built = build_engine(_read(onnx, ONNX_BYTES_MAX), order, timing_cache=known, progress=tell)
    out.write_bytes(join_engine(built.metadata, built.plan))
    if built.timing_cache:
        fresh = out.with_name(f"{BUILDING}{timings.name}{TEMPORARY}")
        fresh.write_bytes(built.timing_cache)
        fresh.replace(timings)
    tell(1.0)


def _read(path: Path, bytes_max: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise EdgeError(f"{path} has over {bytes_max} bytes")
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("onnx", "out", "timings"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--file-precision", required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--batch", type=int, required=True)
    said = parser.parse_args()
    precisions = (said.file_precision, said.precision)
    try:
        derive(said.onnx, said.out, said.timings, precisions, said.batch)
    except (EdgeError, OSError) as error:
        sys.stderr.write(str(error))
        raise SystemExit(REFUSED) from error


if __name__ == "__main__":
    main()
