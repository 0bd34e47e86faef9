"""Artifacts that are odd, broken or hostile: refused by name and remedy, or answered rightly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.detect.detector import Detections, detect
from edge_agent.errors import BundleError, DetectorError
from tests.conftest import lacking
from tests.fixtures.artifacts import OddModel, load, rows

FRAME = np.full((64, 64, 3), 114, np.uint8)
SEEN = (8.0, 8.0, 40.0, 40.0, 0.75, 1.0)
BOXES = [list(SEEN[:4])]
IMAGE = (1, 3, 64, 64)


@pytest.fixture(autouse=True)
def onnxruntime() -> Any:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        lacking(str(error))


def takes(shape: tuple[int | str, ...], kind: str = "FLOAT", name: str = "images") -> OddModel:
    return OddModel(inputs={name: (shape, kind)}, answers={"output0": rows(SEEN)})


def answers(answer: Any, **metadata: str) -> OddModel:
    return OddModel(answers={"output0": answer}, metadata=metadata)


def names(*found: str) -> str:
    return repr(dict(enumerate(found)))


def raw(*anchors: tuple[float, ...], classes: int = 2, count: int = 84) -> Any:
    answer = np.zeros((1, 4 + classes, count), np.float32)
    for index, anchor in enumerate(anchors):
        answer[0, : len(anchor), index] = anchor
    return answer


@dataclass(frozen=True)
class Good:
    """A model that is answered; `manifest` as `load` takes it."""

    model: OddModel
    boxes: Any = field(default_factory=lambda: BOXES)
    manifest: dict[str, Any] = field(default_factory=dict)


GOOD: dict[str, Good] = {
    "another name of the input": Good(takes(IMAGE, name="data:0")),
    "no metadata at all": Good(answers(rows(SEEN))),
    "names as a list": Good(answers(rows(SEEN), names="['scratch', 'dent']")),
    "an open batch": Good(takes(("batch", 3, 64, 64))),
    "all sides open": Good(takes(("batch", 3, "height", "width"))),
    "a side without a name": Good(takes((1, 3, "", ""))),
    "half precision in": Good(takes(IMAGE, "FLOAT16")),
    "half precision in and out": Good(
        OddModel({"images": (IMAGE, "FLOAT16")}, {"output0": rows(SEEN, dtype=np.float16)})
    ),
    "zero rows": Good(answers(np.zeros((1, 0, 6), np.float32)), []),
    "nothing above the floor": Good(answers(rows((*SEEN[:4], 0.01, 1))), []),
    "a box far outside the frame": Good(
        answers(rows((-3e38, -3e38, 3e38, 3e38, 0.9, 0))), [[0, 0, 64, 64]]
    ),
    "a box of negative size": Good(answers(rows((40, 40, 8, 8, 0.9, 0), SEEN))),
    "several outputs": Good(
        OddModel(answers={"protos": np.zeros((1, 32, 16, 16), np.float32), "out": rows(SEEN)})
    ),
    "a raw head": Good(answers(raw((24, 24, 32, 32, 0.1, 0.75))), manifest={"head": "raw"}),
    "a raw head with a huge box": Good(
        answers(raw((3e38, 0, 3e38, 3e38, 0.1, 0.75))), [[64, 0, 64, 64]], {"head": "raw"}
    ),
    "a raw head without anchors": Good(answers(raw(count=0)), [], {"head": "raw"}),
    "an output that no one reads is NaN": Good(
        OddModel(answers={"out": rows(SEEN), "aux": np.full((1, 2), np.nan, np.float32)})
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_an_odd_model_is_answered_rightly(case: str, tmp_path: Path) -> None:
    good = GOOD[case]
    with np.errstate(all="raise"):
        found = _answer(tmp_path, good.model.to_bytes(), **good.manifest)
    assert found.boxes.tolist() == good.boxes
    assert found.confidences.dtype == np.float32


def test_a_model_of_a_fixed_batch_takes_as_many_frames_and_fewer(tmp_path: Path) -> None:
    answer = np.concatenate([rows((8, 8, 40, 40, 0.5 + i / 10, 0)) for i in range(4)])
    model = OddModel({"images": ((4, 3, 64, 64), "FLOAT")}, {"output0": answer})
    detector = load(tmp_path, {"model.onnx": model.to_bytes()})
    assert detector.batch_max == 4
    for count in (1, 3, 4):
        seen = detector.infer(detector.prepare([FRAME] * count))
        assert [round(float(d.confidences[0]), 3) for d in seen] == [0.5, 0.6, 0.7, 0.8][:count]


BAD: dict[str, tuple[OddModel, type[Exception], str]] = {
    "int8 input": (takes(IMAGE, "INT8"), DetectorError, "int8.*export it with an input of float"),
    "uint8 input": (takes(IMAGE, "UINT8"), DetectorError, "uint8"),
    "one channel": (takes((1, 1, 64, 64)), DetectorError, r"\(batch, 3, height, width\)"),
    "channels last": (takes((1, 64, 64, 3)), DetectorError, r"takes \(1, 64, 64, 3\)"),
    "an input of rank 2": (takes((1, 12288)), DetectorError, r"takes \(1, 12288\)"),
    "another size": (takes((1, 3, 32, 32)), BundleError, r"\(64, 64\).*\(32, 32\).*export"),
    "a batch of gigabytes": (takes((65536, 3, 64, 64)), DetectorError, "smaller batch"),
    "a batch beyond all memory": (takes((2**60, 3, 64, 64)), DetectorError, "smaller batch"),
    "two inputs": (
        OddModel({"images": (IMAGE, "FLOAT"), "mask": (IMAGE, "FLOAT")}),
        DetectorError,
        r"2 inputs \(images, mask\)",
    ),
    "NaN": (answers(rows((*SEEN[:4], np.nan, 1))), DetectorError, "NaN"),
    "infinity": (answers(rows((np.inf, 8, 40, 40, 0.7, 1))), DetectorError, "infinity"),
    "a class beyond the names": (answers(rows((*SEEN[:5], 2))), DetectorError, "names 2"),
    "a huge class": (answers(rows((*SEEN[:5], 3e38))), DetectorError, "names 2"),
    "a negative class": (answers(rows((*SEEN[:5], -1))), DetectorError, "classes -1"),
    "scores that are none": (answers(rows((*SEEN[:4], 7.5, 0))), DetectorError, "7.5"),
    "a classifier": (answers(np.zeros((1, 1000), np.float32)), DetectorError, "no detector's"),
    "an output of rank 4": (answers(np.zeros((1, 2, 3, 6), np.float32)), DetectorError, "1, 2, 3"),
    "integers out": (answers(np.zeros((1, 300, 6), np.int64)), DetectorError, "no detector's"),
    "the task segment": (
        answers(rows(SEEN), task="segment"),
        DetectorError,
        "'segment'.*export a detector",
    ),
    "the shape of segmentation": (
        OddModel(
            answers={
                "output0": np.zeros((1, 38, 84), np.float32),
                "output1": np.zeros((1, 32, 16, 16), np.float32),
            }
        ),
        DetectorError,
        "no detector's output for 2 classes",
    ),
    "the other head": (answers(raw()), BundleError, "says the head end2end.*has raw"),
    "other names": (
        answers(rows(SEEN), names=names("scratch", "crack")),
        BundleError,
        "names class 1 'crack', the manifest 'dent'",
    ),
    "more names": (
        answers(rows(SEEN), names=names("scratch", "dent", "hole")),
        BundleError,
        "names 3 classes, the manifest 2",
    ),
    "names that are code": (answers(rows(SEEN), names="__import__('os')"), DetectorError, "no lit"),
    "names that nest": (answers(rows(SEEN), names="[" * 100_000), DetectorError, "no literal"),
    "names without end": (answers(rows(SEEN), names="9" * 2_000_000), DetectorError, "over"),
    "names with a gap": (answers(rows(SEEN), names="{0: 'a', 2: 'b'}"), DetectorError, "no list"),
    "a stride of 33": (answers(rows(SEEN), stride="33"), BundleError, "stride 33"),
    "a stride of words": (answers(rows(SEEN), stride="'wide'"), DetectorError, "stride 'wide'"),
    "an opset of the future": (OddModel(opset=999), DetectorError, "does not load"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_model_is_refused_by_name(case: str, tmp_path: Path) -> None:
    model, kind, what = BAD[case]
    with pytest.raises(kind, match=what) as refusal:
        _answer(tmp_path, model.to_bytes())
    assert "model.onnx" in str(refusal.value)


def _external() -> bytes:
    """A model whose weights lie in a file that is not in the bundle."""
    onnx: Any = pytest.importorskip("onnx")
    model = onnx.load_from_string(answers(rows(SEEN)).to_bytes())
    answer = next(t for t in model.graph.initializer if t.name == "output0.answer")
    onnx.external_data_helper.set_external_data(answer, "../../elsewhere.bin")
    answer.ClearField("raw_data")
    answer.data_location = onnx.TensorProto.EXTERNAL
    return bytes(model.SerializeToString())


FILES: dict[str, Callable[[], bytes]] = {
    "an empty file": lambda: b"",
    "a text file": lambda: b"not a model\n" * 1000,
    "zeros": lambda: bytes(4096),
    "a truncated model": lambda: answers(rows(SEEN)).to_bytes()[:-700],
    "half a model": lambda: answers(rows(SEEN)).to_bytes()[:200],
    "an engine": lambda: b"ptrt" + bytes(range(256)) * 8,
    "weights in another file": _external,
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_model_is_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"model\.onnx does not load"):
        _answer(tmp_path, FILES[case]())


def _answer(folder: Path, model: bytes, **manifest: Any) -> Detections:
    detector = load(folder, {"model.onnx": model}, **manifest)
    try:
        return detect(detector, FRAME)
    finally:
        detector.close()
