"""Layers that training left alone stay bit for bit what they were, in the checkpoint and in ONNX.

Ultralytics does not train frozen layers, but its average over the steps and its rounding to
half precision may still move them. For child processes: it imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloud.building import backbone


class FrozenError(Exception):
    """The frozen layers are not those that training started from."""


def is_frozen(name: str, layers: int) -> bool:
    """Whether `model.3.conv.weight` belongs to the first `layers` layers."""
    parts = name.split(".")
    return parts[0] == "model" and len(parts) > 2 and parts[1].isdigit() and int(parts[1]) < layers


def restore(trained: Path, start: Path, layers: int) -> dict[str, Any]:
    """Put the frozen layers of `start` into the checkpoint `trained`, exactly, and prove it.

    The whole checkpoint takes the precision of `start`, so that nothing has to be rounded.
    Buffers, as those of BatchNorm, are restored with the weights.

    Returns:
        {"layers", "tensors_identical", "tensors_moved"}: moved ones were restored.

    Raises:
        FrozenError: both have not the same layers.
    """
    import torch

    checkpoint, before = _load(trained), _network(_load(start)).state_dict()
    network = _network(checkpoint)
    names = sorted(name for name in before if is_frozen(name, layers))
    after = network.state_dict()
    strange = sorted(
        {name for name in after if is_frozen(name, layers)} ^ set(names)
        | {n for n in names if n in after and after[n].shape != before[n].shape}
    )
    if strange or not names:
        listed = ", ".join(strange[:5]) or "none is there"
        raise FrozenError(
            f"the first {layers} layers cannot stay as they were, for these tensors are others "
            f"than in the weights that training started from: {listed}"
        )
    moved = sum(not same(after[n], before[n]) for n in names)
    precision = next(t.dtype for t in before.values() if t.is_floating_point())
    network.to(precision)
    with torch.no_grad():
        kept = network.state_dict()
        for name in names:
            kept[name].copy_(before[name])
    checkpoint["model"], checkpoint["ema"] = network, None
    torch.save(checkpoint, trained)
    written = _network(_load(trained)).state_dict()
    differing = [n for n in names if not same(written[n], before[n])]
    if differing:
        raise FrozenError(f"these frozen tensors were not kept: {', '.join(differing[:5])}")
    return {"layers": layers, "tensors_identical": len(names), "tensors_moved": moved}


def same(one: Any, other: Any) -> bool:
    """Whether two tensors are of one type and shape and hold the same bits."""
    import torch

    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool(
        torch.equal(
            one.detach().cpu().contiguous().flatten().view(torch.uint8),
            other.detach().cpu().contiguous().flatten().view(torch.uint8),
        )
    )


def check_exports(exported: Path, parent: Path, layers: int) -> dict[str, Any]:
    """That both files hold the same weights in their first `layers` layers.

    Returns:
        {"initializers_identical", "backbone_sha256"}: a digest over those weights.

    Raises:
        FrozenError: they do not.
    """
    ours, theirs = backbone.digest(exported, layers), backbone.digest(parent, layers)
    if ours["sha256"] is None or ours != theirs:
        raise FrozenError(
            f"the exported file holds {ours} in its first {layers} layers, and the weights that "
            f"training started from are exported as {theirs}"
        )
    return {"initializers_identical": ours["initializers"], "backbone_sha256": ours["sha256"]}


def _load(path: Path) -> dict[str, Any]:
    """A checkpoint of our own making, or one that was inspected."""
    import torch

    found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    return found


def _network(checkpoint: dict[str, Any]) -> Any:
    return checkpoint.get("ema") or checkpoint["model"]
