"""Which blocks of a network quantisation hurts most, and how many of them a rung keeps in float.

A block's noise is measured: of the quantised network all is made float again but that block,
and its answers are held against the float network's, where the head hands them to the decode.
A block is kept as a whole, for a float layer between quantised ones reads what was rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.building import graph

NOISE_SHARES = (0.0, 0.4, 0.7, 0.9)
"""By rung: the share of the noise whose blocks are kept in float besides the head."""

RUNGS = len(NOISE_SHARES)
IMAGES = 8
"""So many are enough to rank blocks by; noise differs by more from block to block."""

_MEASURED = 4
_TINY = 1e-12
_QUANTISED = re.compile(r"_quantized$")
_FLOAT = "_float"

Floats = npt.NDArray[np.float32]
Ranked = Sequence[tuple[graph.Block, float]]
"""Blocks and their noise, the noisiest first."""


def at_rung(ranked: Ranked, rung: int) -> list[str]:
    """Names and beginnings of names of what a rung keeps in float: the fewest blocks that hold
    its share of the noise, and at least one more than the rung before.

    Rungs after the last keep what the last does.
    """
    noise = np.cumsum([noise for _, noise in ranked])
    count = 0
    for share in NOISE_SHARES[1 : min(rung, RUNGS - 1) + 1]:
        enough = int(np.searchsorted(noise, share * noise[-1])) + 1 if len(noise) else 0
        count = min(max(enough, count + 1), len(ranked))
    return [name for block, _ in ranked[:count] for name in block]


def rank(quantised: Path, source: Path, inputs: Iterable[Floats]) -> Ranked:
    """The blocks outside the head, the noisiest first.

    Args:
        quantised: all of `source` but the head, with QDQ.
        source: the float file that was quantised, its nodes named.
        inputs: prepared images (batch, 3, H, W); the first few are enough.
    """
    plain, rounded = graph.load(source), graph.load(quantised)
    given = [image for _, image in zip(range(_MEASURED), inputs, strict=False)]
    watched = _handed_to_decode(plain)
    wanted = _answers(plain, watched, given)
    found = []
    for block in graph.blocks(plain):
        inside = set(graph.within(plain, block))
        answers = _answers(only_quantised(rounded, plain, inside), watched, given)
        noise = [_noise(a, b) for a, b in zip(wanted, answers, strict=True)]
        found.append((block, float(np.mean(noise))))
    return sorted(found, key=lambda of: -of[1])


def only_quantised(quantised: Any, plain: Any, inside: set[str]) -> Any:
    """`quantised` with every node outside of `inside` reading what it reads in `plain`."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(quantised)
    held = {i.name: i for i in plain.graph.initializer}
    rounded = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    before: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            known = rounded.get(node.input[0])
            # A weight was rounded beforehand; a bias even gave its name to what is read of it.
            weight = _QUANTISED.sub("", node.input[0])
            before[node.output[0]] = weight + _FLOAT if known is None else known
    for node in model.graph.node:
        if node.name in inside or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for position, name in enumerate(node.input):
            node.input[position] = before.get(name, name)
    read = {name for node in model.graph.node for name in node.input}
    for name, weight in held.items():
        if name + _FLOAT in read:
            added = model.graph.initializer.add()
            added.CopyFrom(weight)
            added.name = name + _FLOAT
    return model


def _handed_to_decode(model: Any) -> list[str]:
    """What layers with weights give to the decode: boxes and scores before any choice."""
    decode = set(graph.decode_nodes(model))
    makers = {output: node.name for node in model.graph.node for output in node.output}
    read = [name for n in model.graph.node if n.name in decode for name in n.input]
    return list(dict.fromkeys(n for n in read if n in makers and makers[n] not in decode))


def _answers(model: Any, watched: Sequence[str], inputs: Sequence[Floats]) -> list[list[Floats]]:
    """The watched tensors of each input."""
    import onnx
    import onnxruntime

    watching = onnx.ModelProto()
    watching.CopyFrom(model)
    for name in watched:
        watching.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = onnxruntime.InferenceSession(
        watching.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    name, _ = graph.input_shape(model)
    return [list(session.run(list(watched), {name: given})) for given in inputs]


def _noise(wanted: Sequence[Floats], found: Sequence[Floats]) -> float:
    """Power of the differences over power of the wanted, the mean over tensors."""
    powers = [
        float(np.sum(np.square(a - b, dtype=np.float64)))
        / max(float(np.sum(np.square(a, dtype=np.float64))), _TINY)
        for a, b in zip(wanted, found, strict=True)
    ]
    return float(np.mean(powers)) if powers else 0.0
