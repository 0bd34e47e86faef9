"""`python -m tests.benchmarks.same_answers`: does the agent see what Ultralytics sees?

For each backend the same file goes through the agent and through Ultralytics, over real
photographs and circuit boards; figures as JSON on stdout. Raw scores are compared: before
calibration and deduplication.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_agent.detect.detector import detect
from protocol.builds import Format, Precision
from protocol.bundles import MODEL_FILES
from tests.benchmarks import reference
from tests.benchmarks.harness import shared_data
from tests.benchmarks.reference import IMAGE_SIZE, SCORING_FLOOR, Floats
from tests.fixtures.artifacts import coco_names, load

PHOTOGRAPH_CONFIDENCE = 0.25
# The weights know no circuit board; what they take its parts for lies this low.
BOARD_CONFIDENCE = 0.05
BOARDS = 48
PAIR_PX = 32.0
DEDUPLICATE_IOU = 0.9


@dataclass(frozen=True)
class Backend:
    """How a file is computed.

    Attributes:
        precision: OpenVINO's name of it; the agent's build says the same.
    """

    runtime: str
    head: str
    precision: str = "f32"


BACKENDS: dict[str, Backend] = {
    "onnxruntime fp32, end-to-end head": Backend("onnxruntime", "end2end"),
    "onnxruntime fp32, raw head": Backend("onnxruntime", "raw"),
    "openvino f32, end-to-end head": Backend("openvino", "end2end"),
    "openvino f32, raw head": Backend("openvino", "raw"),
    "openvino bf16, end-to-end head": Backend("openvino", "end2end", "bf16"),
    "openvino bf16, raw head": Backend("openvino", "raw", "bf16"),
}
_PRECISIONS = {"f32": Precision.FP32, "bf16": Precision.BF16}


@dataclass(frozen=True)
class Agreement:
    """How far two lists of answers are apart.

    Attributes:
        objects: of the second list at or above the confidence.
        unpaired: objects of either list without a counterpart in the other, however faint.
        crossed: pairs of which one alone reaches the confidence.
        box_px_max: largest distance of corresponding edges, in pixels of the image.
    """

    images: int
    objects: int
    unpaired: int
    crossed: int
    box_px_max: float
    confidence_max: float


class Artifacts:
    """The exports of one set of weights, each made when it is first asked for."""

    def __init__(self, weights: Path, folder: Path) -> None:
        self._weights, self._folder = weights, folder
        self._made: dict[tuple[str, str], Path] = {}

    def path(self, backend: Backend) -> Path:
        """What Ultralytics loads: an ONNX file, or an OpenVINO folder."""
        form = "openvino" if backend.runtime == "openvino" else "onnx"
        key = form, backend.head
        if key not in self._made:
            self._made[key] = reference.export(
                self._weights, self._folder / form, form, backend.head == "end2end"
            )
        return self._made[key]

    def files(self, backend: Backend) -> dict[str, bytes]:
        """The same as a bundle's files."""
        path = self.path(backend)
        if path.is_file():
            return {MODEL_FILES[Format.ONNX][0]: path.read_bytes()}
        xml, weights = MODEL_FILES[Format.OPENVINO]
        return {
            xml: next(path.glob("*.xml")).read_bytes(),
            weights: next(path.glob("*.bin")).read_bytes(),
            "metadata.yaml": (path / "metadata.yaml").read_bytes(),
        }


def agent_answers(
    backend: Backend,
    files: dict[str, bytes],
    paths: Sequence[Path],
    deduplicate_iou: float | None = None,
) -> list[Floats]:
    """The agent's rows (N, 6) per image, as `reference.predict` gives Ultralytics'.

    Raises DetectorError where this CPU does not compute in the backend's precision.
    """
    form = Format.OPENVINO if backend.runtime == "openvino" else Format.ONNX
    with tempfile.TemporaryDirectory() as folder:
        detector = load(
            Path(folder),
            files,
            threads=2,
            floor=SCORING_FLOOR,
            class_names=coco_names(shared_data()),
            head=backend.head,
            deduplicate_iou=deduplicate_iou,
            format=form,
            runtime=backend.runtime,
            runtime_precision=_PRECISIONS[backend.precision],
            input_width=IMAGE_SIZE,
            input_height=IMAGE_SIZE,
        )
        answers = []
        for path in paths:
            found = detect(detector, np.asarray(cv2.imread(str(path)), dtype=np.uint8))
            columns = (found.boxes, found.confidences[:, None], found.class_ids[:, None])
            answers.append(np.hstack(columns).astype(np.float32))
        detector.close()
    return answers


