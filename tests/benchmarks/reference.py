"""Ultralytics' own answers and figures, for the agent's to be held against.

Everything runs offline, in folders of its own, and leaves the shared data as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Floats = npt.NDArray[np.float32]

IMAGE_SIZE = 640
SCORING_FLOOR = 0.001
IOU_THRESHOLD = 0.7
DETECTIONS_MAX = 300


@dataclass(frozen=True)
class Accuracy:
    """Over a labelled set of images."""

    map50_95: float
    map50: float


@dataclass(frozen=True)
class Labelled:
    """One image with its true boxes.

    Attributes:
        class_ids: int (M,).
        boxes: float32 (M, 4), xyxy in pixels of the image.
    """

    path: Path
    class_ids: npt.NDArray[np.int64]
    boxes: Floats


def offline() -> None:
    """Keep Ultralytics from the network; called before its first import."""
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"


def export(weights: Path, folder: Path, form: str, end2end: bool) -> Path:
    """Export `weights` at 640 px with Ultralytics; the file, or for OpenVINO the folder."""
    offline()
    from ultralytics import YOLO

    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / f"{form}-{'end2end' if end2end else 'raw'}.pt"
    copy.write_bytes(weights.read_bytes())
    nms = False if end2end else None
    return Path(YOLO(str(copy)).export(format=form, imgsz=IMAGE_SIZE, nms=nms, verbose=False))


@contextmanager
def openvino_computes_in(precision: str | None) -> Iterator[None]:
    """Networks compiled inside compute in `precision`; as OpenVINO likes where it is None."""
    if precision is None:
        yield
        return
    import openvino

    compile_model = openvino.Core.compile_model

    def pinned(core: Any, model: Any, device_name: str, config: dict[str, Any]) -> Any:
        config = {**config, "INFERENCE_PRECISION_HINT": precision}
        return compile_model(core, model, device_name, config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino.Core, "compile_model", pinned)
        yield


def predict(artifact: Path, paths: Sequence[Path], precision: str | None = None) -> list[Floats]:
    """Rows (N, 6) per image, x1, y1, x2, y2, confidence, class, in pixels of the image."""
    offline()
    import cv2
    from ultralytics import YOLO

    with openvino_computes_in(precision):
        model = YOLO(str(artifact), task="detect")
        return [
            model.predict(
                cv2.imread(str(path)),
                conf=SCORING_FLOOR,
                iou=IOU_THRESHOLD,
                max_det=DETECTIONS_MAX,
                imgsz=IMAGE_SIZE,
                device="cpu",
                verbose=False,
            )[0].boxes.data.numpy()
            for path in paths
        ]


def validate(
    artifact: Path,
    dataset: Path,
    folder: Path,
    precision: str | None = None,
    multi_label: bool = True,
) -> Accuracy:
    """What `val` says of an artifact, with the letterbox that `predict` has.

    `val` left alone rounds the sides of a resized image up, `predict` to the nearest; here it
    rounds as `predict` does, and pads to the fixed input (rect=False).

    Args:
        dataset: with images/val and labels/val.
        multi_label: whether an anchor of a raw head may be seen as several classes, which
            `val` does and `predict` does not.
    """
    offline()
    from ultralytics import YOLO
    from ultralytics.data import base
    from ultralytics.models.yolo.detect import val as detect_val

    suppress = detect_val.nms.non_max_suppression

    def as_chosen(*arguments: Any, **options: Any) -> Any:
        return suppress(*arguments, **{**options, "multi_label": multi_label})

    with pytest.MonkeyPatch.context() as patch, openvino_computes_in(precision):
        patch.setattr(detect_val.nms, "non_max_suppression", as_chosen)
        patch.setattr(base, "math", SimpleNamespace(ceil=round))
        metrics = YOLO(str(artifact), task="detect").val(
            data=str(_data_yaml(dataset, folder)),
            imgsz=IMAGE_SIZE,
            batch=1,
            rect=False,
            conf=SCORING_FLOOR,
            iou=IOU_THRESHOLD,
            max_det=DETECTIONS_MAX,
            device="cpu",
            plots=False,
            verbose=False,
            workers=0,
            project=str(folder / "runs"),
        )
    return Accuracy(float(metrics.box.map), float(metrics.box.map50))


def score(images: Sequence[Labelled], answers: Sequence[Floats], names: Sequence[str]) -> Accuracy:
    """Predictions (N, 6) per image through Ultralytics' own matching and metrics."""
    offline()
    import torch
    from ultralytics.models.yolo.detect import DetectionValidator
    from ultralytics.utils.metrics import DetMetrics

    validator = DetectionValidator(args={"task": "detect"})
    metrics = DetMetrics(names=dict(enumerate(names)))
    for image, rows in zip(images, answers, strict=True):
        found = torch.from_numpy(rows)
        truth = {
            "bboxes": torch.from_numpy(image.boxes),
            "cls": torch.from_numpy(image.class_ids.astype(np.float32)),
        }
        matched = validator._process_batch({"bboxes": found[:, :4], "cls": found[:, 5]}, truth)
        metrics.update_stats(
            {
                **matched,
                "target_cls": image.class_ids,
                "target_img": np.unique(image.class_ids),
                "conf": rows[:, 4],
                "pred_cls": rows[:, 5],
                "im_name": image.path.name,
            }
        )
    metrics.process()
    return Accuracy(float(metrics.box.map), float(metrics.box.map50))


def labelled(dataset: Path) -> list[Labelled]:
    """The validation images of a folder in YOLO's layout."""
    return [_labelled(path, dataset) for path in sorted((dataset / "images" / "val").glob("*.jpg"))]


def _labelled(path: Path, dataset: Path) -> Labelled:
    import cv2

    height, width = cv2.imread(str(path)).shape[:2]  # type: ignore[union-attr]
    text = dataset / "labels" / "val" / f"{path.stem}.txt"
    lines = text.read_text().split("\n") if text.exists() else []
    table = np.array([line.split() for line in lines if line.strip()], np.float32).reshape(-1, 5)
    class_ids, shares = table[:, 0].astype(np.int64), table[:, 1:]
    centre, size = shares[:, :2], shares[:, 2:]
    boxes = np.hstack([centre - size / 2, centre + size / 2]) * [width, height, width, height]
    return Labelled(path, class_ids, boxes.astype(np.float32))


def _data_yaml(dataset: Path, folder: Path) -> Path:
    """A copy of the labels and links to the images: Ultralytics writes beside labels."""
    import yaml

    copy = folder / "dataset"
    for part in ("images", "labels"):
        target = copy / part / "val"
        if target.exists():
            continue
        target.mkdir(parents=True)
        for path in (dataset / part / "val").iterdir():
            (target / path.name).symlink_to(path)
    found = yaml.safe_load((dataset / "data.yaml").read_text())
    told = {"path": str(copy), "train": "images/val", "val": "images/val", "names": found["names"]}
    (copy / "data.yaml").write_text(yaml.safe_dump(told))
    return copy / "data.yaml"
