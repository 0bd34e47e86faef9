"""Outside ONNX files: which are taken, and why the others are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cloud.building import importing
from cloud.building.refusal import ELSEWHERE
from cloud.children import ChildFailed
from cloud.errors import InvalidError
from tests.integration.importing.test_checkpoints import opened

pytestmark = pytest.mark.integration

SIDE_PX = 64
PLACES = (SIDE_PX // 8) ** 2 + (SIDE_PX // 16) ** 2 + (SIDE_PX // 32) ** 2
END_TO_END, RAW_OF_2 = (1, 20, 6), (1, 6, PLACES)


def model(
    rows: tuple[int, ...] = END_TO_END,
    *,
    shape: tuple[int | str, ...] = (1, 3, SIDE_PX, SIDE_PX),
    opset: int = 17,
    **metadata: str,
) -> Any:
    """One that adds the image's mean to a constant of the output's shape."""
    axes = numpy_helper.from_array(np.array([0, 1, 2, 3], np.int64), "axes")
    base = numpy_helper.from_array(np.zeros(rows, np.float32), "base")
    flat = numpy_helper.from_array(np.array([1], np.int64), "flat")
    nodes = [
        helper.make_node("ReduceSum", ["images", "axes"], ["sum4"], keepdims=1),
        helper.make_node("Reshape", ["sum4", "flat"], ["sum"]),
        helper.make_node("Add", ["base", "sum"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes, "drawn",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, rows)],
        [axes, base, flat],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(made, metadata)
    return made


def written(folder: Path, made: Any) -> Path:
    (folder / "x.onnx").write_bytes(made.SerializeToString())
    return folder / "x.onnx"


@pytest.mark.parametrize(
    ("made", "side_px", "facts"),
    [
        (model(names="{0: 'cap', 1: 'screw'}"), None, ("end2end", ("cap", "screw"), 2)),
        (model(), None, ("end2end", None, None)),
        (model(RAW_OF_2), None, ("raw", None, 2)),
        (model(shape=(1, 3, "h", "w")), SIDE_PX, ("end2end", None, None)),
    ],
    ids=["named", "no-metadata", "raw", "dynamic-with-imgsz"],
)
def test_detectors_are_taken(
    tmp_path: Path, made: Any, side_px: int | None, facts: tuple[Any, ...]
) -> None:
    source = written(tmp_path, made)
    found = opened(source, tmp_path, side_px)
    assert (found.facts.head, found.facts.class_names, found.facts.classes) == facts
    assert (found.facts.width, found.facts.height, found.facts.opset) == (SIDE_PX, SIDE_PX, 17)
    assert found.weights == source


def _external(folder: Path) -> Path:
    target = folder / "x.onnx"
    onnx.save_model(
        model((1, 300, 6)),
        str(target),
        save_as_external_data=True,
        location="beside",
        size_threshold=0,
    )
    return target


def _changed(change: Callable[[Any], None], **more: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        made = model(**more)
        change(made)
        return written(folder, made)

    return make


def _custom(made: Any) -> None:
    made.graph.node[2].op_type, made.graph.node[2].domain = "Evil", "com.example"
    made.opset_import.append(helper.make_opsetid("com.example", 1))


def _dims(made: Any) -> None:
    made.graph.initializer[1].dims[0] = 10**12


def _two_inputs(made: Any) -> None:
    made.graph.input.append(helper.make_tensor_value_info("also", TensorProto.FLOAT, [1]))


def _huge(made: Any) -> None:
    """A constant that is small in the file and terabytes when it runs."""
    size = numpy_helper.from_array(np.array([10**6, 10**7], np.int64), "size")
    made.graph.initializer.append(size)
    made.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["huge"]))
    made.graph.node.append(helper.make_node("ReduceMax", ["huge"], ["top"], keepdims=0))
    made.graph.node[2].input[0] = "base"
    made.graph.node[2].output[0] = "before"
    made.graph.node.append(helper.make_node("Add", ["before", "top"], ["output0"]))


def _deep(made: Any) -> None:
    value = helper.make_tensor_value_info("v", TensorProto.FLOAT, [1])
    inner = helper.make_graph([helper.make_node("Identity", ["sum"], ["v"])], "g", [], [value])
    for _ in range(6):
        node = helper.make_node("If", ["yes"], ["v"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], "g", [], [value])
    made.graph.node.extend(inner.node)


def _cut(folder: Path) -> Path:
    (folder / "x.onnx").write_bytes(model().SerializeToString()[:-400])
    return folder / "x.onnx"


def _nothing(made: Any) -> None:
    return None


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "external-data": (_external, "lie in another file"),
    "custom-operator": (_changed(_custom), r"not ONNX's own: \['com.example.Evil'\]"),
    "absurd-shape": (_changed(_dims), "holds less or more"),
    "two-inputs": (_changed(_two_inputs), "takes 2 inputs"),
    "terabytes": (_changed(_huge), "does not run it|more than is allowed"),
    "nested": (_changed(_deep), "nest deeper"),
    "cut-off": (_cut, "cut off|no network|less or more"),
    "segment": (_changed(_nothing, task="segment"), "another task: segment"),
    "opset": (_changed(_nothing, opset=9), "its opset is 9"),
    "dynamic": (_changed(_nothing, shape=(1, 3, "h", "w")), "no fixed size"),
    "side": (_changed(_nothing, shape=(1, 3, 50, 50)), "multiples of 32"),
    "no-detector": (_changed(_nothing, rows=(1, 1000)), "a detector gives"),
    "names": (_changed(_nothing, rows=RAW_OF_2, names="{0: 'a'}"), "names 1 classes"),
    "code-as-names": (_changed(_nothing, names="__import__('os').getpid()"), "cannot be read"),
}


@pytest.mark.parametrize(("make", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_other_files_are_refused(tmp_path: Path, make: Callable[[Path], Path], why: str) -> None:
    with pytest.raises(InvalidError, match=why) as refused:
        opened(make(tmp_path), tmp_path)
    assert refused.value.remedy


def endless(folder: Path) -> Path:
    """A small file whose one loop goes round 2^60 times."""
    made = model()
    number = helper.make_tensor_value_info("round", TensorProto.INT64, [])
    goes_on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    going_on = helper.make_tensor_value_info("still", TensorProto.BOOL, [])
    before = helper.make_tensor_value_info("before", TensorProto.FLOAT, END_TO_END)
    after = helper.make_tensor_value_info("after", TensorProto.FLOAT, END_TO_END)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still"]),
            helper.make_node("Add", ["before", "sum"], ["after"]),
        ],
        "body", [number, goes_on, before], [going_on, after],
    )  # fmt: skip
    made.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(2**60, np.int64), "rounds"),
            numpy_helper.from_array(np.array(True), "yes"),
        ]
    )
    made.graph.node.pop()
    made.graph.node.append(
        helper.make_node("Loop", ["rounds", "yes", "base"], ["output0"], body=body)
    )
    return written(folder, made)


def test_a_file_that_runs_for_years_is_refused_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "RUN_ONCE_S", 2)
    with pytest.raises(InvalidError, match="running it once took over 2 s") as refused:
        opened(endless(tmp_path), tmp_path)
    assert "smaller detector" in refused.value.remedy


def test_the_remedy_for_an_onnx_file_is_not_to_export_it_to_onnx(tmp_path: Path) -> None:
    def killed(command: Any) -> None:
        raise ChildFailed("it was ended by SIGKILL", status=-9)

    with pytest.raises(InvalidError, match="more than is allowed") as refused:
        importing.inspect(tmp_path / "x.onnx", tmp_path / "inspection", killed)
    assert refused.value.remedy == ELSEWHERE


def test_80_classes_where_the_dataset_has_6(tmp_path: Path) -> None:
    names = str({i: f"class {i}" for i in range(80)})
    facts = opened(written(tmp_path, model(names=names)), tmp_path).facts
    with pytest.raises(InvalidError, match="80 classes apart, the dataset 6: a, b, c"):
        importing.check_classes(facts, list("abcdef"))
