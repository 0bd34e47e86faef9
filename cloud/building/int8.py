"""ONNX with int8 inside: static QDQ, a scale for each channel of the weights.

Activations are uint8 and weights int8, which is what VNNI multiplies. The head stays float:
its scores decide what is seen at all, and its boxes are pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cloud.building import graph, sensitivity
from cloud.building.images import Floats, prepared
from cloud.building.order import CALIBRATION_IMAGES_MIN, OrderRefused, Progress

QUANTISED = ("Conv", "MatMul", "Add", "Mul", "Sigmoid", "Concat", "MaxPool", "Resize", "Split")


def check_calibration(images: Sequence[Path]) -> None:
    """Raises OrderRefused where the images are too few to know any range by."""
    if len(images) < CALIBRATION_IMAGES_MIN:
        raise OrderRefused(
            f"int8 is calibrated on images of the data set, and there are {len(images)}",
            f"give at least {CALIBRATION_IMAGES_MIN}, better 100, that show what devices see",
        )


def make(
    source: Path,
    target: Path,
    images: Sequence[Path],
    *,
    rung: int = 0,
    float_layers: Sequence[str] | None = None,
    method: str = "MinMax",
    tell: Progress | None = None,
) -> list[str]:
    """Write `source` in int8 to `target`; the layers that stay float besides the head.

    Args:
        images: for calibration.
        rung: how much stays in float, where `float_layers` does not say which.
        method: how a tensor's range follows from what was seen; ONNX Runtime's name of it.

    Raises:
        OrderRefused: too few images, or one that cannot be read.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    check_calibration(images)
    plain = target.with_suffix(".prepared.onnx")
    named = target.with_suffix(".named.onnx")
    model = graph.load(source)
    said, (name, shape) = graph.properties(model), graph.input_shape(model)
    graph.name_nodes(model)
    onnx.save(model, str(named))
    # Shapes are static, so the symbolic pass has nothing to add.
    quant_pre_process(str(named), str(plain), skip_symbolic_shape=True)
    model = graph.load(plain)
    if float_layers is None:
        ranked = sensitivity.rank(plain, prepared(images, shape[3], shape[2], shape[0]))
        float_layers = sensitivity.at_rung(ranked, rung)
    quantization.quantize_static(
        str(plain),
        str(target),
        _Reader(name, images, shape, tell),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTISED),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        nodes_to_exclude=[*graph.head_nodes(model), *float_layers],
        calibrate_method=quantization.CalibrationMethod[method],
    )
    quantised = graph.load(target)
    graph.keep_properties(said, quantised)
    onnx.checker.check_model(quantised)
    onnx.save(quantised, str(target))
    for left in (plain, named):
        left.unlink()
    return list(float_layers)


class _Reader:
    """Prepared images as ONNX Runtime's calibration wants them, one after the other."""

    def __init__(
        self,
        name: str,
        images: Sequence[Path],
        shape: tuple[int, int, int, int],
        tell: Progress | None,
    ) -> None:
        self._name, self._total, self._tell = name, len(images), tell
        batch, _, height, width = shape
        self._inputs: Iterator[Floats] = prepared(images, width, height, batch)
        self._done = 0

    def get_next(self) -> dict[str, Any] | None:
        """The next input, None after the last."""
        given = next(self._inputs, None)
        if given is None:
            return None
        if self._tell is not None:
            self._tell("calibrating", self._done, self._total)
        self._done += 1
        return {self._name: given}
