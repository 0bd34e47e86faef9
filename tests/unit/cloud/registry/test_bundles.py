"""Assembly: what a bundle holds, and golden frames that tell builds apart."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from cloud.children import ChildFailed
from cloud.registry import golden
from cloud.registry.bundles import BundleSpec, assemble
from cloud.shipped import ShippedResult, ShippedRunner
from protocol.bundles import GOLDEN_PATH, MANIFEST_PATH, GoldenSet, digest, read_manifest
from protocol.messages import DetectedBox

# Answers each image with one box; reads the bundle first, as the agent does.
AGENT = """
import json, pathlib, sys
from protocol.bundles import read_manifest
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
read_manifest(pathlib.Path(given["--bundle"], "manifest.json").read_bytes())
with open(given["--out"], "w") as out:
    for image in pathlib.Path(given["--images"]).read_text().split():
        found = {"class_id": 1, "confidence": 0.75, "box": [1, 2, 3, 4]}
        row = {"image": image, "width": 320, "height": 320, "latency_ms": 1.5}
        print(json.dumps({**row, "detections": [found]}), file=out)
"""
SPEC = BundleSpec(model="caps", version=3, class_names=("a", "b"), side_px=64, opset=18)


def agent(text: str = AGENT) -> ShippedRunner:
    return ShippedRunner((sys.executable, "-c", text))


def test_a_bundle_is_named_by_its_manifest_and_holds_what_was_seen(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"model")
    bundle = assemble(SPEC, tmp_path / "m.onnx", tmp_path / "bundle", agent())
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
        (AGENT.replace(".split()", ".split()[1:]"), "answered 3 images, not the 4"),
    ],
)
def test_an_agent_that_fails_fails_the_assembly(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.onnx").write_bytes(b"model")
    with pytest.raises(ChildFailed, match=words):
        assemble(SPEC, tmp_path / "m.onnx", tmp_path / "bundle", agent(text))
