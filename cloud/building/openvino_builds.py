"""OpenVINO networks of an ONNX file: as it is, with weights in half, or quantised by NNCF."""

from __future__ import annotations

import ast
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cloud.building import graph
from cloud.building.images import prepared
from cloud.building.int8 import check_calibration
from cloud.building.order import Progress

XML_NAME, METADATA_NAME = "model.xml", "metadata.yaml"
_KEPT = ("task", "stride", "names", "imgsz", "batch")


def convert(source: Path, folder: Path, *, half: bool = False) -> list[str]:
    """Write the network of `source` and what it says of itself into `folder`; the files' names.

    Args:
        half: whether weights are stored in fp16. They are computed in what the build pins.
    """
    import openvino

    return _save(openvino.convert_model(str(source)), source, folder, half=half)


def quantise(
    source: Path,
    folder: Path,
    images: Sequence[Path],
    *,
    float_layers: Sequence[str] = (),
    tell: Progress | None = None,
) -> list[str]:
    """Write the network in int8 into `folder`; the files' names.

    Args:
        images: for calibration.
        float_layers: what stays float besides the head, as names of ONNX nodes or beginnings
            of them up to a slash.

    Raises:
        OrderRefused: too few images, or one that cannot be read.
    """
    import nncf
    import openvino

    check_calibration(images)
    # Told otherwise, it logs a line for each operation that stays float.
    nncf.set_log_level(logging.WARNING)
    model = graph.load(source)
    graph.name_nodes(model)
    _, (batch, _, height, width) = graph.input_shape(model)
    network = openvino.convert_model(str(source))
    kept = [*graph.head_nodes(model), *graph.within(model, float_layers)]
    names = ignored([node.get_friendly_name() for node in network.get_ordered_ops()], kept)
    done = 0

    def transform(path: Path) -> Any:
        nonlocal done
        if tell is not None:
            tell("calibrating", min(done, len(images)), len(images))
        done += 1
        return next(prepared([path], width, height, batch))

    quantised = nncf.quantize(
        network,
        nncf.Dataset(list(images), transform),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=names, validate=False),
    )
    return _save(quantised, source, folder, half=False)


def ignored(operations: Sequence[str], nodes: Sequence[str]) -> list[str]:
    """The network's operations that were made of these ONNX nodes.

    A node becomes an operation of its name, or several whose names begin with it and a slash.
    """
    wanted = set(nodes)
    return [o for o in operations if o in wanted or o.rpartition("/")[0] in wanted]


def _save(network: Any, source: Path, folder: Path, *, half: bool) -> list[str]:
    import openvino
    import yaml

    openvino.save_model(network, str(folder / XML_NAME), compress_to_fp16=half)
    said = graph.properties(graph.load(source))
    kept = {key: _literal(said[key]) for key in _KEPT if key in said}
    # The network's own labels are apart by spaces; names with spaces live here only.
    (folder / METADATA_NAME).write_text(yaml.safe_dump(kept, allow_unicode=True, sort_keys=False))
    return [XML_NAME, "model.bin", METADATA_NAME]


def _literal(text: str) -> Any:
    """Ultralytics writes Python literals, and plain text where one needs no quotes."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
