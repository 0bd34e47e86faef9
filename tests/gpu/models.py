"""A model whose answer is known by hand, with an open batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fixtures.artifacts import INPUT_SIZE

ROWS = 300
BOX = (8.0, 8.0, 40.0, 40.0)


def brightness_model(element: str = "FLOAT", batch: int | str = "batch") -> bytes:
    """(batch, 3, 64, 64) -> (batch, 300, 6): one box, as sure as the image is bright.

    Args:
        element: ONNX's name of the type of all tensors.
    """
    import onnx

    make, kind = onnx.helper, getattr(onnx.TensorProto, element)
    dtype = make.tensor_dtype_to_np_dtype(kind)
    box = np.zeros((1, ROWS, 6), dtype)
    box[0, 0, :4] = BOX
    sure = np.zeros((1, ROWS, 6), dtype)
    sure[0, 0, 4] = 1
    constants: dict[str, Any] = {
        "box": box,
        "sure": sure,
        "shape": np.array([-1, 1, 1], np.int64),
    }
    nodes = [
        make.make_node("ReduceMean", ["images"], ["mean4"], axes=[1, 2, 3], keepdims=1),
        make.make_node("Reshape", ["mean4", "shape"], ["mean"]),
        make.make_node("Mul", ["mean", "sure"], ["scaled"]),
        make.make_node("Add", ["scaled", "box"], ["output0"]),
    ]
    side = INPUT_SIZE
    graph = make.make_graph(
        nodes,
        "brightness",
        [make.make_tensor_value_info("images", kind, [batch, 3, side, side])],
        [make.make_tensor_value_info("output0", kind, [batch, ROWS, 6])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [make.make_opsetid("", 17)]
    model = make.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
