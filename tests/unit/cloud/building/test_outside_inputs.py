"""What is wrong with the input of an outside ONNX file is said of that input."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.building.inspect_onnx import input_size
from cloud.building.refusal import Refused


def taking(*shape: int) -> Any:
    """A model of one input of that shape."""
    from onnx import TensorProto, helper

    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    node = helper.make_node("Identity", ["images"], ["out"])
    return helper.make_model(helper.make_graph([node], "g", [given], [out]))


@pytest.mark.parametrize(
    ("shape", "said", "remedy"),
    [
        ((1, 1, 64, 64), "it takes images of 1 channel: ", "of 3 channels"),
        ((1, 4, 64, 64), "it takes images of 4 channels: ", "of 3 channels"),
        ((1, 64, 64, 3), "the channels come last", "the channels first"),
        ((2, 3, 64, 64), "it takes 2 images at once", "batch=1"),
        ((3, 64, 64), "its input has 3 dimensions, an image has 4", "height, width"),
        ((1, 3, 8224, 64), "sides are multiples of 32 up to 8192", "imgsz"),
    ],
)
def test_an_input_that_is_no_image(shape: tuple[int, ...], said: str, remedy: str) -> None:
    with pytest.raises(Refused) as refused:
        input_size(taking(*shape), None)
    assert said in refused.value.message
    assert remedy in refused.value.remedy
    assert ("batch=1" in refused.value.remedy) is (shape[0] == 2)


def test_an_image_is_taken() -> None:
    assert input_size(taking(1, 3, 64, 96), None) == ("images", 96, 64)