def agreement(ours: Sequence[Floats], theirs: Sequence[Floats], confidence: float) -> Agreement:
    """How far rows (N, 6) per image are apart, at or above `confidence` in either list."""
    objects = unpaired = crossed = 0
    box_px, apart = [0.0], [0.0]
    for mine, other in zip(ours, theirs, strict=True):
        objects += int((other[:, 4] > confidence).sum())
        pairs, alone = _pairs(mine, other, confidence)
        unpaired += alone
        for a, b in pairs:
            crossed += bool((a[4] > confidence) != (b[4] > confidence))
            box_px.append(float(np.abs(a[:4] - b[:4]).max()))
            apart.append(float(abs(a[4] - b[4])))
    return Agreement(len(theirs), objects, unpaired, crossed, max(box_px), max(apart))


def _pairs(
    ours: Floats, theirs: Floats, confidence: float
) -> tuple[list[tuple[Floats, Floats]], int]:
    """Rows that are the same object, most confident first, and how many have no partner."""
    pairs: list[tuple[Floats, Floats]] = []
    left, alone = list(range(len(ours))), 0
    for row in theirs:
        same = [i for i in left if ours[i, 5] == row[5] and _px(ours[i], row) <= PAIR_PX]
        if same:
            nearest = min(
                same, key=lambda i: _px(ours[i], row) + abs(ours[i, 4] - row[4]) * PAIR_PX
            )
            left.remove(nearest)
            if max(row[4], ours[nearest, 4]) > confidence:
                pairs.append((ours[nearest], row))
        elif row[4] > confidence:
            alone += 1
    return pairs, alone + sum(bool(ours[i, 4] > confidence) for i in left)


def _px(one: Floats, other: Floats) -> float:
    return float(np.abs(one[:4] - other[:4]).max())


def photographs() -> list[Path]:
    return sorted((shared_data() / "coco128" / "images" / "val").glob("*.jpg"))


def boards() -> list[Path]:
    return sorted((shared_data() / "deeppcb" / "images" / "val").glob("*.jpg"))[:BOARDS]


def figures(name: str, artifacts: Artifacts, folder: Path) -> dict[str, Any]:
    """All figures of one backend over all photographs and boards."""
    backend = BACKENDS[name]
    files, path = artifacts.files(backend), artifacts.path(backend)
    dataset, names = shared_data() / "coco128", coco_names(shared_data())
    images = reference.labelled(dataset)
    paths = [image.path for image in images]
    pinned = backend.precision if backend.runtime == "openvino" else None
    ours = agent_answers(backend, files, paths)
    theirs = reference.predict(path, paths, pinned)
    board_paths = boards()
    found: dict[str, Any] = {
        "photographs": asdict(agreement(ours, theirs, PHOTOGRAPH_CONFIDENCE)),
        "boards": asdict(
            agreement(
                agent_answers(backend, files, board_paths),
                reference.predict(path, board_paths, pinned),
                BOARD_CONFIDENCE,
            )
        ),
        "accuracy": asdict(reference.score(images, ours, names)),
        "accuracy_deduplicated": asdict(
            reference.score(images, agent_answers(backend, files, paths, DEDUPLICATE_IOU), names)
        ),
        "ultralytics_predict": asdict(reference.score(images, theirs, names)),
        "ultralytics_val": asdict(reference.validate(path, dataset, folder, pinned)),
    }
    if backend.head == "raw":
        single = reference.validate(path, dataset, folder, pinned, multi_label=False)
        found["ultralytics_val_one_class_an_anchor"] = asdict(single)
    if backend.precision != "f32":
        fp32 = reference.predict(path, paths, "f32")
        found["against_fp32"] = asdict(agreement(ours, fp32, PHOTOGRAPH_CONFIDENCE))
        found["accuracy_fp32"] = asdict(reference.score(images, fp32, names))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="part of a backend's name")
    arguments = parser.parse_args()
    weights = shared_data() / "weights" / "yolo26n-reconstructed.pt"
    # Ultralytics prints its progress; stdout is for the figures.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        artifacts = Artifacts(weights, Path(folder))
        found = {
            name: figures(name, artifacts, Path(folder))
            for name in BACKENDS
            if arguments.only in name
        }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
