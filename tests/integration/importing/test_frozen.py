"""A real tiny training with frozen layers: they come out as they went in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cloud.training import artefacts, frozen
from cloud.training.parameters import TrainingParameters
from cloud.training.workspace import Workspace
from tests.integration.importing.outside import NAMES, checkpoint, network, save

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LAYERS = 10


def ordered(folder: Path, start: Path, **parameters: Any) -> Workspace:
    """A job's folder over a few drawn squares, as `workspace.prepare` leaves it."""
    import cv2

    rng = np.random.default_rng(0)
    data = folder / "data"
    for split, count in (("train", 8), ("val", 4)):
        for kind in ("images", "labels"):
            (data / kind / split).mkdir(parents=True)
        for i in range(count):
            image = np.full((160, 160, 3), 127, np.uint8)
            x, y = (int(v) for v in rng.integers(20, 100, 2))
            cv2.rectangle(image, (x, y), (x + 40, y + 40), (0, 0, 255), -1)
            cv2.imwrite(str(data / "images" / split / f"{i}.jpg"), image)
            line = f"{i % 2} {(x + 20) / 160} {(y + 20) / 160} 0.25 0.25\n"
            (data / "labels" / split / f"{i}.txt").write_text(line)
        lines = (f"./images/{split}/{i}.jpg\n" for i in range(count))
        (data / f"{split}.txt").write_text("".join(lines))
    described = {"path": str(data), "train": "train.txt", "val": "val.txt"}
    (data / "data.yaml").write_text(yaml.safe_dump({**described, "names": dict(enumerate(NAMES))}))
    settled = TrainingParameters(
        epochs=1, imgsz=160, batch=4, device="cpu", lr0=0.01, mosaic=0.0, **parameters
    )
    order = {"parameters": settled.model_dump(), "weights": str(start), "class_names": NAMES}
    (folder / "job.json").write_text(json.dumps(order))
    return Workspace(folder)


def trained(place: Workspace) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cloud.training.child", str(place.folder)],
        capture_output=True, text=True, check=False, env={**os.environ, **place.environment()},
    )  # fmt: skip


@pytest.mark.parametrize("half", [True, False], ids=["from-fp16", "from-fp32"])
def test_frozen_layers_are_the_same_bits_in_checkpoint_and_export(
    tmp_path: Path, half: bool
) -> None:
    import torch

    start = checkpoint(tmp_path / "start.pt", half=half)
    place = ordered(tmp_path, start, freeze=LAYERS)
    done = trained(place)
    assert done.returncode == 0, done.stderr[-3000:]

    before = torch.load(start, weights_only=False)["model"].state_dict()
    after = torch.load(place.weights, weights_only=False)["model"].state_dict()
    kept = [name for name in before if frozen.is_frozen(name, LAYERS)]
    assert all(frozen.same(before[name], after[name]) for name in kept)
    assert any(not frozen.same(before[n], after[n]) for n in before if n not in kept)
    said = place.result()["frozen"]
    assert (said["layers"], said["tensors_identical"]) == (LAYERS, len(kept))
    assert said["initializers_identical"] >= LAYERS
    assert len(said["backbone_sha256"]) == 64

    found = {artefact.name: artefact for artefact in artefacts.collect(place.run)}
    assert {"results.csv", "args.yaml", "confusion_matrix.png", "labels.jpg"} <= set(found)


def test_layers_of_other_shapes_cannot_stay_frozen(tmp_path: Path) -> None:
    start = checkpoint(tmp_path / "start.pt", ["one"])
    other = checkpoint(tmp_path / "other.pt", NAMES)
    before = other.read_bytes()
    with pytest.raises(frozen.FrozenError, match="cannot stay as they were"):
        frozen.restore(other, start, 24)
    assert other.read_bytes() == before


def test_moved_layers_are_put_back(tmp_path: Path) -> None:
    """Half-precision weights that a training made of fp32 ones, and a moved BatchNorm."""
    import torch

    start = checkpoint(tmp_path / "start.pt", half=False)
    moved = network(NAMES)
    moved.model[1].bn.running_mean += 0.5
    trained_to = save(tmp_path / "trained.pt", moved.half())
    said = frozen.restore(trained_to, start, 3)
    assert 0 < said["tensors_moved"] < said["tensors_identical"]
    after = torch.load(trained_to, weights_only=False)["model"].state_dict()
    before = torch.load(start, weights_only=False)["model"].state_dict()
    assert all(frozen.same(after[n], before[n]) for n in before if frozen.is_frozen(n, 3))
