"""What Ultralytics says of the same predictions, beside the figure of record; a child process.

    python -m cloud.evaluation.ultralytics_metrics IN OUT
    python -m cloud.evaluation.ultralytics_metrics --val MODEL DATA IMGSZ OUT

The first sends predictions and truth through Ultralytics' own matching and `DetMetrics`, box by
box as its validator does. The second runs its `val` on an exported file, with the letterbox
that its `predict` and a device have (left alone, `val` rounds the sides of a resized image
up), and writes beside labels, so DATA must be of a copy. Both write a JSON object to OUT.
What may still differ between the two is that a device clips boxes to the image and `val` does
not.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cloud.evaluation.coco import DETECTIONS_PER_IMAGE_MAX, ScoredBox, ScoredImage
from cloud.shipped import CONFIDENCE_FLOOR

CHILD = (sys.executable, "-m", "cloud.evaluation.ultralytics_metrics")
IOU_THRESHOLD = 0.7


def write_order(images: Sequence[ScoredImage], class_names: Sequence[str], path: Path) -> None:
    """The child's IN: the names of the classes, and each image's truth and predictions."""
    rows = [
        {
            "truth": [[b.class_id, *b.box] for b in image.truth],
            "predictions": [[b.class_id, b.confidence, *b.box] for b in image.predictions],
        }
        for image in images
    ]
    path.write_text(json.dumps({"names": list(class_names), "images": rows}))


def read_order(path: Path) -> tuple[list[ScoredImage], list[str]]:
    """What `write_order` wrote."""
    given = json.loads(path.read_text())
    images = [
        ScoredImage(
            truth=tuple(ScoredBox(int(c), (x1, y1, x2, y2)) for c, x1, y1, x2, y2 in row["truth"]),
            predictions=tuple(
                ScoredBox(int(c), (x1, y1, x2, y2), p)
                for c, p, x1, y1, x2, y2 in row["predictions"]
            ),
        )
        for row in given["images"]
    ]
    return images, given["names"]


def measure(images: Sequence[ScoredImage], class_names: Sequence[str]) -> dict[str, Any]:
    """Ultralytics' figures: {"map50", "map50_95", "per_class": {name: …}, "ultralytics"}.

    The means are None where the images hold no object.
    """
    import numpy as np
    import torch
    import ultralytics
    from ultralytics.models.yolo.detect import DetectionValidator
    from ultralytics.utils.metrics import DetMetrics

    version = {"ultralytics": ultralytics.__version__}
    if not any(image.truth for image in images):
        return {"map50": None, "map50_95": None, "per_class": {}, **version}
    with tempfile.TemporaryDirectory() as folder:
        validator = DetectionValidator(save_dir=Path(folder), args={"task": "detect"})
    metrics = DetMetrics(names=dict(enumerate(class_names)))
    for number, image in enumerate(images):
        seen = sorted(image.predictions, key=lambda p: -p.confidence)[:DETECTIONS_PER_IMAGE_MAX]
        classes = np.array([p.class_id for p in seen], dtype=np.float32)
        labels = np.array([t.class_id for t in image.truth], dtype=np.float32)
        matched = validator._process_batch(
            {"bboxes": _boxes(seen, torch), "cls": torch.from_numpy(classes)},
            {"bboxes": _boxes(image.truth, torch), "cls": torch.from_numpy(labels)},
        )
        metrics.update_stats(
            {
                **matched,
                "target_cls": labels,
                "target_img": np.unique(labels),
                "conf": np.array([p.confidence for p in seen], dtype=np.float32),
                "pred_cls": classes,
                "im_name": str(number),
            }
        )
    metrics.process()
    return {**_figures(metrics, class_names), **version}


def validate(model: Path, data: Path, side_px: int, runs: Path) -> dict[str, Any]:
    """What Ultralytics' `val` says of an exported file, from the scoring floor on.

    Args:
        data: a data.yaml with an absolute path, of a copy of the images.
        runs: a folder for what `val` writes.
    """
    import ultralytics
    from ultralytics import YOLO
    from ultralytics.data import base

    # It loads images with this module's `math.ceil`; `predict` rounds to the nearest.
    base.math = SimpleNamespace(ceil=round)
    yolo = YOLO(str(model), task="detect")
    metrics = yolo.val(
        data=str(data),
        imgsz=side_px,
        batch=1,
        rect=False,
        conf=CONFIDENCE_FLOOR,
        iou=IOU_THRESHOLD,
        max_det=DETECTIONS_PER_IMAGE_MAX,
        device="cpu",
        plots=False,
        verbose=False,
        workers=0,
        project=str(runs),
    )
    names = [name for _, name in sorted(metrics.names.items())]
    return {**_figures(metrics, names), "ultralytics": ultralytics.__version__}


def _boxes(boxes: Sequence[ScoredBox], torch: Any) -> Any:
    return torch.tensor([b.box for b in boxes], dtype=torch.float32).reshape(-1, 4)


def _figures(metrics: Any, class_names: Sequence[str]) -> dict[str, Any]:
    box = metrics.box
    return {
        "map50": float(box.map50),
        "map50_95": float(box.map),
        "per_class": {
            class_names[int(class_id)]: {
                "map50": float(box.ap50[row]),
                "map50_95": float(box.ap[row]),
            }
            for row, class_id in enumerate(box.ap_class_index)
        },
    }


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; 2 where it says nothing known."""
    # Before Ultralytics is first imported: nothing is fetched, installed or reported.
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false")
    if len(arguments) == 5 and arguments[0] == "--val":
        out = Path(arguments[4])
        found = validate(
            Path(arguments[1]), Path(arguments[2]), int(arguments[3]), out.parent / "runs"
        )
    elif len(arguments) == 2:
        out = Path(arguments[1])
        found = measure(*read_order(Path(arguments[0])))
    else:
        sys.stderr.write(__doc__ or "")
        return 2
    out.write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
