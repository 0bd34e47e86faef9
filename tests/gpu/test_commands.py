"""The commands that a GPU worker starts, and the evaluation on each runtime of the GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent.detect.tensorrt.detector import ENGINE_PATH
from edge_agent.detect.tensorrt.probe import Gpu
from protocol.builds import Format, Precision
from protocol.bundles import GOLDEN_PATH, MANIFEST_PATH, MODEL_PATH, canonical
from tests.fixtures.artifacts import INPUT_SIZE, manifest_for
from tests.fixtures.models import flat_png
from tests.gpu.models import BOX, brightness_model

pytestmark = pytest.mark.gpu

AGENT = (sys.executable, "-m", "edge_agent")
LEVELS = (51, 102, 204)
TIMEOUT_S = 600


def agent(command: str, options: dict[str, Any]) -> None:
    arguments = [str(part) for pair in options.items() for part in pair]
    subprocess.run([*AGENT, command, *arguments], check=True, timeout=TIMEOUT_S)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_a_plan_is_built_and_run_over_images(
    tmp_path: Path, tensorrt: Gpu, precision: Precision
) -> None:
    element = "FLOAT" if precision is Precision.FP32 else "FLOAT16"
    (tmp_path / "model.onnx").write_bytes(brightness_model(element, batch=1))
    bundle, summary = tmp_path / "bundle", tmp_path / "plan.json"
    bundle.mkdir()
    agent("build-engine", {
        "--onnx": tmp_path / "model.onnx", "--out": bundle / ENGINE_PATH,
        "--precision": precision.value, "--file-precision": precision.value, "--batch": 1,
        "--timing-cache": tmp_path / "timings", "--summary": summary,
        "--progress": tmp_path / "progress.jsonl",
    })  # fmt: skip
    said = json.loads(summary.read_text())
    assert said["compute_capability"] == tensorrt.compute_capability
    assert said["tensorrt_version"] == tensorrt.tensorrt_version
    write_bundle(
        bundle,
        {ENGINE_PATH: (bundle / ENGINE_PATH).read_bytes()},
        format=Format.TENSORRT,
        runtime="tensorrt",
        precision=precision,
        runtime_precision=precision,
        compute_capability=said["compute_capability"],
        tensorrt_version=said["tensorrt_version"],
    )
    assert evaluated_on(tmp_path, bundle) == "tensorrt"


@pytest.mark.usefixtures("cuda_provider")
def test_an_onnx_file_is_run_over_images_on_the_gpu(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    write_bundle(bundle, {MODEL_PATH: brightness_model(batch=1)}, runtime="onnxruntime-cuda")
    assert evaluated_on(tmp_path, bundle) == "onnxruntime-cuda"


def write_bundle(folder: Path, files: dict[str, bytes], **manifest: Any) -> None:
    """Write what lies in a bundle; `manifest` is what `manifest_for` takes."""
    whole = {GOLDEN_PATH: b"{}", **files}
    whole[MANIFEST_PATH] = canonical(manifest_for(whole, **manifest))
    for path, data in whole.items():
        (folder / path).write_bytes(data)


def evaluated_on(folder: Path, bundle: Path) -> str:
    """Run the bundle over images of known brightness; the runtime's name that it tells."""
    images = [folder / f"{level}.png" for level in LEVELS]
    for level, image in zip(LEVELS, images, strict=True):
        image.write_bytes(flat_png(level, INPUT_SIZE))
    (folder / "images.txt").write_text("".join(f"{image}\n" for image in images))
    agent("evaluate", {
        "--bundle": bundle, "--images": folder / "images.txt", "--out": folder / "out.jsonl",
        "--summary": folder / "run.json", "--latency-frames": 2,
    })  # fmt: skip
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    for level, row in zip(LEVELS, rows, strict=True):
        (found,) = row["detections"]
        assert found["confidence"] == pytest.approx(level / 255, abs=2e-3)
        assert found["box"] == pytest.approx(BOX, abs=0.1)
    return str(json.loads((folder / "run.json").read_text())["runtime"]["name"])
