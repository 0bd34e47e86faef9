"""What is found in a graph, and what of it is the backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from cloud.building import backbone, graph
from cloud.building.openvino_builds import ignored
from tests.unit.cloud.building.graphs import SIDE, write

DECODE = {"/model.1/Reshape", "/model.1/TopK", "/model.1/Reshape_1"}


def test_the_decode_ends_at_the_last_weights(tmp_path: Path) -> None:
    model = graph.load(write(tmp_path / "m.onnx"))
    assert set(graph.decode_nodes(model)) == DECODE
    assert set(graph.head_nodes(model)) == {*DECODE, "/model.1/conv/Conv"}


def test_the_mean_over_bins_belongs_to_the_decode(tmp_path: Path) -> None:
    model = graph.load(write(tmp_path / "m.onnx"))
    bins = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    weights = model.graph.initializer[1]
    weights.CopyFrom(onnx.numpy_helper.from_array(bins, weights.name))
    assert set(graph.decode_nodes(model)) == {*DECODE, "/model.1/conv/Conv", "/model.0/act/Relu"}
    assert [node.name for node in graph.weighted_nodes(model)] == ["/model.0/conv/Conv"]


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


def test_a_node_is_ignored_with_all_that_was_made_of_it() -> None:
    operations = ["/m/Conv", "/m/Conv/WithoutBiases", "/m/Conv_1", "/m/Convolution/x", "images"]
    assert ignored(operations, ["/m/Conv"]) == ["/m/Conv", "/m/Conv/WithoutBiases"]


def test_a_block_is_a_module_and_those_without_weights_before_it(tmp_path: Path) -> None:
    model = graph.load(write(tmp_path / "m.onnx"))
    assert graph.blocks(model) == [("/model.0",)]
    for node, name in zip(model.graph.node, ("0/Conv", "1/Relu", "12/Conv"), strict=False):
        node.name = f"/model.{name}"
    for node in model.graph.node[3:]:
        node.name = node.name.replace("/model.1/", "/model.20/")
    assert graph.blocks(model) == [("/model.0",), ("/model.1", "/model.12")]
    assert graph.within(model, ["/model.1"]) == ["/model.1/Relu"]
    assert graph.within(model, ["/model.12/Conv"]) == ["/model.12/Conv"]


def test_without_module_names_a_block_is_a_run_of_nodes(tmp_path: Path) -> None:
    model = graph.load(write(tmp_path / "m.onnx"))
    for node in model.graph.node:
        node.name = node.name.replace("/model.", "/part.")
    runs = graph.blocks(model)
    assert runs == [("/part.0/conv/Conv", "/part.0/act/Relu"), ("/part.1/conv/Conv",)]
    assert graph.within(model, runs[0]) == list(runs[0])
