"""`python -m simulators.demo.reference MODEL IMAGES OUT`: what Ultralytics itself sees.

A process of its own: nothing else here loads torch. Writes the lines that
`argosy-agent evaluate` writes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CONFIDENCE_MIN = 0.05
"""No build serves from lower on."""


def main(model_path: str, listing: str, out: str) -> None:
    """Predict every image that `listing` names, a path a line, with the ONNX file."""
    from ultralytics import YOLO

    model = YOLO(model_path, task="detect")
    images = Path(listing).read_text().splitlines()
    with Path(out).open("w") as lines:
        for image in images:
            (result,) = model.predict(image, conf=CONFIDENCE_MIN, verbose=False, device="cpu")
            rows = result.boxes.data.tolist()
            detections = [
                {"class_id": int(c), "confidence": p, "box": [x1, y1, x2, y2]}
                for x1, y1, x2, y2, p, c in rows
            ]
            lines.write(json.dumps({"image": image, "detections": detections}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
