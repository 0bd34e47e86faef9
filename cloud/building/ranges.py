"""Whether the ranges of a quantised file suit the images that it is to see.

Ranges come from calibration, so a build calibrated on something else shows it here, before
anybody asks why it sees badly: activations lie outside of their range and are cut off, or they
fill so little of it that few of the 256 levels tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.building import graph
from cloud.building.images import prepared

# On photographs yolo26n, calibrated on other photographs, cut off over so much in at most 1 of
# 100 tensors; calibrated on noise in 40 of 100, and by ONNX Runtime as by NNCF.
CLIPPED_SHARE_MAX = 0.001
USED_SHARE_MIN = 0.05
TENSORS_SHARE_MAX = 0.1
_WORST = 5


@dataclass(frozen=True)
class Range:
    """What a quantised tensor can hold."""

    tensor: str
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """How a tensor's values lie in its range.

    Attributes:
        clipped: share of the values outside of it.
        used: share of it that the values within span.
    """

    tensor: str
    clipped: float
    used: float


def report(quantised: Path, source: Path, images: Sequence[Path]) -> dict[str, Any]:
    """Figures over `images`, and a hint where they say that calibration was on others.

    Args:
        quantised: an ONNX file with QDQ, or an OpenVINO network (.xml) with FakeQuantize.
        source: the float ONNX file that it was made of.
    """
    _, (batch, _, height, width) = graph.input_shape(graph.load(source))
    if quantised.suffix == ".xml":
        fits = _openvino_fits(quantised, images, (width, height, batch))
    else:
        fits = _onnx_fits(quantised, source, images, (width, height, batch))
    return summary(fits, len(images))


def summary(fits: Sequence[Fit], images: int) -> dict[str, Any]:
    """Shares of tensors that fit badly, the worst of them, and the hint or None."""
    tensors = len(fits)
    clipped = [f for f in fits if f.clipped > CLIPPED_SHARE_MAX]
    unused = [f for f in fits if f.used < USED_SHARE_MIN]
    worst = sorted(fits, key=lambda f: (f.clipped, -f.used), reverse=True)[:_WORST]
    return {
        "images": images,
        "tensors": tensors,
        "clipped_tensors": len(clipped),
        "unused_tensors": len(unused),
        "clipped_share": _mean([f.clipped for f in fits]),
        "used_share": _mean([f.used for f in fits]),
        "worst": [{"tensor": f.tensor, "clipped": f.clipped, "used": f.used} for f in worst],
        "hint": _hint(len(clipped), len(unused), tensors),
    }


def _hint(clipped: int, unused: int, tensors: int) -> str | None:
    found = []
    if clipped > TENSORS_SHARE_MAX * tensors:
        found.append(
            f"{clipped} of {tensors} quantised tensors cut off over {CLIPPED_SHARE_MAX:.1%} of "
            "what they hold on these images"
        )
    if unused > TENSORS_SHARE_MAX * tensors:
        found.append(
            f"{unused} of {tensors} use under {USED_SHARE_MIN:.0%} of their range on these images"
        )
    if not found:
        return None
    return "; ".join(found) + ": it was calibrated on images unlike these; calibrate it on these"


def measure(tensor: Range, values: Sequence[npt.NDArray[Any]]) -> Fit:
    """How all of `values` lie in the range; half a step outside is rounding, not a cut."""
    step = max(tensor.high - tensor.low, 1e-12) / 255
    outside = sum(
        int(np.count_nonzero((v < tensor.low - step / 2) | (v > tensor.high + step / 2)))
        for v in values
    )
    low = max(min(float(v.min()) for v in values), tensor.low)
    high = min(max(float(v.max()) for v in values), tensor.high)
    count = sum(v.size for v in values)
    return Fit(tensor.tensor, outside / count, max(high - low, 0.0) / (255 * step))


def onnx_ranges(model: Any) -> list[Range]:
    """Ranges of the tensors that the file quantises as they pass; weights are no such."""
    import onnx

    held = {i.name: i for i in model.graph.initializer}
    found: dict[str, Range] = {}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in held:
            continue
        scale = onnx.numpy_helper.to_array(held[node.input[1]])
        zero = onnx.numpy_helper.to_array(held[node.input[2]])
        if scale.size != 1:
            continue
        limits, step = np.iinfo(zero.dtype), float(scale.reshape(()))
        offset = int(zero.reshape(()))
        found[node.input[0]] = Range(
            node.input[0], (limits.min - offset) * step, (limits.max - offset) * step
        )
    return list(found.values())


def _onnx_fits(
    quantised: Path, source: Path, images: Sequence[Path], size: tuple[int, int, int]
) -> list[Fit]:
    """By the float file's own values, where it has a tensor of that name: what an earlier cut
    has left says nothing of a later one."""
    import onnx
    import onnxruntime

    model = graph.load(source)
    name, _ = graph.input_shape(model)
    made = {output for node in model.graph.node for output in node.output}
    wanted = {r.tensor: r for r in onnx_ranges(graph.load(quantised))}
    watched = [t for t in wanted if t in made]
    outputs = {o.name for o in model.graph.output}
    for tensor in watched:
        if tensor not in outputs:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    seen: dict[str, list[Fit]] = {}
    for given in prepared(images, *size):
        answers = dict(zip(watched, session.run(watched, {name: given}), strict=True))
        if name in wanted:
            answers[name] = given
        for tensor, values in answers.items():
            seen.setdefault(tensor, []).append(measure(wanted[tensor], [values]))
    return [_over_images(tensor, fits) for tensor, fits in seen.items()]


def _openvino_fits(
    quantised: Path, images: Sequence[Path], size: tuple[int, int, int]
) -> list[Fit]:
    """By the network's own values: its tensors have other names than the float file's."""
    import openvino

    core = openvino.Core()
    network = core.read_model(str(quantised))
    watched = []
    for node in network.get_ordered_ops():
        parents = [node.input_value(i) for i in range(node.get_input_size())]
        if node.get_type_name() != "FakeQuantize" or _is_constant(parents[0].get_node()):
            continue
        low, high = (float(np.min(p.get_node().data)) for p in parents[1:3])
        watched.append((Range(node.get_friendly_name(), low, high), parents[0]))
    first = len(network.outputs)
    network.add_outputs([source for _, source in watched])
    pinned = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(network, "CPU", pinned)
    seen: dict[str, list[Fit]] = {}
    for given in prepared(images, *size):
        answers = compiled(given)
        for index, (tensor, _) in enumerate(watched):
            fit = measure(tensor, [answers[first + index]])
            seen.setdefault(tensor.tensor, []).append(fit)
    return [_over_images(tensor, fits) for tensor, fits in seen.items()]


def _is_constant(node: Any) -> bool:
    """Whether a value is there before any image: a weight, be it by way of conversions."""
    if node.get_type_name() == "Constant":
        return True
    inputs = [node.input_value(i).get_node() for i in range(node.get_input_size())]
    return bool(inputs) and all(map(_is_constant, inputs[:1])) and node.get_type_name() == "Convert"


def _over_images(tensor: str, fits: Sequence[Fit]) -> Fit:
    """The mean share cut off, and the largest that an image uses."""
    return Fit(tensor, _mean([f.clipped for f in fits]), max(f.used for f in fits))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
