"""What an exported ONNX graph consists of: its input, its head, its layers, what it says.

Ultralytics names nodes by module, `/model.23/cv2.0/conv/Conv`; a file from elsewhere has
other names, and then only the decode can be told from the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_MODULE = re.compile(r"/model\.(\d+)/")
BINS_MAX = 64
PARTS = 20
"""Into so many blocks a network is cut whose names tell no modules."""

Block = tuple[str, ...]
"""Names of nodes, or their beginnings up to a slash."""

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def load(path: Path) -> Any:
    """The ModelProto, without data outside of the file."""
    import onnx

    return onnx.load(str(path), load_external_data=False)


def input_shape(model: Any) -> tuple[str, tuple[int, int, int, int]]:
    """Name and shape (batch, 3, height, width) of the input; an open side is 0."""
    inside = {i.name for i in model.graph.initializer}
    given = next(i for i in model.graph.input if i.name not in inside)
    batch, channels, height, width = (d.dim_value for d in given.type.tensor_type.shape.dim)
    return given.name, (batch, channels, height, width)


def properties(model: Any) -> dict[str, str]:
    """What the exporter wrote into the file: names, task, stride, imgsz."""
    return {p.key: p.value for p in model.metadata_props}


def keep_properties(found: dict[str, str], model: Any) -> None:
    """Write them into another model."""
    del model.metadata_props[:]
    for key, value in found.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def opset(model: Any) -> int:
    """The version of ONNX's own operators."""
    return max(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


def name_nodes(model: Any) -> None:
    """Give a name to each node that has none, for lists of nodes go by names."""
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_unnamed_{number}"


def module_of(node_name: str) -> int | None:
    """The index of the top module that a node belongs to, None where its name has none."""
    found = _MODULE.match(node_name)
    return int(found.group(1)) if found else None


def decode_nodes(model: Any) -> list[str]:
    """Nodes after the last weights: box arithmetic, choice of the best, assembly.

    Found from the outputs backwards, up to the first node with weights on each way.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    held = _learned(model)
    waiting = [o.name for o in model.graph.output]
    found: dict[str, None] = {}
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in found or _has_weights(node, held):
            continue
        found[node.name] = None
        waiting.extend(node.input)
    return list(found)


def head_nodes(model: Any) -> list[str]:
    """The decode and, where names tell it, the whole last module: the detection head."""
    modules = [m for node in model.graph.node if (m := module_of(node.name)) is not None]
    last = max(modules, default=None)
    named = [n.name for n in model.graph.node if last is not None and module_of(n.name) == last]
    return list(dict.fromkeys([*decode_nodes(model), *named]))


def blocks(model: Any) -> list[Block]:
    """What lies before the head, in blocks that are kept in float, or not, as a whole.

    A block is a top module; those without weights go with the next that has some. Where names
    tell no modules, it is a run of nodes in the graph's order.
    """
    head = set(head_nodes(model))
    body = [n for n in model.graph.node if n.name not in head]
    weighted = {n.name for n in weighted_nodes(model, without=head)}
    modules: dict[int, list[str]] = {}
    for node in body:
        module = module_of(node.name)
        if module is None:
            return _runs([n.name for n in body], weighted)
        modules.setdefault(module, []).append(node.name)
    found: list[Block] = []
    waiting: list[str] = []
    for module in sorted(modules):
        waiting.append(f"/model.{module}")
        if weighted & set(modules[module]):
            found.append(tuple(waiting))
            waiting = []
    return found


def _runs(names: Sequence[str], weighted: set[str]) -> list[Block]:
    """At most PARTS runs with about as many weights in each."""
    found: list[list[str]] = []
    every = max(1, -(-len(weighted) // PARTS))
    seen = 0
    for name in names:
        if not found or (name in weighted and seen and seen % every == 0):
            found.append([])
        seen += name in weighted
        found[-1].append(name)
    return [tuple(run) for run in found]


def within(model: Any, block: Iterable[str]) -> list[str]:
    """The nodes whose names are in the block, or begin with one of it and a slash."""
    exact = set(block)
    beginnings = tuple(f"{name}/" for name in exact)
    return [n.name for n in model.graph.node if n.name in exact or n.name.startswith(beginnings)]


def weighted_nodes(model: Any, without: Iterable[str] = ()) -> list[Any]:
    """Nodes that hold weights, in the graph's order, those of these names left out."""
    held, left_out = _learned(model), set(without)
    return [n for n in model.graph.node if _has_weights(n, held) and n.name not in left_out]


def _learned(model: Any) -> set[str]:
    """Names of what the network holds, but for 0, 1, 2, …: of such a convolution a head with a
    distribution for each edge (Li et al. 2020, DFL) makes its mean, which is arithmetic."""
    import onnx

    return {
        i.name
        for i in model.graph.initializer
        if math.prod(i.dims) > BINS_MAX
        or not np.array_equal(onnx.numpy_helper.to_array(i).ravel(), np.arange(math.prod(i.dims)))
    }


def _has_weights(node: Any, held: set[str]) -> bool:
    return node.op_type in WEIGHTED and any(name in held for name in node.input[1:2])
