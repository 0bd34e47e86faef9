"""What is found in a graph, and what of it is the backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cloud.building import backbone, graph
from cloud.building.openvino_builds import ignored
from cloud.building.sensitivity import FLOAT_SHARES, at_rung, channel_noise, rank
from tests.unit.cloud.building.graphs import SIDE, write

DECODE = {"/model.1/Reshape", "/model.1/TopK", "/model.1/Reshape_1"}


def test_the_decode_ends_at_the_last_weights(tmp_path: Path) -> None:
    model = graph.load(write(tmp_path / "m.onnx"))
    assert set(graph.decode_nodes(model)) == DECODE
    assert set(graph.head_nodes(model)) == {*DECODE, "/model.1/conv/Conv"}


def test_without_module_names_the_head_is_the_decode(tmp_path: Path) -> None:
    model = graph.load(write(tmp_path / "m.onnx"))
    for node in model.graph.node:
        node.name = node.name.replace("/model.", "/part.")
    assert set(graph.head_nodes(model)) == {n.replace("/model.", "/part.") for n in DECODE}


def test_nodes_without_a_name_get_one_each(tmp_path: Path) -> None:
    model = graph.load(write(tmp_path / "m.onnx"))
    for node in model.graph.node:
        node.name = ""
    graph.name_nodes(model)
    assert len({n.name for n in model.graph.node}) == len(model.graph.node)
    assert len(graph.decode_nodes(model)) == len(DECODE)


def test_input_properties_and_opset(tmp_path: Path) -> None:
    model = graph.load(write(tmp_path / "m.onnx"))
    assert graph.input_shape(model) == ("images", (1, 3, SIDE, SIDE))
    assert graph.properties(model)["names"] == "{0: 'a b'}"
    assert graph.opset(model) == 17


def test_a_backbone_is_known_by_its_bytes_alone(tmp_path: Path) -> None:
    first = backbone.digest(write(tmp_path / "a.onnx"), 1)
    assert first["bytes"] == 4 * 3 * 4
    assert first["initializers"] == 1
    assert backbone.digest(write(tmp_path / "b.onnx", rename="onnx::"), 1) == first
    assert backbone.digest(write(tmp_path / "c.onnx", head_seed=9), 1) == first
    assert backbone.digest(write(tmp_path / "d.onnx", seed=9), 1)["sha256"] != first["sha256"]
    assert backbone.digest(tmp_path / "c.onnx", 2) != backbone.digest(tmp_path / "a.onnx", 2)


def test_no_layers_have_no_digest(tmp_path: Path) -> None:
    assert backbone.digest(write(tmp_path / "a.onnx"), 0)["sha256"] is None


def test_rungs_keep_more_and_more_in_float() -> None:
    ranked = [str(i) for i in range(20)]
    kept = [at_rung(ranked, rung) for rung in range(len(FLOAT_SHARES) + 1)]
    assert [len(k) for k in kept] == [0, 2, 5, 10, 10]
    assert kept[1] == ["0", "1"]


def test_a_scale_for_each_channel_makes_their_sizes_equal() -> None:
    even = np.random.default_rng(0).standard_normal((2, 64))
    assert channel_noise(even) < 1e-3
    assert channel_noise(even * 100) == pytest.approx(channel_noise(even))
    outlier = even.copy()
    outlier[:, 0] = 100
    # All levels go to the outlier; a rounding step is 100 / 127.5 wide.
    assert channel_noise(outlier) == pytest.approx((200 / 255) ** 2 / 12 / np.mean(outlier**2))


def test_the_layer_with_a_spike_in_its_input_is_the_most_sensitive(tmp_path: Path) -> None:
    import onnx

    path = write(tmp_path / "m.onnx")
    model = graph.load(path)
    # The second convolution becomes one of the body; the decode alone is the head.
    model.graph.node[2].name = "/model.0/other/Conv"
    first = model.graph.initializer[0]
    cancels = np.tile(np.array([1, -1, 0], np.float32).reshape(1, 3, 1, 1), (4, 1, 1, 1))
    first.CopyFrom(onnx.numpy_helper.from_array(cancels, first.name))
    onnx.save(model, str(path))
    image = np.ones((1, 3, SIDE, SIDE), np.float32)
    image[0, 0, 5, 5] = 2
    assert rank(path, [image]) == ["/model.0/other/Conv", "/model.0/conv/Conv"]


def test_a_node_is_ignored_with_all_that_was_made_of_it() -> None:
    operations = ["/m/Conv", "/m/Conv/WithoutBiases", "/m/Conv_1", "/m/Convolution/x", "images"]
    assert ignored(operations, ["/m/Conv"]) == ["/m/Conv", "/m/Conv/WithoutBiases"]
