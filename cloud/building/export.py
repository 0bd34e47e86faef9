"""From a checkpoint to ONNX by Ultralytics, and whether that is the model it should be.

For child processes only: it imports Ultralytics, and opening a checkpoint runs what is in it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DETECTIONS_MAX = 300
STRIDES = (8, 16, 32)


class ExportError(Exception):
    """The exported file is not the model that it was made of."""


def export(weights: Path, width: int, height: int, batch: int = 1) -> Path:
    """Export the checkpoint to ONNX, static, with the end-to-end head; lies beside it."""
    from ultralytics import YOLO

    model = YOLO(str(weights), task="detect")
    # nms=False is the end-to-end head; the default leaves the raw one.
    return Path(
        model.export(format="onnx", imgsz=[height, width], batch=batch, nms=False, simplify=True)
    )


def detections(width: int, height: int) -> int:
    """Rows of the end-to-end head: the best 300, or all places where the input has fewer."""
    return min(DETECTIONS_MAX, places(width, height))


def places(width: int, height: int) -> int:
    """Where the network looks: the columns of the raw head."""
    return sum((width // s) * (height // s) for s in STRIDES)


def check_export(
    path: Path,
    width: int,
    height: int,
    class_names: Sequence[str],
    batch: int = 1,
    *,
    outside: bool = False,
) -> dict[str, Any]:
    """Opset and head of the file, once it is what it should be.

    Args:
        outside: it was not exported here: its head may be raw, or give another number of rows,
            and it need not name its classes.

    Raises:
        ExportError: shapes or class names are others.
    """
    import onnx
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = [list(i.shape) for i in session.get_inputs()]
    outputs = [list(o.shape) for o in session.get_outputs()]
    taken = [[batch, 3, height, width]]
    given = [[batch, detections(width, height), 6]]
    raw = [[batch, 4 + len(class_names), places(width, height)]]
    head = "raw" if outside and outputs == raw else "end2end"
    if outside and _is_end2end(outputs, batch):
        given = outputs
    if inputs != taken or (head == "end2end" and outputs != given):
        raise ExportError(
            f"the exported model takes {inputs} and gives {outputs}; an end-to-end detector of "
            f"{width}x{height} px takes {taken} and gives {given}"
            + (f", one with a raw head {raw}" if outside else "")
            + ": start from weights of a YOLO26 detector"
        )
    said = session.get_modelmeta().custom_metadata_map.get("names")
    embedded = ast.literal_eval(said or "{}")
    if not (outside and said is None) and [
        embedded.get(i) for i in range(len(class_names))
    ] != list(class_names):
        raise ExportError(f"the exported model names {embedded}, the dataset {list(class_names)}")
    opsets = [o.version for o in onnx.load(str(path)).opset_import if o.domain in ("", "ai.onnx")]
    return {"opset": max(opsets), "head": head}


def _is_end2end(outputs: Sequence[Sequence[Any]], batch: int) -> bool:
    """Whether rows of finished detections come out, however many."""
    return (
        len(outputs) == 1 and len(outputs[0]) == 3 and [outputs[0][0], outputs[0][2]] == [batch, 6]
    )
