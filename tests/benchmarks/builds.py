"""The real model as bundles for each CPU runtime, and how well each sees the photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloud.evaluation.coco import ScoredBox, ScoredImage, score
from edge_agent.cameras.images import read_image
from edge_agent.detect.bundle import load_bundle
from edge_agent.detect.detector import Detections, detect
from edge_agent.detect.options import LoadOptions
from protocol.builds import BuildIdentity, Format, Precision
from protocol.bundles import (
    GOLDEN_PATH,
    MANIFEST_PATH,
    MODEL_PATH,
    BundleFile,
    Manifest,
    Preprocessing,
    Thresholds,
    canonical,
    digest,
)
from protocol.chunks import describe
from tests.benchmarks.harness import shared_data

MODEL = "yolo26n"
SIZE = 640
SCORING_FLOOR = 0.001


@dataclass(frozen=True)
class Build:
    """A bundle on the disk: how it computes, where it lies."""

    name: str
    folder: Path
    digest: str


def weights() -> Path:
    """The model as an ONNX file."""
    return shared_data() / "weights" / "yolo26n-reconstructed-e2e-640.onnx"


def class_names() -> tuple[str, ...]:
    """The names of the model's classes, in the order of their ids."""
    import yaml

    names = yaml.safe_load((shared_data() / "coco128" / "data.yaml").read_text())["names"]
    return tuple(str(names[number]) for number in range(len(names)))


def onnx_fp32(folder: Path) -> Build:
    """The file as it is, for ONNX Runtime."""
    files = {MODEL_PATH: weights().read_bytes()}
    return _write("onnxruntime-fp32", folder, "onnxruntime", Format.ONNX, Precision.FP32, files)


def openvino_fp32(folder: Path) -> Build:
    """Converted, computed in f32."""
    return _openvino("openvino-fp32", folder, Precision.FP32)


def openvino_bf16(folder: Path) -> Build:
    """Converted, computed in bf16. Raises DetectorError when loaded on a CPU without it."""
    return _openvino("openvino-bf16", folder, Precision.BF16)


CANDIDATES: dict[str, Callable[[Path], Build]] = {
    "onnxruntime-fp32": onnx_fp32,
    "openvino-fp32": openvino_fp32,
    "openvino-bf16": openvino_bf16,
}


def map50_95(build: Build, threads: int) -> float:
    """Of a build over the labelled photographs. Raises DetectorError where it does not run."""
    bundle = load_bundle(build.folder, build.digest, LoadOptions(threads, SCORING_FLOOR))
    try:
        images = [
            _scored(path, detect(bundle.detector, read_image(path))) for path in _photographs()
        ]
    finally:
        bundle.detector.close()
    found = score(images).map50_95
    if found is None:
        raise RuntimeError("the photographs have no labels")
    return found


def _photographs() -> list[Path]:
    return sorted((shared_data() / "coco128" / "images" / "val").glob("*.jpg"))


def _scored(path: Path, found: Detections) -> ScoredImage:
    height, width = read_image(path).shape[:2]
    rows = zip(found.class_ids, found.boxes, found.confidences, strict=True)
    predictions = tuple(
        ScoredBox(int(class_id), (float(a), float(b), float(c), float(d)), float(confidence))
        for class_id, (a, b, c, d), confidence in rows
    )
    labels = shared_data() / "coco128" / "labels" / "val" / f"{path.stem}.txt"
    lines = labels.read_text().splitlines() if labels.exists() else []
    return ScoredImage(tuple(_label(line, width, height) for line in lines), predictions)


def _label(line: str, width: int, height: int) -> ScoredBox:
    class_id, *shares = line.split()
    x, y, w, h = map(float, shares)
    return ScoredBox(
        int(class_id),
        ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height),
    )


def _openvino(name: str, folder: Path, precision: Precision) -> Build:
    import openvino

    converted = folder / "converted"
    converted.mkdir(parents=True)
    openvino.save_model(
        openvino.convert_model(str(weights())), str(converted / "model.xml"), compress_to_fp16=False
    )
    files = {path.name: path.read_bytes() for path in converted.iterdir()}
    return _write(name, folder, "openvino", Format.OPENVINO, precision, files)


def _write(
    name: str,
    folder: Path,
    runtime: str,
    form: Format,
    runtime_precision: Precision,
    files: dict[str, bytes],
) -> Build:
    """A bundle of `files`; its golden set is empty, for nothing is rolled out here."""
    build = BuildIdentity(
        format=form,
        precision=Precision.FP32,
        runtime=runtime,
        runtime_precision=runtime_precision,
        input_width=SIZE,
        input_height=SIZE,
    )
    contents = {**files, GOLDEN_PATH: b"{}"}
    manifest = Manifest(
        model=MODEL,
        version=1,
        build=build,
        head="end2end",
        class_names=class_names(),
        thresholds=Thresholds(default=0.25),
        preprocessing=Preprocessing(),
        files=tuple(BundleFile(path=p, blob=describe(d)) for p, d in sorted(contents.items())),
    )
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in {**contents, MANIFEST_PATH: canonical(manifest)}.items():
        (folder / path).write_bytes(data)
    return Build(name, folder, digest(manifest))
