"""The agent's answers through Ultralytics' metrics are what its own `val` says of the file."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cloud.datasets.boxes import LabelBox
from cloud.evaluation.coco import ScoredBox, ScoredImage, score
from cloud.evaluation.report import definitions_compared
from cloud.evaluation.ultralytics_metrics import CHILD, write_order
from cloud.shipped import ShippedRunner
from protocol.bundles import GOLDEN_PATH, MANIFEST_PATH, canonical
from tests.fixtures.artifacts import coco_names, manifest_for
from tests.unit.cloud.evaluation import drawn

pytestmark = pytest.mark.integration

PHOTOGRAPHS = 48
SIDE_PX = 640
AGREEMENT = 0.001


@dataclass(frozen=True)
class Agreed:
    """Figures of the same file over the same photographs."""

    coco: dict[str, Any]
    same_predictions: dict[str, Any]
    val: dict[str, Any]


def child(folder: Path, *arguments: str) -> dict[str, Any]:
    """The figures that the child writes, in an environment that finds no network."""
    out = folder / "figures.json"
    environment = {**os.environ, "YOLO_CONFIG_DIR": str(folder / "config")}
    ended = subprocess.run(
        [*CHILD, *arguments, str(out)],
        env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def copied(shared_data: Path, folder: Path) -> list[Path]:
    """Links to the first photographs and copies of their labels; data.yaml beside them."""
    source = shared_data / "coco128"
    images = folder / "images" / "val"
    labels = folder / "labels" / "val"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    paths = sorted((source / "images" / "val").glob("*.jpg"))[:PHOTOGRAPHS]
    for path in paths:
        (images / path.name).symlink_to(path)
        label = source / "labels" / "val" / f"{path.stem}.txt"
        if label.exists():
            (labels / label.name).write_bytes(label.read_bytes())
    names = dict(enumerate(coco_names(shared_data)))
    told = {"path": str(folder), "train": "images/val", "val": "images/val", "names": names}
    (folder / "data.yaml").write_text(yaml.safe_dump(told))
    return [images / path.name for path in paths]


def bundle_of(weights: Path, folder: Path, names: tuple[str, ...]) -> Path:
    """The file as a device gets it."""
    folder.mkdir()
    files = {"model.onnx": weights.read_bytes(), GOLDEN_PATH: b"{}"}
    manifest = manifest_for(
        files, class_names=names, head="end2end", input_width=SIDE_PX, input_height=SIDE_PX
    )
    for path, data in {**files, MANIFEST_PATH: canonical(manifest)}.items():
        (folder / path).write_bytes(data)
    return folder


def truth_of(image: Path, width: int, height: int) -> tuple[ScoredBox, ...]:
    label = image.parents[2] / "labels" / "val" / f"{image.stem}.txt"
    lines = label.read_text().split("\n") if label.exists() else []
    rows = [line.split() for line in lines if line.strip()]
    boxes = [LabelBox(int(row[0]), *(float(part) for part in row[1:5])) for row in rows]
    return tuple(ScoredBox(b.class_id, b.to_pixels(width, height)) for b in boxes)


@pytest.fixture(scope="module")
def agreed(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Agreed:
    folder = tmp_path_factory.mktemp("agreement")
    names = coco_names(shared_data)
    weights = folder / "model.onnx"
    weights.write_bytes(
        (shared_data / "weights" / "yolo26n-reconstructed-e2e-640.onnx").read_bytes()
    )
    paths = copied(shared_data, folder / "data")
    run = ShippedRunner().run(bundle_of(weights, folder / "bundle", names), paths, folder / "work")
    images = [
        ScoredImage(
            truth_of(path, result.width, result.height),
            tuple(ScoredBox(d.class_id, d.box, d.confidence) for d in result.detections),
        )
        for path, result in zip(paths, run.results, strict=True)
    ]
    write_order(images, names, folder / "order.json")
    return Agreed(
        coco=score(images).as_dict(),
        same_predictions=child(folder, str(folder / "order.json")),
        val=child(folder, "--val", str(weights), str(folder / "data" / "data.yaml"), str(SIDE_PX)),
    )


def test_the_same_predictions_agree_with_ultralytics_val(agreed: Agreed) -> None:
    ours, val = agreed.same_predictions, agreed.val
    assert 0.4 < val["map50"] < 0.9
    assert ours["map50"] == pytest.approx(val["map50"], abs=AGREEMENT)
    assert ours["map50_95"] == pytest.approx(val["map50_95"], abs=AGREEMENT)
    assert set(ours["per_class"]) == set(val["per_class"])


def test_the_difference_of_the_definitions_is_reported(agreed: Agreed) -> None:
    found = definitions_compared(agreed.coco, agreed.same_predictions)
    assert found["map50"] == agreed.same_predictions["map50"]
    assert 0 < abs(found["map50_difference"]) < 0.05
    assert 0 < abs(found["map50_95_difference"]) < 0.05


def test_drawn_images_through_the_child(tmp_path: Path) -> None:
    box = (10.0, 10.0, 50.0, 50.0)
    flawless = ScoredImage((ScoredBox(3, box),), (ScoredBox(3, box, 0.9),))
    images = [*drawn.a_set(12, np.random.default_rng(5)), flawless]
    write_order(images, ("a", "b", "c", "d"), tmp_path / "order.json")
    found = child(tmp_path, str(tmp_path / "order.json"))
    ours = score(images).as_dict()
    assert found["map50"] == pytest.approx(ours["map50"], abs=0.02)
    assert set(found["per_class"]) == {"a", "b", "c", "d"}
    assert found["per_class"]["d"]["map50"] == pytest.approx(0.995)
    assert ours["per_class"]["3"]["map50"] == pytest.approx(1)
    assert found["ultralytics"]


def test_images_without_objects_have_no_figure(tmp_path: Path) -> None:
    write_order([ScoredImage((), ())], ("a",), tmp_path / "order.json")
    assert child(tmp_path, str(tmp_path / "order.json"))["map50"] is None


def test_an_unknown_command_line_says_what_is_known() -> None:
    ended = subprocess.run([*CHILD, "what"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--val MODEL DATA IMGSZ OUT" in ended.stderr
