"""OpenVINO computes in the precision that was asked for or not at all; what is broken is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.detect.detector import Detector, detect
from edge_agent.detect.openvino import HINTS, properties
from edge_agent.detect.options import LoadOptions
from edge_agent.detect.runtimes import openvino_precisions
from edge_agent.errors import BundleError, DetectorError
from edge_agent.observe.hardware import capabilities
from protocol.builds import Format, Precision
from tests.fixtures.artifacts import OddModel, load, rows

openvino: Any = pytest.importorskip("openvino", reason="openvino is an extra")
pytest.importorskip("onnx", reason="the package onnx is not installed")

FRAME = np.full((64, 64, 3), 114, np.uint8)
SEEN = (8.0, 8.0, 40.0, 40.0, 0.75, 1.0)
Files = dict[str, bytes]


@pytest.fixture
def convert(tmp_path: Path) -> Callable[[OddModel], Files]:
    """From an ONNX model to the two files of an OpenVINO network."""

    def converted(model: OddModel) -> Files:
        source = tmp_path / "source.onnx"
        source.write_bytes(model.to_bytes())
        openvino.save_model(
            openvino.Core().read_model(str(source)),
            str(tmp_path / "to.xml"),
            compress_to_fp16=False,
        )
        return {
            "model.xml": (tmp_path / "to.xml").read_bytes(),
            "model.bin": (tmp_path / "to.bin").read_bytes(),
        }

    return converted


def open_files(folder: Path, files: Files, **manifest: Any) -> Detector:
    build = {"format": Format.OPENVINO, "runtime": "openvino", **manifest}
    return load(folder / "bundle", files, **build)


def seeing(**model: Any) -> OddModel:
    return OddModel(answers={"output0": rows(SEEN)}, **model)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((1, 3, 64, 64), "FLOAT"),
        ((1, 3, 64, 64), "FLOAT16"),
        (("batch", 3, 64, 64), "FLOAT"),
        (("batch", 3, "height", "width"), "FLOAT"),
    ],
)
def test_networks_of_all_shapes_are_answered(
    shape: tuple[int | str, ...], kind: str, tmp_path: Path, convert: Callable[[OddModel], Files]
) -> None:
    detector = open_files(tmp_path, convert(seeing(inputs={"x.1": (shape, kind)})))
    found = detect(detector, FRAME)
    assert found.boxes.tolist() == [list(SEEN[:4])]
    assert found.confidences.tolist() == [0.75]
    detector.close()
    with pytest.raises(DetectorError, match="closed"):
        detect(detector, FRAME)


def test_an_open_batch_takes_any_number_up_to_the_builds(
    tmp_path: Path, convert: Callable[[OddModel], Files]
) -> None:
    model = seeing(inputs={"images": (("batch", 3, 64, 64), "FLOAT")})
    answer = np.concatenate([rows((8, 8, 40, 40, 0.5 + i / 10, 0)) for i in range(3)])
    model = OddModel(model.inputs, {"output0": answer})
    detector = open_files(tmp_path, convert(model), batch=3)
    assert detector.batch_max == 3
    for count in (3, 1, 2):
        seen = detector.infer(detector.prepare([FRAME] * count))
        assert [float(d.confidences[0]) for d in seen] == pytest.approx([0.5, 0.6, 0.7][:count])


def test_an_answer_outlives_the_next_one(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "weights" / "yolo26n-reconstructed-e2e-640.onnx"
    openvino.save_model(
        openvino.convert_model(str(source)), str(tmp_path / "to.xml"), compress_to_fp16=False
    )
    files = {f"model.{end}": (tmp_path / f"to.{end}").read_bytes() for end in ("xml", "bin")}
    names = [f"class {i}" for i in range(80)]
    detector = open_files(
        tmp_path, files, class_names=names, input_width=640, input_height=640, floor=0.0
    )
    noise = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    first = detect(detector, noise)
    kept = [part.copy() for part in (first.boxes, first.confidences, first.margins)]
    detect(detector, np.zeros_like(noise))
    for part, copy in zip((first.boxes, first.confidences, first.margins), kept, strict=True):
        assert (part == copy).all()
    detector.close()


def test_the_precision_is_always_pinned() -> None:
    for precision in Precision:
        pinned = properties(precision, LoadOptions(threads=3, streams=2), Path("compiled"))
        assert pinned["INFERENCE_PRECISION_HINT"] == HINTS[precision]
        assert (pinned["NUM_STREAMS"], pinned["INFERENCE_NUM_THREADS"]) == (2, 3)
        assert pinned["CACHE_DIR"] == "compiled"
    bare = properties(Precision.FP32, LoadOptions(), None)
    assert not {"INFERENCE_NUM_THREADS", "CACHE_DIR"} & bare.keys()


def test_what_was_compiled_is_kept_and_never_trusted(
    tmp_path: Path, convert: Callable[[OddModel], Files]
) -> None:
    files, cache = convert(seeing()), tmp_path / "compiled"
    for damage in (b"", b"garbage" * 99):
        detector = open_files(tmp_path, files, cache=cache)
        assert detect(detector, FRAME).confidences.tolist() == [0.75]
        detector.close()
        (blob,) = cache.glob("*/*.blob")
        blob.write_bytes(damage)


def test_other_weights_of_the_same_network_are_another_model(
    tmp_path: Path, convert: Callable[[OddModel], Files]
) -> None:
    first = convert(seeing())
    before, after = (np.float32(value).tobytes() for value in (0.75, 0.5))
    assert first["model.bin"].count(before) == 1
    second = {**first, "model.bin": first["model.bin"].replace(before, after)}
    for files, confidence in ((first, 0.75), (second, 0.5), (first, 0.75)):
        detector = open_files(tmp_path, files, cache=tmp_path / "compiled")
        assert detect(detector, FRAME).confidences.tolist() == [confidence]
        detector.close()


def test_a_cache_that_cannot_be_made_is_named(
    tmp_path: Path, convert: Callable[[OddModel], Files]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"no folder for compiled models.*permissions"):
        open_files(tmp_path, convert(seeing()), cache=tmp_path / "file")


@pytest.mark.parametrize("precision", [p for p in Precision if p is not Precision.INT8])
def test_a_precision_that_this_cpu_lacks_is_refused(
    precision: Precision, tmp_path: Path, convert: Callable[[OddModel], Files]
) -> None:
    files = convert(seeing())
    if precision in openvino_precisions(capabilities().cpu_flags):
        open_files(tmp_path, files, runtime_precision=precision).close()
    else:
        with pytest.raises(DetectorError, match=f"not in {HINTS[precision]}; send"):
            open_files(tmp_path, files, runtime_precision=precision)


def _bomb(_files: Files) -> Files:
    entities = "".join(
        f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">' for i in range(9)
    )
    xml = (
        f'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "aaaaaaaaaa">{entities}]>'
        '<net name="&j;" version="11"><layers>&j;</layers></net>'
    )
    return {"model.xml": xml.encode(), "model.bin": b""}


BROKEN: dict[str, tuple[Callable[[Files], Files], str]] = {
    "no weights": (lambda f: {"model.xml": f["model.xml"]}, "no model at .*model.bin; fetch"),
    "no network": (lambda f: {"model.bin": f["model.bin"]}, "no model at .*model.xml; fetch"),
    "weights too short": (lambda f: {**f, "model.bin": f["model.bin"][:99]}, "does not load"),
    "empty weights": (lambda f: {**f, "model.bin": b""}, "does not load"),
    "half a network": (lambda f: {**f, "model.xml": f["model.xml"][:1700]}, "does not load"),
    "a text file": (lambda f: {**f, "model.xml": b"not a network"}, "does not load"),
    "an empty network": (lambda f: {**f, "model.xml": b""}, "does not load"),
    "a network that nests": (lambda f: {**f, "model.xml": b"<net>" * 99_999}, "does not load"),
    "entities that multiply": (_bomb, r"takes 0 inputs|does not load"),
    "metadata that is no YAML": (lambda f: {**f, "metadata.yaml": b"a: [b"}, "no YAML"),
    "metadata that is a list": (lambda f: {**f, "metadata.yaml": b"- a"}, "no mapping"),
    "metadata of megabytes": (lambda f: {**f, "metadata.yaml": b"#" * 2_000_000}, "over"),
    "a task of another kind": (lambda f: {**f, "metadata.yaml": b"task: pose"}, "task 'pose'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_network_is_refused(
    case: str, tmp_path: Path, convert: Callable[[OddModel], Files]
) -> None:
    change, what = BROKEN[case]
    with pytest.raises(DetectorError, match=what):
        open_files(tmp_path, change(convert(seeing())))


def test_a_network_over_the_limit_is_not_read(
    tmp_path: Path, convert: Callable[[OddModel], Files], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.detect.openvino.XML_BYTES_MAX", 100)
    with pytest.raises(DetectorError, match="over 100 bytes"):
        open_files(tmp_path, convert(seeing()))


def test_names_of_the_labels_and_of_the_yaml_are_held_against_the_manifest(
    tmp_path: Path, convert: Callable[[OddModel], Files]
) -> None:
    files = convert(seeing())
    labels = b'<rt_info><model_info><labels value="scratch wide_dent" /></model_info>'
    labelled = {**files, "model.xml": files["model.xml"].replace(b"<rt_info>", labels)}
    assert labelled["model.xml"] != files["model.xml"]
    open_files(tmp_path, labelled, class_names=("scratch", "wide dent")).close()
    with pytest.raises(BundleError, match="class 1 'wide_dent', the manifest 'dent'"):
        open_files(tmp_path, labelled)
    told = {**labelled, "metadata.yaml": b"task: detect\nstride: 32\nnames: {0: scratch, 1: hole}"}
    with pytest.raises(BundleError, match="class 1 'hole', the manifest 'dent'"):
        open_files(tmp_path, told)
