"""Assembly: what a bundle holds, and golden frames that tell builds apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cloud.blobs.store import BlobStore
from cloud.children import ChildFailed
from cloud.errors import NotFoundError
from cloud.registry import golden
from cloud.registry.bundles import Bundle, BundleSpec, Draft, begin, materialise, with_preprocessing
from cloud.shipped import ShippedResult
from protocol.builds import BuildIdentity, Format, Precision
from protocol.bundles import (
    DRIFT_PATH,
    GOLDEN_PATH,
    MANIFEST_PATH,
    Calibration,
    DriftReference,
    GoldenSet,
    Thresholds,
    digest,
    read_manifest,
)
from protocol.messages import DetectedBox
from protocol.windows import WindowStats
from tests.fixtures.shipped import agent, program

IDENTITY = BuildIdentity(
    format=Format.ONNX, precision=Precision.FP32, runtime="onnxruntime",
    runtime_precision=Precision.FP32, input_width=64, input_height=64, opset=18,
)  # fmt: skip
SPEC = BundleSpec("caps", 3, ("a", "b"), IDENTITY)
FOUND = {"class_id": 1, "confidence": 0.75, "box": [1, 2, 3, 4]}
# Answers each image with one box; reads the bundle first, as the agent does.
ANSWERS = "from protocol.bundles import read_manifest\n" + program(
    f'{{"width": 320, "height": 320, "detections": [{FOUND}] if read_manifest('
    'pathlib.Path(given["--bundle"], "manifest.json").read_bytes()) else []}'
)


def draft(folder: Path) -> Draft:
    (folder / "m.onnx").write_bytes(b"model")
    frames = golden.write_frames((), folder / "frames")
    return begin(folder / "bundle", {"model.onnx": folder / "m.onnx"}, frames)


def finished(folder: Path, spec: BundleSpec = SPEC) -> Bundle:
    return draft(folder).finish(spec, agent(ANSWERS), folder / "work")[0]


def test_a_bundle_is_named_by_its_manifest_and_holds_what_was_seen(tmp_path: Path) -> None:
    bundle = finished(tmp_path)
    data = (bundle.folder / MANIFEST_PATH).read_bytes()
    manifest = read_manifest(data, bundle.digest)
    assert manifest == bundle.manifest
    assert digest(manifest) == bundle.digest
    assert (manifest.model, manifest.version, manifest.build.opset) == ("caps", 3, 18)
    for file in manifest.files:
        assert (bundle.folder / file.path).stat().st_size == file.blob.size_bytes
    found = GoldenSet.model_validate_json((bundle.folder / GOLDEN_PATH).read_bytes())
    assert [f.image for f in found.frames] == [f"golden/00{n}.png" for n in range(4)]
    assert all(f.detections[0].box == (1, 2, 3, 4) for f in found.frames)


def test_everything_that_swaps_together_is_part_of_the_name(tmp_path: Path) -> None:
    drift = DriftReference(images=2, images_sha256="ab" * 32, stats=WindowStats())
    changes: list[dict[str, object]] = [
        {},
        {"thresholds": Thresholds(default=0.4)},
        {"calibration": Calibration(raw=(0, 1), calibrated=(0, 0.9))},
        {"drift": drift},
        {"class_names": ("a", "c")},
    ]
    names = set()
    for number, change in enumerate(changes):
        (folder := tmp_path / str(number)).mkdir()
        names.add(finished(folder, replace(SPEC, **change)).digest)  # type: ignore[arg-type]
    names.add(finished_with_scale(tmp_path).digest)
    assert len(names) == len(changes) + 1


def finished_with_scale(folder: Path) -> Bundle:
    return finished(folder, with_preprocessing(SPEC, scale=1.0))


def test_the_drift_reference_is_a_file_of_the_bundle(tmp_path: Path) -> None:
    drift = DriftReference(images=2, images_sha256="ab" * 32, stats=WindowStats())
    bundle = finished(tmp_path, replace(SPEC, drift=drift))
    data = (bundle.folder / DRIFT_PATH).read_bytes()
    assert DriftReference.model_validate_json(data) == drift
    assert bundle.manifest.file(DRIFT_PATH).size_bytes == len(data)


def test_a_registered_bundle_is_laid_out_again_from_the_store(tmp_path: Path) -> None:
    bundle, store = finished(tmp_path), BlobStore(tmp_path / "blobs", blob_bytes_max=10**6)
    for path in (MANIFEST_PATH, *(f.path for f in bundle.manifest.files)):
        store.put_file(bundle.folder / path)
    again = materialise(store, bundle.digest, tmp_path / "again")
    assert again.manifest == bundle.manifest
    assert (again.folder / "model.onnx").read_bytes() == b"model"
    store.path(bundle.manifest.file("model.onnx").sha256).unlink()
    with pytest.raises(NotFoundError):
        materialise(store, bundle.digest, tmp_path / "third")


def test_released_images_become_golden_frames_of_bounded_size(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 1000), "red").save(tmp_path / "a.png")
    (path,) = golden.write_frames([tmp_path / "a.png"], tmp_path / "golden")
    with Image.open(path) as frame:
        assert frame.size == (640, 320)


def test_patterns_are_the_same_each_time_and_differ_from_each_other() -> None:
    assert golden.pattern(1).tobytes() == golden.pattern(1).tobytes()
    assert golden.pattern(1).tobytes() != golden.pattern(2).tobytes()


@pytest.mark.parametrize(
    ("confidences", "floor", "kept"),
    [((0.9, 0.8, 0.7, 0.3, 0.2), 0.25, 4), ((0.9, 0.12, 0.11, 0.1), 0.1, 4), ((0.002,), 0.01, 0)],
)
def test_the_floor_goes_down_until_there_is_enough_to_compare(
    confidences: tuple[float, ...], floor: float, kept: int
) -> None:
    seen = tuple(DetectedBox(class_id=0, confidence=c, box=(0, 0, 9, 9)) for c in confidences)
    result = ShippedResult(image="x", width=10, height=10, latency_ms=1, detections=seen)
    made = golden.expected(["golden/000.png"], [result])
    assert made.confidence_floor == floor
    assert len(made.frames[0].detections) == kept


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import sys; sys.exit('no runtime here')", "no runtime here"),
        ("pass", "cannot be read"),
        (
            ANSWERS.replace("enumerate(images)", "enumerate(images[1:])"),
            "answered 3 images, not the 4",
        ),
    ],
)
def test_an_agent_that_fails_fails_the_assembly(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ChildFailed, match=words):
        draft(tmp_path).finish(SPEC, agent(text), tmp_path / "work")
