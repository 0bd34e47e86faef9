from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from protocol.builds import BuildIdentity, Capabilities, Format, Precision, match
from protocol.bundles import (
    MANIFEST_BYTES_MAX,
    MODEL_PATH,
    canonical,
    digest,
    read_manifest,
)
from protocol.chunks import sha256_hex
from protocol.errors import DigestError, ManifestError, ProtocolError
from tests.unit.protocol.examples import CAPABILITIES, IDENTITY, MANIFEST


def test_a_manifest_reads_back_under_its_own_name() -> None:
    assert read_manifest(canonical(MANIFEST), digest(MANIFEST)) == MANIFEST


def test_canonical_bytes_do_not_depend_on_the_order_of_keys() -> None:
    fields = json.loads(canonical(MANIFEST))
    shuffled = json.dumps(dict(reversed(list(fields.items()))), indent=2).encode()
    assert canonical(read_manifest(shuffled)) == canonical(MANIFEST)


def test_a_manifest_of_before_the_cpu_flags_keeps_its_name_when_it_is_written_again() -> None:
    fields = json.loads(canonical(MANIFEST))
    assert not {"cpu_flags_any", "cpu_flags_none"} & set(fields["build"])
    old = rfc8785.dumps(fields)
    read = read_manifest(old, sha256_hex(old))
    assert canonical(read) == old
    assert digest(read) == sha256_hex(old)


@pytest.mark.parametrize("flags", [[], ["avx_vnni"]])
def test_cpu_flags_that_a_manifest_names_stay_in_it(flags: list[str]) -> None:
    fields = json.loads(canonical(MANIFEST))
    fields["build"] |= {"cpu_flags_any": flags, "cpu_flags_none": flags}
    data = rfc8785.dumps(fields)
    assert canonical(read_manifest(data, sha256_hex(data))) == data


def test_anything_changed_changes_the_name() -> None:
    other = MANIFEST.model_copy(update={"version": 4})
    assert digest(other) != digest(MANIFEST)
    with pytest.raises(DigestError):
        read_manifest(canonical(other), digest(MANIFEST))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_only_the_packages_own_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_manifest(data)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format_version": 2}, "bundle format 2 is unknown"),
        ({"files": []}, "at least 1"),
        ({"class_names": []}, "at least 1"),
        ({"head": "other"}, "end2end"),
        ({"calibration": {"raw": [0, 1], "calibrated": [0]}}, "at least 2"),
        ({"calibration": {"raw": [0, 1], "calibrated": [0, 0.5, 1]}}, "as many"),
        ({"calibration": {"raw": [0, 0], "calibrated": [0, 1]}}, "rise"),
        ({"calibration": {"raw": [0, 1], "calibrated": [1, 0]}}, "never fall"),
        ({"calibration": {"raw": [0, 2], "calibrated": [0, 1]}}, "less than or equal to 1"),
        ({"postprocessing": {"deduplicate_iou": 0}}, "greater than 0"),
    ],
)
def test_a_manifest_that_is_none_is_refused(change: dict[str, object], complaint: str) -> None:
    fields = json.loads(canonical(MANIFEST)) | change
    with pytest.raises(ManifestError, match=complaint):
        read_manifest(json.dumps(fields).encode())


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../b", "a//b", ".hidden", "a\\b"])
def test_paths_stay_inside_the_bundle(path: str) -> None:
    fields = json.loads(canonical(MANIFEST))
    fields["files"][0]["path"] = path
    with pytest.raises(ManifestError):
        read_manifest(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "path", ["manifest.json", "Manifest.JSON", "manifest.json/x", "MODEL.onnx", "golden.json/a/b"]
)
def test_each_file_has_a_place_of_its_own(path: str) -> None:
    fields = json.loads(canonical(MANIFEST))
    fields["files"].append({"path": path, "blob": fields["files"][0]["blob"]})
    with pytest.raises(ManifestError, match=r"same path|below a file"):
        read_manifest(json.dumps(fields).encode())


