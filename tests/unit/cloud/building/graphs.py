"""A network of two modules whose every part is known: convolutions and a decode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SIDE = 32
CHANNELS = 4


def write(
    path: Path,
    *,
    seed: int = 0,
    head_seed: int = 0,
    rename: str = "",
    answer: tuple[int, ...] = (1, 1, 6),
) -> Path:
    """`/model.0/conv/Conv` → `/model.0/act/Relu` → `/model.1/conv/Conv` → a decode of TopK.

    Args:
        seed, head_seed: of the weights of the first module, of the second.
        rename: put before the names of weights.
        answer: shape of the output, of 6 numbers.
    """
    import onnx

    make = onnx.helper
    weights: dict[str, Any] = {
        "model.0.conv.weight": _weights(seed, 3),
        "model.1.conv.weight": _weights(head_seed, CHANNELS),
        "k": np.array([6], np.int64),
        "shape": np.array([1, -1], np.int64),
        "out": np.array(answer, np.int64),
    }
    first, second = rename + "model.0.conv.weight", rename + "model.1.conv.weight"
    nodes = [
        make.make_node("Conv", ["images", first], ["a"], "/model.0/conv/Conv"),
        make.make_node("Relu", ["a"], ["b"], "/model.0/act/Relu"),
        make.make_node("Conv", ["b", second], ["c"], "/model.1/conv/Conv"),
        make.make_node("Reshape", ["c", "shape"], ["d"], "/model.1/Reshape"),
        make.make_node("TopK", ["d", "k"], ["e", "f"], "/model.1/TopK"),
        make.make_node("Reshape", ["e", "out"], ["output0"], "/model.1/Reshape_1"),
    ]
    floats = onnx.TensorProto.FLOAT
    graph = make.make_graph(
        nodes,
        "known",
        [make.make_tensor_value_info("images", floats, [1, 3, SIDE, SIDE])],
        [make.make_tensor_value_info("output0", floats, list(answer))],
        [
            onnx.numpy_helper.from_array(v, rename + n if n.startswith("model.") else n)
            for n, v in weights.items()
        ],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    for key, value in (("task", "detect"), ("names", "{0: 'a b'}"), ("stride", "32")):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def two_blocks(path: Path) -> Path:
    """Both convolutions become parts of the body; the decode alone is the head."""
    import onnx

    model = onnx.load(str(write(path)))
    for node in model.graph.node[3:]:
        node.name = node.name.replace("/model.1/", "/model.2/")
    onnx.save(model, str(path))
    return path


def _weights(seed: int, channels: int) -> Any:
    shape = (CHANNELS, channels, 1, 1)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
