"""Which bytes of an exported model are its backbone, so that one can see them unchanged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from cloud.building import graph


def digest(path: Path, layers: int) -> dict[str, Any]:
    """The weights of the first `layers` top modules of an exported ONNX file.

    They are found by the nodes that use them, for simplifying may rename weights but leaves the
    nodes the names of their modules. The digest goes over each use, `node:input`, and the bytes.

    Returns: {"layers", "initializers", "bytes", "sha256"}; sha256 is None where there are none,
        as in a file whose nodes are not named by module.
    """
    import onnx

    model = graph.load(path)
    held = {i.name: i for i in model.graph.initializer}
    uses = {
        f"{node.name}:{position}": held[name]
        for node in model.graph.node
        if (module := graph.module_of(node.name)) is not None and module < layers
        for position, name in enumerate(node.input)
        if name in held
    }
    total, found = 0, hashlib.sha256()
    for use in sorted(uses):
        values = onnx.numpy_helper.to_array(uses[use])
        data = values.tobytes()
        total += len(data)
        found.update(f"{use} {values.dtype} {values.shape}\n".encode())
        found.update(data)
    return {
        "layers": layers,
        "initializers": len(uses),
        "bytes": total,
        "sha256": found.hexdigest() if uses else None,
    }
