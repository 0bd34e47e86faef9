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
METHOD, PERCENTILE = "Percentile", 99.99
"""Where a tensor's range ends: few values lie far out, and a range over all of them leaves the
rest few levels."""
WITHOUT_HISTOGRAM = "MinMax"


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
    float_layers: Sequence[str] = (),
    method: str = METHOD,
    tell: Progress | None = None,
) -> None:
    """Write `source` in int8 to `target`.

    Args:
        images: for calibration.
        float_layers: what stays float besides the head, as names of nodes or beginnings of
            them up to a slash.
        method: how a tensor's range follows from what was seen; ONNX Runtime's name of it.

    Raises:
        OrderRefused: too few images, or one that cannot be read.
    """
    import onnx

    check_calibration(images)
    plain = target.with_suffix(".prepared.onnx")
    prepare(source, plain)
    _quantise(plain, target, images, float_layers, method=method, tell=tell)
    quantised = graph.load(target)
    graph.keep_properties(graph.properties(graph.load(source)), quantised)
    onnx.checker.check_model(quantised)
    onnx.save(quantised, str(target))
    plain.unlink()


def prepare(source: Path, target: Path) -> None:
    """`source` with a name for each node and without what ONNX Runtime folds away."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    named = target.with_suffix(".named.onnx")
    model = graph.load(source)
    graph.name_nodes(model)
    onnx.save(model, str(named))
    # Shapes are static, so the symbolic pass has nothing to add.
    quant_pre_process(str(named), str(target), skip_symbolic_shape=True)
    named.unlink()


def ranking(
    source: Path, folder: Path, images: Sequence[Path], tell: Progress | None = None
) -> sensitivity.Ranked:
    """The blocks of `source`, those that quantisation hurts most first: takes minutes.

    Args:
        folder: for files in between.
        images: the first few are looked at.
    """
    if tell is not None:
        tell("measuring noise", 0, 0)
    plain, whole = folder / "ranked.prepared.onnx", folder / "ranked.whole.onnx"
    prepare(source, plain)
    chosen = images[: sensitivity.IMAGES]
    _quantise(plain, whole, chosen, (), method=METHOD, tell=None)
    _, (batch, _, height, width) = graph.input_shape(graph.load(plain))
    ranked = sensitivity.rank(whole, plain, prepared(chosen, width, height, batch))
    plain.unlink()
    whole.unlink()
    return ranked


def _quantise(
    plain: Path,
    target: Path,
    images: Sequence[Path],
    float_layers: Sequence[str],
    *,
    method: str,
    tell: Progress | None,
) -> None:
    try:
        _quantise_by(method, plain, target, images, float_layers, tell=tell)
    except ValueError:
        # A tensor that hardly varies, as in a network that has learned next to nothing, has no
        # histogram of which a percentile could be taken; its extremes it has.
        if method == WITHOUT_HISTOGRAM:
            raise
        _quantise_by(WITHOUT_HISTOGRAM, plain, target, images, float_layers, tell=tell)


def _quantise_by(
    method: str,
    plain: Path,
    target: Path,
    images: Sequence[Path],
    float_layers: Sequence[str],
    *,
    tell: Progress | None,
) -> None:
    from onnxruntime import quantization

    model = graph.load(plain)
    name, shape = graph.input_shape(model)
    quantization.quantize_static(
        str(plain),
        str(target),
        _Reader(name, images, shape, tell),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTISED),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        nodes_to_exclude=[*graph.head_nodes(model), *graph.within(model, float_layers)],
        calibrate_method=quantization.CalibrationMethod[method],
        # Image by image: it would hold the tensors of all images at once.
        extra_options={"CalibStridedMinMax": 1, "CalibPercentile": PERCENTILE},
    )


class _Reader:
    """Prepared images as ONNX Runtime's calibration wants them, range by range."""

    def __init__(
        self,
        name: str,
        images: Sequence[Path],
        shape: tuple[int, int, int, int],
        tell: Progress | None,
    ) -> None:
        self._name, self._images, self._tell = name, images, tell
        self._batch, _, self._height, self._width = shape
        self._inputs: Iterator[Floats] = iter(())
        self._done = 0

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        """The images that come next."""
        chosen = self._images[start_index:end_index]
        self._inputs = prepared(chosen, self._width, self._height, self._batch)

    def get_next(self) -> dict[str, Any] | None:
        """The next input, None after the last of the range."""
        given = next(self._inputs, None)
        if given is None:
            return None
        if self._tell is not None:
            self._tell("calibrating", self._done, len(self))
        self._done += 1
        return {self._name: given}
