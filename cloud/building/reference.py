"""What PyTorch answers to golden frames, behind the shipped letterbox; for child processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cloud.building.images import letterbox, read
from cloud.building.order import OrderRefused

FLOOR = 0.01
COLUMNS = 6


def answers(
    weights: Path, frames: Sequence[Path], width: int, height: int
) -> list[list[dict[str, Any]]]:
    """Detections of each frame, {"class_id", "confidence", "box"}, boxes in frame pixels.

    The checkpoint's own network runs on the very tensor that a device would make of the frame,
    so that what differs from a build is the build.

    Raises OrderRefused where the checkpoint has no end-to-end head, or a frame is no image.
    """
    import torch
    from ultralytics import YOLO

    network = YOLO(str(weights), task="detect").model.float().eval()
    # As the export does for nms=False; left alone, the network answers by its raw head.
    network.end2end = True
    found = []
    for frame in frames:
        tensor, placed = letterbox(read(frame), width, height)
        with torch.inference_mode():
            output = network(torch.from_numpy(tensor))
        rows = output[0] if isinstance(output, tuple | list) else output
        if rows.ndim != 3 or rows.shape[2] != COLUMNS:
            raise OrderRefused(
                f"the checkpoint answers {tuple(rows.shape)}, which is no end-to-end head",
                "start from weights of a YOLO26 detector",
            )
        kept = rows[0].numpy()
        kept = np.ascontiguousarray(kept[kept[:, 4] >= FLOOR], np.float32)
        boxes = placed.to_frame(kept[:, :4])
        found.append(
            [
                {"class_id": int(row[5]), "confidence": float(row[4]), "box": box.tolist()}
                for row, box in zip(kept, boxes, strict=True)
            ]
        )
    return found
