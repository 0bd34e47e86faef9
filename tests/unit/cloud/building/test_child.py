"""Orders that the child can refuse, or fill, without any conversion that takes long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloud.building import graph, half, int8
from cloud.building.child import main
from cloud.building.int8 import check_calibration
from cloud.building.order import CALIBRATION_IMAGES_MIN, REFUSED_STATUS, OrderRefused, Progress
from tests.fixtures.spoiled import noise_images
from tests.unit.cloud.building.graphs import SIDE, two_blocks, write


def ordered(folder: Path, **order: Any) -> tuple[int, dict[str, Any]]:
    (folder / "order.json").write_text(json.dumps(order))
    return main(folder), json.loads((folder / "result.json").read_text())


def onnx_order(side_px: int) -> dict[str, Any]:
    size = {"width": side_px, "height": side_px, "class_names": ["a b"]}
    return {"make": "onnx-fp32", "weights": "m.onnx", "weights_format": "onnx", **size}


def test_an_onnx_version_cannot_take_another_size(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx")
    status, result = ordered(tmp_path, **onnx_order(64))
    assert status == REFUSED_STATUS
    assert "of 32x32 px and batch 1, which is not 64x64 px" in result["error"]["message"]
    assert ".pt" in result["error"]["remedy"]
    assert not (tmp_path / "model.onnx").exists()


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx", answer=(1, 2, 3))
    status, result = ordered(tmp_path, **onnx_order(SIDE))
    assert status == REFUSED_STATUS
    assert "gives [[1, 2, 3]]" in result["error"]["message"]
    assert "a raw head [[1, 5, 21]]" in result["error"]["message"]
    assert "end-to-end" in result["error"]["remedy"]


def test_an_outside_file_may_give_fewer_rows(tmp_path: Path) -> None:
    write(tmp_path / "m.onnx")
    status, result = ordered(tmp_path, **onnx_order(SIDE))
    assert (status, result["head"], result["opset"]) == (0, "end2end", 17)


@pytest.mark.parametrize("name", ["onnx-cuda-fp32", "onnx-tensorrt-fp16", "onnx-tensorrt-bf16"])
def test_where_the_runtime_narrows_the_file_is_the_base(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / "m.onnx").read_bytes()
    status, result = ordered(tmp_path, make=name, onnx="m.onnx")
    assert (status, result["files"], result["opset"]) == (0, {"model.onnx": "model.onnx"}, 17)
    assert (tmp_path / "model.onnx").read_bytes() == source


def test_cuda_gets_the_file_in_half_that_the_cpu_gets(tmp_path: Path) -> None:
    source = write(tmp_path / "m.onnx").read_bytes()
    made = []
    for name in ("onnx-fp16", "onnx-cuda-fp16"):
        assert ordered(tmp_path, make=name, onnx="m.onnx")[0] == 0
        made.append((tmp_path / "model.onnx").read_bytes())
    assert made[0] == made[1] != source


def test_an_order_of_something_else_is_no_order(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make"):
        ordered(tmp_path, make="coreml-fp16", onnx="m.onnx")


def test_few_images_are_refused_and_enough_are_not() -> None:
    check_calibration([Path("a.png")] * CALIBRATION_IMAGES_MIN)
    with pytest.raises(OrderRefused, match="there are 1"):
        check_calibration([Path("a.png")])


def test_blocks_are_ranked_once_for_all_rungs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked: list[Path] = []
    measure = int8.ranking

    def counted(source: Path, *arguments: Any) -> Any:
        ranked.append(source)
        return measure(source, *arguments)

    monkeypatch.setattr(int8, "ranking", counted)
    two_blocks(tmp_path / "m.onnx")
    images = [str(path) for path in noise_images(tmp_path / "noise", side_px=SIDE)]
    order = {"make": "onnx-int8", "onnx": "m.onnx", "calibration": images}
    status, whole = ordered(tmp_path, **order)
    assert (status, whole["ranking"], whole["notes"]["float_layers"], ranked) == (0, None, [], [])
    status, first = ordered(tmp_path, **order, rung=1)
    assert (status, len(ranked)) == (0, 1)
    assert sorted(block for block, _ in first["ranking"]) == [["/model.0"], ["/model.1"]]
    assert first["notes"]["float_layers"] == first["ranking"][0][0]
    assert not list(tmp_path.glob("ranked.*"))
    status, second = ordered(tmp_path, **order, rung=2, ranking=first["ranking"])
    assert (status, second["ranking"], len(ranked)) == (0, first["ranking"], 1)
    assert second["notes"]["float_layers"] == [b for block, _ in first["ranking"] for b in block]


def test_half_answers_in_float_what_the_whole_answers(tmp_path: Path) -> None:
    import onnxruntime

    source = write(tmp_path / "m.onnx")
    status, result = ordered(tmp_path, make="onnx-fp16", onnx="m.onnx")
    assert (status, result["files"], result["opset"]) == (0, {"model.onnx": "model.onnx"}, 17)
    assert result["notes"]["rungs"] == 1
    target = tmp_path / "model.onnx"
    assert graph.properties(graph.load(target)) == graph.properties(graph.load(source))
    image = np.random.default_rng(0).random((1, 3, SIDE, SIDE)).astype(np.float32)
    answers = [
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(
            None, {"images": image}
        )[0]
        for path in (source, target)
    ]
    assert answers[1].dtype == np.float32
    assert not np.array_equal(answers[0], answers[1])
    assert np.allclose(answers[0], answers[1], rtol=5e-3)


def test_half_keeps_the_decode_in_float(tmp_path: Path) -> None:
    import onnx

    kept = half.make(write(tmp_path / "m.onnx"), tmp_path / "h.onnx")
    assert "/model.1/TopK" in kept
    model = onnx.shape_inference.infer_shapes(onnx.load(str(tmp_path / "h.onnx")))
    kinds = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    (chosen,) = [n.output[0] for n in model.graph.node if n.op_type == "TopK"]
    (seen,) = [n.output[0] for n in model.graph.node if n.op_type == "Relu"]
    assert kinds[chosen] == onnx.TensorProto.FLOAT
    assert kinds[seen] == onnx.TensorProto.FLOAT16


def test_progress_tells_stages_at_once_and_steps_seldom(tmp_path: Path) -> None:
    tell = Progress(tmp_path / "p.jsonl")
    for done in range(1000):
        tell("calibrating", done, 1000)
    tell("made", 1, 1)
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert lines[0] == {"stage": "calibrating", "done": 0, "total": 1000}
    assert lines[-1] == {"stage": "made", "done": 1, "total": 1}
    assert len(lines) < 20
