"""Runs a bundle's golden frames in a child process, so that a bad model kills only that.

The child runs the golden frames, holds what it sees against what is expected and against
sense, and then lets the candidate and the bundle that serves now answer in turns: a
candidate that is far slower is refused, by figures of one process at one time. It prints
one JSON object. Whatever else it does (crash, hang, print nonsense) is a failed proof with
the reason in words.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.children import NOT_STARTED, ChildLimits, run_child
from edge_agent.config import Limits
from edge_agent.errors import EdgeError
from edge_agent.update.golden import Seen, answers_sense, compare, slower
from protocol.bundles import (
    GOLDEN_PATH,
    MANIFEST_BYTES_MAX,
    MANIFEST_PATH,
    GoldenDetection,
    GoldenSet,
    read_manifest,
)
from protocol.errors import ProtocolError
from protocol.windows import CONFIDENCE_FLOOR

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edge_agent.detect.bundle import LoadedBundle

    Image = npt.NDArray[np.uint8]

MODULE = "edge_agent.update.prove"
GOLDEN_BYTES_MAX = 16 * 1024 * 1024
PROOF_FILE_BYTES_MAX = 64 * 1024 * 1024
GPU_RUNTIMES = ("tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt")
TURNS_MIN, TURNS_MAX = 3, 20
WARM_TURNS = 2
GOLDEN_FLOOR_MIN = 0.001
LATENCY_TIME_SHARE = 0.25
"""Of the proof's time that the turns take at most; slow models get fewer of them."""


@dataclass(frozen=True)
class Proof:
    """What came of a proof.

    Attributes:
        figures: as far as it came, of `golden_frames`, `golden_confidence_error_max`,
            `golden_box_error_px_max`, `proof_latency_ms` (median), `proof_latency_ratio`
            (over that of the incumbent) and `proof_memory_bytes`.
    """

    passed: bool
    reason: str
    figures: Mapping[str, float]


class _Told(BaseModel):
    """What the child prints: a Proof."""

    model_config = ConfigDict(strict=True)

    passed: bool
    reason: str = Field(default="", max_length=4096)
    figures: dict[str, float] = Field(default={}, max_length=16)


@dataclass(frozen=True)
class _Order:
    """What a child is to prove, and against what."""

    folder: Path
    digest: str
    incumbent: tuple[Path, str] | None
    latency_ratio_max: float
    seconds: float
    engines: Path | None


def run_proof(
    folder: Path,
    digest: str,
    incumbent: tuple[Path, str] | None,
    limits: Limits,
    cancel: threading.Event,
    *,
    engines: Path | None = None,
) -> Proof:
    """Prove the bundle in `folder` in a child process; what the child does is no exception.

    Args:
        incumbent: folder and digest of the bundle that serves now, to compare the latency with.
        cancel: ends it when set.
        engines: folder of the engines that were derived on this device.

    Raises OSError where no process can be started, which may pass.
    """
    folders = [folder] if incumbent is None else [folder, incumbent[0]]
    memory_bytes, reserves = limits.proof_memory_bytes_max, any(map(_on_gpu, folders))
    arguments = [str(folder), digest]
    if incumbent is not None:
        arguments += ["--incumbent", str(incumbent[0]), "--incumbent-digest", incumbent[1]]
    if engines is not None:
        arguments += ["--engines", str(engines)]
    arguments += ["--latency-ratio-max", str(limits.proof_latency_ratio_max)]
    arguments += ["--seconds", str(limits.proof_timeout_s * LATENCY_TIME_SHARE)]
    ended = run_child(
        MODULE,
        arguments,
        ChildLimits(limits.proof_timeout_s, memory_bytes, PROOF_FILE_BYTES_MAX, reserves=reserves),
        cancel=cancel,
    )
    if ended.code == NOT_STARTED:
        raise OSError(f"the proof's process {ended.reason}")
    if ended.reason:
        return Proof(False, f"the proof's process {ended.reason}", {})
    try:
        told = _Told.model_validate_json(ended.output)
    except ValidationError:
        words = ended.errors or "no word"
        return Proof(False, f"the proof's process ended without an answer: {words}", {})
    return Proof(told.passed, told.reason, told.figures)


def _on_gpu(folder: Path) -> bool:
    """Whether a bundle's runtime reserves address space that it does not use, as CUDA does."""
    try:
        with (folder / MANIFEST_PATH).open("rb") as file:
            manifest = read_manifest(file.read(MANIFEST_BYTES_MAX + 1))
    except (OSError, ProtocolError):
        return False  # the child says what is wrong with it
    return manifest.build.runtime in GPU_RUNTIMES


# ---- the child -----------------------------------------------------------------------


