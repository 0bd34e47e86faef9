"""ONNX with half precision inside: weights and layers fp16; input, decode and output float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloud.building import graph


def make(source: Path, target: Path) -> list[str]:
    """Write `source` in fp16 to `target`; the nodes that stay float32.

    Half has 11 bits: at 640 px a box edge would be rounded to half a pixel, and two scores near
    1 would become equal. So the decode, and what chooses after it, stays float32.
    """
    import onnx
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = graph.load(source)
    graph.name_nodes(model)
    said = graph.properties(model)
    kept = graph.decode_nodes(model)
    half = float16.convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    graph.keep_properties(said, half)
    _tidy(half)
    OnnxModel(half).topological_sort()
    onnx.checker.check_model(half)
    onnx.save(half, str(target))
    return kept


def _tidy(model: Any) -> None:
    """Keep one of casts that are written once for each of their readers."""
    nodes, made = list(model.graph.node), set()
    del model.graph.node[:]
    for node in nodes:
        outputs = tuple(node.output)
        if node.op_type != "Cast" or outputs not in made:
            model.graph.node.append(node)
        made.add(outputs)
