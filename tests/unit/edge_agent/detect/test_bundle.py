from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edge_agent.detect.bundle import DETECTORS, load_bundle
from edge_agent.detect.detector import detect
from edge_agent.detect.options import LoadOptions
from edge_agent.detect.providers import PROVIDERS
from edge_agent.errors import BundleError, DetectorError
from protocol.builds import Format
from protocol.errors import DigestError
from tests.fixtures.artifacts import load
from tests.fixtures.models import box, confidence, model_bytes, write_bundle


def test_a_bundle_is_loaded_warm_and_answers_what_its_model_says(tmp_path: Path) -> None:
    name, manifest = write_bundle(tmp_path, variant=2)
    bundle = load_bundle(tmp_path, name, LoadOptions(threads=1))
    found = detect(bundle.detector, np.full((64, 64, 3), 102, dtype=np.uint8))
    assert (bundle.digest, bundle.manifest) == (name, manifest)
    assert found.confidences == pytest.approx([confidence(2, 102 / 255)], abs=1e-6)
    assert found.boxes[0] == pytest.approx(box(64))
    bundle.detector.close()
    with pytest.raises(DetectorError, match="closed"):
        detect(bundle.detector, np.zeros((64, 64, 3), np.uint8))


def test_another_manifest_than_the_named_one_is_refused(tmp_path: Path) -> None:
    name, _ = write_bundle(tmp_path)
    with pytest.raises(DigestError):
        load_bundle(
            tmp_path, name.replace(name[0], "0" if name[0] != "0" else "1"), LoadOptions(threads=1)
        )


def test_an_absent_or_broken_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle in"):
        load_bundle(tmp_path / "nowhere", "0" * 64, LoadOptions(threads=1))
    name, _ = write_bundle(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(DetectorError, match=r"model\.onnx does not load"):
        load_bundle(tmp_path, name, LoadOptions(threads=1))
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(DetectorError, match="no model at"):
        load_bundle(tmp_path, name, LoadOptions(threads=1))


def test_a_model_of_another_size_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    name, _ = write_bundle(tmp_path, model_data=model_bytes(1, 32))
    with pytest.raises(BundleError, match="export it again"):
        load_bundle(tmp_path, name, LoadOptions(threads=1))


def test_a_runtime_that_this_agent_does_not_know_is_refused(tmp_path: Path) -> None:
    name, _ = write_bundle(tmp_path, runtime="abacus")
    with pytest.raises(BundleError, match="abacus; this agent runs"):
        load_bundle(tmp_path, name, LoadOptions(threads=1))


def test_a_runtime_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    files = {"model.xml": b"", "model.bin": b""}
    with pytest.raises(DetectorError, match=r"openvino is not installed.*argosy\[edge-openvino\]"):
        load(tmp_path, files, format=Format.OPENVINO, runtime="openvino")


def test_a_format_that_the_runtime_does_not_load_is_refused(tmp_path: Path) -> None:
    files = {"model.xml": b"", "model.bin": b""}
    with pytest.raises(BundleError, match="is openvino for onnxruntime, which loads onnx"):
        load(tmp_path, files, format=Format.OPENVINO, runtime="onnxruntime")


def test_every_runtime_that_a_device_can_claim_has_a_detector() -> None:
    assert set(PROVIDERS) | {"openvino", "tensorrt"} == set(DETECTORS)