def prove(order: _Order) -> Proof:
    """Load the bundle, run its golden frames, and compare.

    Raises:
        EdgeError, ProtocolError: the bundle cannot be loaded or is not whole.
    """
    golden = _read_golden(order.folder / GOLDEN_PATH)
    images = [_read_image(order.folder / frame.image) for frame in golden.frames]
    before_bytes = _status_bytes("VmRSS")
    floor = _floor(golden)
    loaded = _load(order.folder, order.digest, order.engines, floor)
    seen = [_detect(loaded, image) for image in images]
    peak_bytes = _status_bytes("VmHWM")
    thresholds = loaded.manifest.thresholds
    reason = answers_sense(golden, seen, len(loaded.manifest.class_names), thresholds)
    outcome = compare(golden, [frame.detections for frame in seen])
    figures = {"golden_frames": float(outcome.frames)}
    for name, error in (
        ("golden_confidence_error_max", outcome.confidence_error_max),
        ("golden_box_error_px_max", outcome.box_error_px_max),
    ):
        figures[name] = error or 0.0
    if before_bytes is not None and peak_bytes is not None:
        figures["proof_memory_bytes"] = float(max(0, peak_bytes - before_bytes))
    reason = reason or outcome.reason
    if not reason:
        reason = _compare_speed(order, loaded, images, floor, figures)
    return Proof(not reason, reason, figures)


def _compare_speed(
    order: _Order,
    candidate: LoadedBundle,
    images: list[Image],
    floor: float,
    figures: dict[str, float],
) -> str:
    """Take the latencies into `figures`; why the candidate is too slow, or "". Both are loaded
    with the same floor, so that both sort out as many answers."""
    contenders = [candidate]
    if order.incumbent is not None:
        try:
            contenders.append(_load(*order.incumbent, order.engines, floor))
        except (EdgeError, ProtocolError) as error:
            # It serves all the same; what is wrong with its files is found elsewhere.
            sys.stderr.write(f"the incumbent does not load: {error}\n")
    medians = _medians_ms(contenders, images, order.seconds)
    figures["proof_latency_ms"] = medians[0]
    if len(medians) < 2:
        return ""
    if medians[1] > 0:
        figures["proof_latency_ratio"] = medians[0] / medians[1]
    return slower(medians[0], medians[1], order.latency_ratio_max)


def _medians_ms(contenders: list[LoadedBundle], images: list[Image], seconds: float) -> list[float]:
    """The median latency of each, answering in turns, so that what the machine does meanwhile
    strikes all alike."""
    from statistics import median

    from edge_agent.detect.detector import detect

    took: list[list[float]] = [[] for _ in contenders]
    deadline = time.monotonic() + seconds
    for turn in range(WARM_TURNS + max(TURNS_MAX, len(images))):
        image = images[turn % len(images)]
        for loaded, times in zip(contenders, took, strict=True):
            began = time.perf_counter()
            detect(loaded.detector, image)
            if turn >= WARM_TURNS:
                times.append((time.perf_counter() - began) * 1e3)
        if time.monotonic() > deadline and turn + 1 >= WARM_TURNS + TURNS_MIN:
            break
    return [median(times) for times in took]


def _floor(golden: GoldenSet) -> float:
    """From where on detections are compared: below what is expected by the tolerance, which may
    be far below what a camera's frame is asked for."""
    lowest = golden.confidence_floor - golden.confidence_tolerance
    return max(GOLDEN_FLOOR_MIN, min(CONFIDENCE_FLOOR, lowest))


def _load(folder: Path, digest: str, engines: Path | None, floor: float) -> LoadedBundle:
    from edge_agent.detect.bundle import load_bundle
    from edge_agent.detect.options import LoadOptions

    return load_bundle(folder, digest, LoadOptions(threads=1, engines=engines, floor=floor))


def _read_golden(path: Path) -> GoldenSet:
    try:
        with path.open("rb") as file:
            return GoldenSet.model_validate_json(file.read(GOLDEN_BYTES_MAX))
    except (OSError, ValidationError) as error:
        raise EdgeError(f"{path.name} cannot be read: {error}") from error


def _read_image(path: Path) -> Image:
    import cv2
    import numpy as np

    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise EdgeError(f"golden image {path.name} is no image")
    return np.asarray(image, dtype=np.uint8)


def _detect(loaded: LoadedBundle, image: Image) -> Seen:
    from edge_agent.detect.detector import detect

    found = detect(loaded.detector, image)
    height, width = image.shape[:2]
    detections = [
        GoldenDetection(class_id=int(c), confidence=float(s), box=tuple(float(e) for e in b))
        for c, s, b in zip(found.class_ids, found.confidences, found.boxes, strict=True)
    ]
    return Seen(width, height, tuple(detections))


def _status_bytes(name: str) -> int | None:
    """A figure of this process's memory; getrusage would count the parent's, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("digest")
    parser.add_argument("--incumbent", type=Path)
    parser.add_argument("--incumbent-digest", default="")
    parser.add_argument("--engines", type=Path)
    parser.add_argument("--latency-ratio-max", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    said = parser.parse_args()
    incumbent = None if said.incumbent is None else (said.incumbent, said.incumbent_digest)
    order = _Order(
        said.folder, said.digest, incumbent, said.latency_ratio_max, said.seconds, said.engines
    )
    try:
        proof = prove(order)
    except (EdgeError, ProtocolError) as error:
        proof = Proof(False, str(error)[:4096], {})
    except MemoryError:
        proof = Proof(False, "the model needs more memory than limits.proof_memory_bytes_max", {})
    told = _Told(passed=proof.passed, reason=proof.reason, figures=dict(proof.figures))
    sys.stdout.write(told.model_dump_json())


if __name__ == "__main__":
    main()
