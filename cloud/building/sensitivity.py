"""Which layers quantisation hurts most, and how many of them a rung keeps in float.

A layer's noise is estimated from its own input and weights, as if it alone were quantised:
the relative noise powers of the two operands add up, for they are independent and the layer
is linear. No quantised network has to run for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.building import graph

FLOAT_SHARES = (0.0, 0.1, 0.25, 0.5)
"""By rung: the share of layers kept in float besides the head."""

RUNGS = len(FLOAT_SHARES)
LEVELS = 255
_IMAGES_MAX = 4
_TINY = 1e-12

Floats = npt.NDArray[np.float32]


def at_rung(ranked: Sequence[str], rung: int) -> list[str]:
    """The most sensitive of `ranked` (worst first) that a rung keeps in float.

    Rungs after the last keep what the last does.
    """
    share = FLOAT_SHARES[min(rung, RUNGS - 1)]
    return list(ranked[: round(share * len(ranked))])


def rank(source: Path, inputs: Iterable[Floats]) -> list[str]:
    """Names of the layers outside the head, the most sensitive first.

    Args:
        inputs: prepared images (batch, 3, H, W); the first few are enough.
    """
    import onnx
    import onnxruntime

    model = graph.load(source)
    graph.name_nodes(model)
    layers = graph.weighted_nodes(model, without=graph.head_nodes(model))
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    name, _ = graph.input_shape(model)
    watched = list(dict.fromkeys(n.input[0] for n in layers if n.input[0] != name))
    for tensor in watched:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    noise: dict[str, list[float]] = {}
    for _, given in zip(range(_IMAGES_MAX), inputs, strict=False):
        answers = dict(zip(watched, session.run(watched, {name: given}), strict=True))
        for tensor, values in {**answers, name: given}.items():
            noise.setdefault(tensor, []).append(_affine_noise(values))
    scores = {
        layer.name: float(np.mean(noise[layer.input[0]])) + channel_noise(weights[layer.input[1]])
        for layer in layers
    }
    return sorted(scores, key=lambda layer: -scores[layer])


def _affine_noise(values: npt.NDArray[Any]) -> float:
    """Noise power over signal power of values rounded to LEVELS steps over their range."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    step = (high - low) / LEVELS
    return step**2 / 12 / max(float(np.mean(np.square(values, dtype=np.float64))), _TINY)


def channel_noise(weights: npt.NDArray[Any]) -> float:
    """The same of weights (out, …) rounded symmetrically, a step for each output channel."""
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    step = 2 * np.abs(rows).max(axis=1) / LEVELS
    return float((step**2).mean() / 12 / max(float((rows**2).mean()), _TINY))
