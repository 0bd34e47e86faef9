"""`python -m cloud.training.compare ONE.pt OTHER.pt OUT.json [ONE.onnx OTHER.onnx]`.

How far two checkpoints are apart, and whether what was exported of them is one graph.
Both are read as outside checkpoints are: with stand-ins for their classes.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloud.building.inspect_checkpoint import load, tensors


def state(path: Path) -> dict[str, Any]:
    """Tensors by name. Raises Refused where it is no checkpoint of a detector."""
    checkpoint = load(path)
    return dict(tensors(checkpoint.get("ema") or checkpoint.get("model")))


def compare(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """How far apart two sets of tensors are.

    Returns:
        {"tensors", "equal", "missing": names that only one has or in another shape,
        "difference_max": largest absolute difference, "difference_at": where}
    """
    both = [n for n in one if n in other and one[n].shape == other[n].shape]
    equal, largest, where = 0, 0.0, None
    for name in both:
        # Double precision holds every fp32 value and the difference of two.
        apart = (one[name].double() - other[name].double()).abs()
        most = float(apart.max()) if apart.numel() else 0.0
        equal += most == 0.0 and one[name].dtype == other[name].dtype
        if most > largest or math.isnan(most):
            largest, where = most, name
    return {
        "tensors": len(one),
        "equal": equal,
        "missing": sorted((one.keys() | other.keys()) - set(both)),
        "difference_max": largest,
        "difference_at": where,
    }


def same_graph(one: Path, other: Path) -> bool:
    """Whether both ONNX files hold the same graph and weights: they also tell their date."""
    import onnx

    graphs = [onnx.load(str(path), load_external_data=False).graph for path in (one, other)]
    first, second = (graph.SerializeToString(deterministic=True) for graph in graphs)
    return bool(first == second)


def main(first: str, second: str, out: str, *exports: str) -> None:
    said: dict[str, Any] = {
        "weights": compare(state(Path(first)), state(Path(second))),
        "same_graph": None,
    }
    if exports:
        said["same_graph"] = same_graph(Path(exports[0]), Path(exports[1]))
    Path(out).write_text(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
