"""Which block is the most sensitive, and what a rung keeps of it in float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.building import graph, int8
from cloud.building.sensitivity import NOISE_SHARES, RUNGS, at_rung, only_quantised, rank
from tests.fixtures.spoiled import noise_images
from tests.unit.cloud.building.graphs import SIDE, two_blocks


def quantised(source: Path) -> Path:
    """All of it but the head, calibrated on noise."""
    target = source.with_name("quantised.onnx")
    int8.make(source, target, noise_images(source.parent / "noise", side_px=SIDE))
    return target


def answer(model: Any, given: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"images": given})[0]


def test_a_rung_keeps_the_fewest_that_hold_its_share_of_the_noise() -> None:
    ranked = [(("/model.1",), 0.5), (("/model.3", "/model.4"), 0.25), (("/model.0",), 0.2)]
    ranked += [((f"/model.{i}",), 0.025) for i in (5, 6)]
    assert at_rung(ranked, 0) == []
    assert at_rung(ranked, 1) == ["/model.1"]
    assert at_rung(ranked, 2) == ["/model.1", "/model.3", "/model.4"]
    assert at_rung(ranked, 3) == ["/model.1", "/model.3", "/model.4", "/model.0"]
    assert at_rung(ranked, 9) == at_rung(ranked, RUNGS - 1)


@given(st.lists(st.floats(0, 1), max_size=20))
def test_each_rung_adds_a_block_to_the_one_before(noise: list[float]) -> None:
    ranked = [((f"/model.{i}",), n) for i, n in enumerate(sorted(noise, reverse=True))]
    kept = [at_rung(ranked, rung) for rung in range(RUNGS)]
    for share, before, after in zip(NOISE_SHARES[1:], kept, kept[1:], strict=False):
        assert after[: len(before)] == before
        assert len(after) > len(before) or len(before) == len(ranked)
        assert sum(n for _, n in ranked[: len(after)]) >= share * sum(noise) * (1 - 1e-9)


def test_all_quantised_is_the_quantised_and_none_the_float_network(tmp_path: Path) -> None:
    source = two_blocks(tmp_path / "m.onnx")
    plain, rounded = graph.load(source), graph.load(quantised(source))
    image = np.random.default_rng(1).random((1, 3, SIDE, SIDE)).astype(np.float32)
    names = {node.name for node in plain.graph.node}
    whole = answer(only_quantised(rounded, plain, names), image)
    assert np.array_equal(whole, answer(rounded, image))
    assert not np.array_equal(whole, answer(plain, image))
    assert np.array_equal(
        answer(only_quantised(rounded, plain, set()), image), answer(plain, image)
    )


@pytest.mark.parametrize("spoiled", [0, 1])
def test_the_block_with_an_outlier_among_its_weights_comes_first(
    tmp_path: Path, spoiled: int
) -> None:
    import onnx

    source = two_blocks(tmp_path / "m.onnx")
    model = graph.load(source)
    first, second = (onnx.numpy_helper.to_array(t).copy() for t in model.graph.initializer[:2])
    # The third channel between them is dark, so the second block's outlier adds nothing.
    first[2] = -1
    (first, second)[spoiled][:, 2] = 300
    for tensor, weights in zip(model.graph.initializer, (first, second), strict=False):
        tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))
    onnx.save(model, str(source))
    image = np.random.default_rng(1).random((1, 3, SIDE, SIDE)).astype(np.float32)
    ranked = rank(quantised(source), source, [image])
    assert ranked[0][0] == (f"/model.{spoiled}",)
    assert ranked[0][1] > ranked[1][1] > 0


def test_a_block_in_float_has_no_rounding_inside(tmp_path: Path) -> None:
    source = two_blocks(tmp_path / "m.onnx")
    images = noise_images(tmp_path / "noise", side_px=SIDE)
    target = tmp_path / "q.onnx"
    int8.make(source, target, images, float_layers=["/model.0"])
    model = graph.load(target)
    made_by = {n.output[0]: n.op_type for n in model.graph.node}
    reads = {n.name: [made_by.get(i) for i in n.input] for n in model.graph.node}
    assert reads["/model.0/conv/Conv"] == [None, None]
    assert reads["/model.0/act/Relu"] == ["Conv"]
    assert reads["/model.1/conv/Conv"] == ["DequantizeLinear"] * 2
