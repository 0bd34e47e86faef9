"""How long a matrix of builds takes, and what lower precision is worth, where it sees as well."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from cloud.registry.bundles import materialise
from cloud.settings import BuildingSettings
from edge_agent.detect.options import cores
from tests.benchmarks.harness import Bench, Row, row, shared_data
from tests.benchmarks.seeing_sides import photographs
from tests.benchmarks.sides import Turn, compare, side
from tests.integration.cloud_learning.hub import LearningHub, learning_hub

TARGETS = ("onnx-fp32", "onnx-int8", "openvino-fp32", "openvino-bf16", "openvino-int8")
LOW_PRECISION = ("onnx-int8", "openvino-bf16", "openvino-int8")
SIDE_PX = 640
GOLDEN_PHOTOGRAPHS = 100
JOB_DEADLINE_S = 3600.0
TURNS, FRAMES_PER_TURN = 20, 10
BOARDS_TRAINED = 16


def matrix_s() -> Row:
    """Five CPU builds of yolo26n at 640 px, made, fitted, evaluated on 150 boards and on 1,550
    spoiled ones each, judged and registered: what `argosy build start` takes on this machine."""
    began = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name, _hub(Path(name)) as hub:
        # How long it takes does not hang on how well it sees: few images, one epoch.
        short = {"epochs": 1, "rehearsal_images_max": BOARDS_TRAINED, "mosaic": 0.0, "val": False}
        _version(hub, "boards", shared_data() / "deeppcb", short)
        job = _matrix(hub, "boards", TARGETS)
    rows = job["result"]["builds"]
    return row(
        "building.matrix_s",
        job["ended_at"] - job["started_at"],
        "<= 600",
        unit="s",
        builds=[{k: r[k] for k in ("target", "outcome", "size_bytes")} for r in rows],
        images=150,
        repetitions=1,
        load_average=[began, os.getloadavg()[0]],
    )


def low_precision() -> Row:
    """Frames per second of the fastest admitted int8 or bf16 build ÷ the fp32 ONNX build's, in
    turns, each in a process of its own; admitted: within the tolerance on 100 photographs."""
    began = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name, _hub(Path(name)) as hub:
        dataset = photographs_dataset(Path(name) / "photographs")
        _version(hub, "photographs", dataset, {"epochs": 0})
        rows = _matrix(hub, "photographs", ("onnx-fp32", *LOW_PRECISION))["result"]["builds"]
        folders = {
            row_["build"].removesuffix(f"-{SIDE_PX}x{SIDE_PX}"): materialise(
                hub.store, row_["digest"], Path(name) / row_["digest"][:12]
            ).folder
            for row_ in rows
            if row_["outcome"] != "FAILED"
        }
        fps = {name_: _against(folders["onnx-fp32"], folders[name_]) for name_ in LOW_PRECISION
               if name_ in folders}  # fmt: skip
    admitted = {r["build"].rsplit("-", 1)[0] for r in rows if r["outcome"] in ("ADMITTED", "THERE")}
    ratios = {name_: c["median"] for name_, c in fps.items()}
    best = max((n for n in ratios if n in admitted), key=lambda n: ratios[n], default=None)
    return row(
        "building.low_precision_vs_fp32",
        ratios[best] if best else 0.0,
        ">= 1.3",
        note=f"the fastest admitted: {best}",
        ratios=fps,
        builds=[
            {k: r.get(k) for k in ("target", "outcome", "map50", "map50_95", "reasons")}
            for r in rows
        ],
        weights=f"yolo26n, reconstructed, {SIDE_PX} px",
        load_average=[began, os.getloadavg()[0]],
    )


@contextmanager
def _hub(folder: Path) -> Iterator[LearningHub]:
    with learning_hub(folder / "hub", building=BuildingSettings()) as hub:
        yield hub


def _version(hub: LearningHub, name: str, folder: Path, parameters: dict[str, Any]) -> None:
    """Version 1 of a model of the reconstructed weights."""
    imported = hub.import_folder(name, folder, model=name)
    if imported["state"] != "SUCCEEDED":
        raise RuntimeError(imported["error"])
    order = {
        "model": name,
        "dataset": name,
        "weights": str(shared_data() / "weights" / "yolo26n-reconstructed.pt"),
        "parameters": {"imgsz": SIDE_PX, "batch": 8, "plots": False, **parameters},
    }
    asked = hub.post("/training/jobs", order, 202)
    job = hub.wait(
        f"/training/jobs/{asked['id']}",
        lambda j: j["state"] in ("SUCCEEDED", "FAILED", "CANCELED"),
        JOB_DEADLINE_S,
    )
    if job["state"] != "SUCCEEDED":
        raise RuntimeError(job["error"])


def _matrix(hub: LearningHub, name: str, targets: Sequence[str]) -> Any:
    body = {"targets": list(targets), "again": name == "boards"}
    asked = hub.post(f"/models/{name}/versions/1/builds", body, 202)
    job = hub.done(asked["id"], JOB_DEADLINE_S)
    if job["state"] != "SUCCEEDED":
        raise RuntimeError(job["error"])
    return job


def photographs_dataset(folder: Path, golden: int = GOLDEN_PHOTOGRAPHS) -> Path:
    """coco128 in two: what judges, and the rest to calibrate and choose with."""
    source = shared_data() / "coco128"
    paths = sorted((source / "images" / "val").glob("*.jpg"))
    parts = {"val": paths[:golden], "train": paths[golden:]}
    for split, chosen in parts.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for path in chosen:
            shutil.copyfile(path, folder / "images" / split / path.name)
            label = source / "labels" / "val" / f"{path.stem}.txt"
            if label.exists():
                shutil.copyfile(label, folder / "labels" / split / label.name)
    names = yaml.safe_load((source / "data.yaml").read_text())["names"]
    described = {"train": "images/train", "val": "images/val", "names": names}
    (folder / "data.yaml").write_text(yaml.safe_dump(described))
    return folder


def detecting(folder: Path, threads: int) -> Turn:
    """The agent's detector of a bundle on photographs, one frame at a time."""
    import time

    from edge_agent.detect.bundle import load_bundle
    from edge_agent.detect.detector import detect
    from edge_agent.detect.options import LoadOptions
    from edge_agent.evaluate import folder_digest

    loaded = load_bundle(folder, folder_digest(folder), LoadOptions(threads))
    images = photographs()

    def turn(frames: int) -> float:
        began_s = time.monotonic()
        for number in range(frames):
            detect(loaded.detector, images[number % len(images)])
        return time.monotonic() - began_s

    return turn


def _against(fp32: Path, other: Path) -> dict[str, Any]:
    with side(detecting, other, cores()) as fast, side(detecting, fp32, cores()) as slow:
        return compare(fast, slow, TURNS, FRAMES_PER_TURN).detail("low_precision", "fp32")


BENCHES: dict[str, Bench] = {
    "building.matrix_s": matrix_s,
    "building.low_precision_vs_fp32": low_precision,
}
