"""What a checkpoint may be made of: exact names, and a description that builds nothing else.

Ultralytics builds a network from a description in the checkpoint, and there evaluates text as
Python and looks names up among functions. So the description is held to this list before
anything is built from it.
"""

from __future__ import annotations

from typing import Any

from cloud.building.refusal import Refused

DETECTOR = "ultralytics.nn.tasks.DetectionModel"
OTHER_TASKS = {
    "ultralytics.nn.tasks.SegmentationModel": "segment",
    "ultralytics.nn.tasks.SemanticSegmentationModel": "semantic segmentation",
    "ultralytics.nn.tasks.PoseModel": "pose",
    "ultralytics.nn.tasks.OBBModel": "oriented boxes",
    "ultralytics.nn.tasks.ClassificationModel": "classify",
    "ultralytics.nn.tasks.DepthModel": "depth",
    "ultralytics.nn.tasks.WorldModel": "open vocabulary",
    "ultralytics.nn.tasks.YOLOEModel": "open vocabulary",
}
MODULES = frozenset(
    {
        DETECTOR,
        *(
            f"torch.nn.modules.{name}"
            for name in (
                "activation.Hardswish", "activation.LeakyReLU", "activation.ReLU",
                "activation.ReLU6", "activation.SiLU", "activation.Sigmoid",
                "batchnorm.BatchNorm2d", "container.ModuleList", "container.Sequential",
                "conv.Conv2d", "conv.ConvTranspose2d", "linear.Identity",
                "pooling.AdaptiveAvgPool2d", "pooling.MaxPool2d", "upsampling.Upsample",
            )
        ),
        *(
            f"ultralytics.nn.modules.{name}"
            for name in (
                "block.A2C2f", "block.AAttn", "block.ABlock", "block.Attention",
                "block.Bottleneck", "block.C2PSA", "block.C2f", "block.C3", "block.C3k",
                "block.C3k2", "block.DFL", "block.PSABlock", "block.SPPF", "conv.Concat",
                "conv.Conv", "conv.DWConv", "head.Detect",
            )
        ),
    }
)  # fmt: skip
# Holders of settings. They are read as tables and never made.
NAMESPACES = frozenset({"ultralytics.utils.IterableSimpleNamespace", "types.SimpleNamespace"})

LAYERS = frozenset(
    {
        "A2C2f", "C2PSA", "C2f", "C3", "C3k2", "Concat", "Conv", "DWConv", "Detect", "SPPF",
        "nn.Identity", "nn.MaxPool2d", "nn.Upsample",
    }
)  # fmt: skip
ACTIVATIONS = frozenset(
    {"nn.SiLU()", "nn.ReLU()", "nn.ReLU6()", "nn.LeakyReLU(0.1)", "nn.Hardswish()"}
    | {"torch.nn.SiLU()", "torch.nn.ReLU()", "torch.nn.LeakyReLU(0.1)"}
)
WORDS = frozenset({"nc", "nearest", "bilinear", "None", "True", "False"})
PLAIN_KEYS = ("nc", "end2end", "reg_max", "depth_multiple", "width_multiple", "scale")
ROWS_MAX, REPEATS_MAX, NUMBER_MAX, CLASSES_MAX = 200, 100, 16_384, 10_000


def description(found: Any) -> dict[str, Any]:
    """The part of a checkpoint's description of its network that is used, checked.

    Raises:
        Refused: it is no description, or names what is not on the list.
    """
    if not isinstance(found, dict):
        raise Refused("it does not describe its network")
    kept: dict[str, Any] = {key: _plain(found[key]) for key in PLAIN_KEYS if key in found}
    classes = kept.get("nc")
    if type(classes) is not int or not 1 <= classes <= CLASSES_MAX:
        raise Refused(f"it says that it tells {classes!r} classes apart")
    if (channels := found.get("channels", found.get("ch", 3))) != 3:
        raise Refused(f"it takes images of {channels!r} channels, not 3")
    activation = found.get("activation")
    if activation is not None:
        if activation not in ACTIVATIONS:
            raise Refused(f"its activation is {str(activation)[:80]!r}, which is not on the list")
        kept["activation"] = activation
    if found.get("scales"):
        kept["scales"] = _scales(found["scales"], kept.get("scale"))
    for part in ("backbone", "head"):
        kept[part] = _rows(found.get(part), part)
    return kept


def _scales(found: Any, scale: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or len(found) > 20 or (scale is not None and scale not in found):
        raise Refused("its scales are no table that has its own scale")
    return {str(_plain(key)): [_plain(v) for v in _sequence(row)] for key, row in found.items()}


def _rows(found: Any, part: str) -> list[Any]:
    rows = _sequence(found)
    if not 1 <= len(rows) <= ROWS_MAX:
        raise Refused(f"its {part} has {len(rows)} layers")
    return [_row(_sequence(row)) for row in rows]


def _row(row: list[Any]) -> list[Any]:
    """One layer: where it takes its input from, how often it is there, what it is, and how."""
    if len(row) != 4:
        raise Refused("a layer of its description is not [from, repeats, name, arguments]")
    source, repeats, name, arguments = row
    if name not in LAYERS:
        raise Refused(f"its description names the layer {str(name)[:80]!r}, which is not known")
    if type(repeats) is not int or not 1 <= repeats <= REPEATS_MAX:
        raise Refused(f"a layer {name} is there {repeats!r} times")
    sources = [_plain(s) for s in _sequence(source)] if _many(source) else _plain(source)
    return [sources, repeats, name, [_argument(a) for a in _sequence(arguments)]]


def _argument(value: Any) -> Any:
    if _many(value):
        return [_plain(v) for v in _sequence(value)]
    if isinstance(value, str) and value not in WORDS:
        raise Refused(f"a layer of its description has the argument {value[:80]!r}")
    return _plain(value)


def _plain(value: Any) -> Any:
    if value is None or type(value) is bool:
        return value
    if type(value) in (int, float) and abs(value) <= NUMBER_MAX:
        return value
    if type(value) is str and len(value) <= 20:
        return value
    raise Refused(f"its description holds {type(value).__name__} where plain values belong")


def _many(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _sequence(value: Any) -> list[Any]:
    if not _many(value) or len(value) > ROWS_MAX:
        raise Refused("its description is no list of layers")
    return list(value)