def test_files_may_share_a_folder_and_the_start_of_a_name() -> None:
    fields = json.loads(canonical(MANIFEST))
    for path in ("golden/a.png", "golden/b.png", "golden.json.txt", "golden/manifest.json"):
        fields["files"].append({"path": path, "blob": fields["files"][0]["blob"]})
    assert len(read_manifest(json.dumps(fields).encode()).files) == 6


def test_the_model_and_the_golden_frames_must_be_there_once() -> None:
    fields = json.loads(canonical(MANIFEST))
    fields["files"][1]["path"] = MODEL_PATH
    with pytest.raises(ManifestError, match="same path"):
        read_manifest(json.dumps(fields).encode())
    fields["files"][1]["path"] = "other.bin"
    with pytest.raises(ManifestError, match="lacks golden"):
        read_manifest(json.dumps(fields).encode())


def test_each_format_has_its_own_weights() -> None:
    fields = json.loads(canonical(MANIFEST))
    fields["build"]["format"] = "openvino"
    with pytest.raises(ManifestError, match=r"lacks model\.xml"):
        read_manifest(json.dumps(fields).encode())
    blob = fields["files"][0]["blob"]
    fields["files"] += [{"path": p, "blob": blob} for p in ("model.xml", "model.bin")]
    assert read_manifest(json.dumps(fields).encode()).build.format is Format.OPENVINO


def test_a_manifest_beyond_the_bound_is_refused_before_parsing() -> None:
    with pytest.raises(ManifestError, match="is over"):
        read_manifest(b" " * (MANIFEST_BYTES_MAX + 1))


def test_a_class_has_its_own_threshold_or_the_default() -> None:
    assert (MANIFEST.thresholds.of(0), MANIFEST.thresholds.of(1)) == (0.25, 0.4)


def test_a_file_is_found_by_its_path() -> None:
    assert MANIFEST.file(MODEL_PATH).size_bytes == len(b"model bytes")
    with pytest.raises(ManifestError, match="no file x"):
        MANIFEST.file("x")


def _engine(**changes: object) -> BuildIdentity:
    target = {
        "format": Format.TENSORRT,
        "runtime": "tensorrt",
        "compute_capability": "8.7",
        "tensorrt_version": "10.3",
    }
    return BuildIdentity.model_validate(IDENTITY.model_dump() | target | changes)


def _jetson() -> Capabilities:
    runtime = CAPABILITIES.runtimes[0].model_dump() | {
        "runtime": "tensorrt",
        "formats": [Format.TENSORRT],
        "opset_max": None,
    }
    fields = CAPABILITIES.model_dump() | {
        "runtimes": [runtime],
        "compute_capability": "8.7",
        "tensorrt_version": "10.3",
    }
    return Capabilities.model_validate(fields)


@pytest.mark.parametrize(
    ("build", "device", "complaint"),
    [
        (IDENTITY, CAPABILITIES, None),
        (_engine(), _jetson(), None),
        (IDENTITY, _jetson(), "needs the runtime onnxruntime"),
        (_engine(compute_capability="9.0"), _jetson(), "compute capability 9.0"),
        (_engine(tensorrt_version="11.0"), _jetson(), "TensorRT 11.0"),
        (IDENTITY.model_copy(update={"opset": 24}), CAPABILITIES, "opset 24"),
        (
            IDENTITY.model_copy(update={"runtime_precision": Precision.BF16}),
            CAPABILITIES,
            "does not compute in bf16",
        ),
        (
            IDENTITY.model_copy(update={"format": Format.OPENVINO}),
            CAPABILITIES,
            "does not load openvino",
        ),
    ],
)
def test_a_build_fits_a_device_or_the_reason_is_said(
    build: BuildIdentity, device: Capabilities, complaint: str | None
) -> None:
    fit = match(build, device)
    assert fit.fits is (complaint is None)
    assert complaint is None or complaint in " ".join(fit.reasons)
