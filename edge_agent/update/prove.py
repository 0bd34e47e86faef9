"""Runs a bundle's golden frames in a child process, so that a bad model kills only that.

The child (`python -m edge_agent.update.prove FOLDER`) runs at the lowest priority with a
limit on its memory, dies with its parent, and prints one GoldenOutcome. Whatever else it
does (crash, hang, print nonsense) is a failed proof with the reason in words.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pydantic import ValidationError

from edge_agent.errors import EdgeError
from protocol.bundles import GOLDEN_PATH, GoldenDetection, GoldenOutcome, GoldenSet
from protocol.errors import ProtocolError

if TYPE_CHECKING:
    from edge_agent.detect.detector import Detector

POLL_S = 0.1
OUTPUT_BYTES_MAX = 64 * 1024
STDERR_TAIL_BYTES = 400
GOLDEN_BYTES_MAX = 16 * 1024 * 1024
NICE = 19
PR_SET_PDEATHSIG = 1


def run_proof(
    folder: Path, digest: str, *, timeout_s: float, memory_bytes: int, cancel: threading.Event
) -> GoldenOutcome:
    """Prove the bundle in `folder` in a child process; never raises for what the child does."""
    command = [sys.executable, "-m", "edge_agent.update.prove", str(folder), digest]
    command += ["--memory-bytes", str(memory_bytes), "--parent", str(os.getpid())]
    deadline = time.monotonic() + timeout_s
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=_environment()
        )
        try:
            while child.poll() is None:
                if cancel.wait(POLL_S):
                    return _failed("the proof was cancelled")
                if time.monotonic() > deadline:
                    return _failed(f"the proof took longer than {timeout_s:g} s")
        finally:
            child.kill()
            child.wait()
        return _read_outcome(child.returncode, out, err)


def _read_outcome(code: int, out: IO[bytes], err: IO[bytes]) -> GoldenOutcome:
    if code < 0:
        return _failed(f"the model killed its process: {signal.Signals(-code).name}")
    out.seek(0)
    try:
        return GoldenOutcome.model_validate_json(out.read(OUTPUT_BYTES_MAX))
    except ValidationError:
        size = err.seek(0, os.SEEK_END)
        err.seek(max(0, size - STDERR_TAIL_BYTES))
        tail = " ".join(err.read().decode(errors="replace").split())
        return _failed(f"the proof's process ended with code {code}: {tail or 'no word'}")


def _failed(reason: str) -> GoldenOutcome:
    return GoldenOutcome(passed=False, frames=0, reason=reason)


def _environment() -> dict[str, str]:
    """This process's, with the folder that this package was imported from on the path."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}


# ---- the child -----------------------------------------------------------------------


def prove(folder: Path, digest: str) -> GoldenOutcome:
    """Load the bundle, run its golden frames, and compare.

    Raises:
        EdgeError, ProtocolError: the bundle cannot be loaded or is not whole.
    """
    from edge_agent.detect.bundle import load_bundle
    from edge_agent.detect.options import LoadOptions
    from edge_agent.update.golden import compare

    golden = _read_golden(folder / GOLDEN_PATH)
    loaded = load_bundle(folder, digest, LoadOptions(threads=1))
    seen = [_detect(loaded.detector, folder / frame.image) for frame in golden.frames]
    return compare(golden, seen)


def _read_golden(path: Path) -> GoldenSet:
    try:
        with path.open("rb") as file:
            return GoldenSet.model_validate_json(file.read(GOLDEN_BYTES_MAX))
    except (OSError, ValidationError) as error:
        raise EdgeError(f"{path.name} cannot be read: {error}") from error


def _detect(detector: Detector, path: Path) -> list[GoldenDetection]:
    import cv2
    import numpy as np

    from edge_agent.detect.detector import detect

    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise EdgeError(f"golden image {path.name} is no image")
    found = detect(detector, np.asarray(image, dtype=np.uint8))
    return [
        GoldenDetection(class_id=int(c), confidence=float(s), box=tuple(float(e) for e in b))
        for c, s, b in zip(found.class_ids, found.confidences, found.boxes, strict=True)
    ]


def _restrain(memory_bytes: int, parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the parent is gone")
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("digest")
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    _restrain(arguments.memory_bytes, arguments.parent)
    try:
        outcome = prove(arguments.folder, arguments.digest)
    except (EdgeError, ProtocolError) as error:
        outcome = _failed(str(error))
    sys.stdout.write(outcome.model_dump_json())


if __name__ == "__main__":
    main()
