"""Orders to the building child, and bundles of what it made, as a device gets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from cloud.building.targets import BuildTarget
from protocol.bundles import (
    GOLDEN_PATH,
    MANIFEST_PATH,
    BundleFile,
    Manifest,
    Preprocessing,
    Thresholds,
    canonical,
)
from protocol.chunks import describe

CHILD_S = 200
FLOOR = 0.05


def order(folder: Path, **order: Any) -> tuple[int, dict[str, Any]]:
    """Run the child in `folder`; its exit status and its result."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "order.json").write_text(json.dumps(order))
    ended = subprocess.run(
        [sys.executable, "-m", "cloud.building.child", str(folder)],
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=CHILD_S,
        check=False,
    )
    assert (folder / "result.json").is_file(), ended.stderr[-2000:]
    return ended.returncode, json.loads((folder / "result.json").read_text())


def export_raw(weights: Path, side_px: int) -> None:
    """Ultralytics' default export to ONNX, beside the checkpoint, in a process of its own."""
    code = "import sys; from ultralytics import YOLO; "
    code += "YOLO(sys.argv[1]).export(format='onnx', imgsz=int(sys.argv[2]))"
    command = [sys.executable, "-c", code, str(weights), str(side_px)]
    subprocess.run(
        command, env=_environment(weights.parent), capture_output=True, timeout=CHILD_S, check=True
    )


def _environment(folder: Path) -> dict[str, str]:
    offline = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "NNCF_TELEMETRY": "0"}
    return {**os.environ, **offline, "YOLO_CONFIG_DIR": str(folder / "config")}


def write_bundle(
    folder: Path,
    files: dict[str, Path],
    target: BuildTarget,
    class_names: tuple[str, ...],
    head: Literal["end2end", "raw"] = "end2end",
) -> Path:
    """A bundle of `files`; its golden set is empty, for nothing is rolled out here."""
    contents = {path: place.read_bytes() for path, place in files.items()} | {GOLDEN_PATH: b"{}"}
    manifest = Manifest(
        model="boards",
        version=1,
        build=target.identity(None),
        head=head,
        class_names=class_names,
        thresholds=Thresholds(default=0.25),
        preprocessing=Preprocessing(),
        files=tuple(BundleFile(path=p, blob=describe(d)) for p, d in sorted(contents.items())),
    )
    folder.mkdir(parents=True)
    for path, data in {**contents, MANIFEST_PATH: canonical(manifest)}.items():
        (folder / path).write_bytes(data)
    return folder


def evaluate(bundle: Path, images: list[Path]) -> list[list[dict[str, Any]]]:
    """What the agent sees in each image from a confidence of FLOOR on."""
    listed, out = bundle / "images.txt", bundle / "out.jsonl"
    listed.write_text("".join(f"{image}\n" for image in images))
    command = [sys.executable, "-m", "edge_agent", "evaluate", "--bundle", str(bundle)]
    command += ["--images", str(listed), "--out", str(out), "--floor", str(FLOOR)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_S, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return [json.loads(line)["detections"] for line in out.read_text().splitlines()]


def shared(
    ours: list[list[dict[str, Any]]], theirs: list[list[dict[str, Any]]], sure: float
) -> float:
    """Of what is surely seen by `ours`, the share that `theirs` sees: class, IoU over 0.7."""
    wanted = [(i, d) for i, frame in enumerate(ours) for d in frame if d["confidence"] >= sure]
    assert wanted
    met = sum(
        any(o["class_id"] == d["class_id"] and _iou(o["box"], d["box"]) > 0.7 for o in theirs[i])
        for i, d in wanted
    )
    return met / len(wanted)


def _iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
