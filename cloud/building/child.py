"""`python -m cloud.building.child FOLDER`: make one artifact in a process of its own.

Reads `order.json` in the folder; writes `progress.jsonl` as it goes and at the end the files and
`result.json`. What a user can mend stands in the result as `{"error": {"message", "remedy"}}`,
and the exit status is REFUSED_STATUS.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from cloud.building.order import (
    ORDER_NAME,
    PROGRESS_NAME,
    REFUSED_STATUS,
    RESULT_NAME,
    DerivedOrder,
    OnnxOrder,
    Order,
    OrderRefused,
    Progress,
    RangesOrder,
)

if TYPE_CHECKING:
    from cloud.building.sensitivity import Ranked

MODEL_NAME = "model.onnx"


def make_onnx(folder: Path, order: OnnxOrder, tell: Progress) -> dict[str, Any]:
    """The float ONNX file. Raises OrderRefused, ExportError."""
    from cloud.building import backbone
    from cloud.building.export import check_export

    tell("exporting")
    weights = folder / order.weights
    exported = _exported(folder, weights, order)
    facts = check_export(
        exported,
        order.width,
        order.height,
        order.class_names,
        order.batch,
        outside=order.weights_format == "onnx",
    )
    result: dict[str, Any] = {
        **facts,
        "files": {MODEL_NAME: MODEL_NAME},
        "reference": None,
        "backbone": None,
        "backbone_sha256": None,
    }
    if order.weights_format == "pt":
        import torch
        import ultralytics

        from cloud.building.reference import answers

        tell("reference", 0, len(order.golden))
        frames = [folder / path for path in order.golden]
        result["reference"] = answers(weights, frames, order.width, order.height)
        result |= {"ultralytics": ultralytics.__version__, "torch": torch.__version__}
    if order.backbone_layers:
        found = backbone.digest(exported, order.backbone_layers)
        result |= {"backbone": found, "backbone_sha256": found["sha256"]}
    exported.replace(folder / MODEL_NAME)
    return result


def _exported(folder: Path, weights: Path, order: OnnxOrder) -> Path:
    """The order's ONNX file under a name of its own; the weights stay as they are."""
    from cloud.building import graph
    from cloud.building.export import export

    target = folder / "exported.onnx"
    if order.weights_format == "pt":
        # Ultralytics writes beside the checkpoint, which need not be a place to write to.
        checkpoint = folder / "exported.pt"
        shutil.copyfile(weights, checkpoint)
        export(checkpoint, order.width, order.height, order.batch)
        checkpoint.unlink()
        return target
    _, (batch, _, height, width) = graph.input_shape(graph.load(weights))
    if (width, height, batch) != (order.width, order.height, order.batch):
        raise OrderRefused(
            f"the version is an ONNX file of {width}x{height} px and batch {batch}, which is not "
            f"{order.width}x{order.height} px and batch {order.batch}",
            "build it as it is, or import the checkpoint (.pt) that it was exported from",
        )
    shutil.copyfile(weights, target)
    return target


def make_derived(folder: Path, order: DerivedOrder, tell: Progress) -> dict[str, Any]:
    """Another precision or format. Raises OrderRefused."""
    from cloud.building import graph, sensitivity

    source = folder / order.onnx
    images = [folder / path for path in order.calibration]
    quantised = order.make.endswith("int8")
    tell("quantising" if quantised else "converting", 0, len(images))
    ranking, kept = _kept(folder, order, source, images, tell) if quantised else (None, [])
    files = _made(folder, order, source, images, kept=kept, tell=tell)
    result: dict[str, Any] = {"files": {name: name for name in files}, "ranking": ranking}
    if order.make.startswith("onnx"):
        result["opset"] = graph.opset(graph.load(folder / MODEL_NAME))
    result["notes"] = {
        "calibration_images": len(images) if quantised else None,
        "calibration_sha256": _images_digest(images) if quantised else None,
        "float_layers": kept,
        "rung": order.rung if quantised else 0,
        "rungs": sensitivity.RUNGS if quantised else 1,
    }
    return result


def _kept(
    folder: Path, order: DerivedOrder, source: Path, images: list[Path], tell: Progress
) -> tuple[Ranked | None, list[str]]:
    """The ranking, where one was needed, and what stays in float besides the head."""
    from cloud.building import int8, sensitivity

    int8.check_calibration(images)
    if order.float_layers is not None:
        return order.ranking, list(order.float_layers)
    if order.rung == 0:
        return order.ranking, []
    ranking: Ranked | None = order.ranking
    if ranking is None:
        ranking = int8.ranking(source, folder, images, tell)
    return ranking, sensitivity.at_rung(ranking, order.rung)


def _made(
    folder: Path,
    order: DerivedOrder,
    source: Path,
    images: list[Path],
    *,
    kept: list[str],
    tell: Progress,
) -> list[str]:
    """Names of the files; `kept` in float is what an int8 one keeps besides its head."""
    from cloud.building import half, int8, openvino_builds

    match order.make:
        case "onnx-cuda-fp32" | "onnx-tensorrt-fp32" | "onnx-tensorrt-fp16" | "onnx-tensorrt-bf16":
            # The runtime computes in what the build says; the file is the base itself.
            shutil.copyfile(source, folder / MODEL_NAME)
            return [MODEL_NAME]
        case "onnx-fp16" | "onnx-cuda-fp16":
            half.make(source, folder / MODEL_NAME)
            return [MODEL_NAME]
        case "onnx-int8":
            int8.make(source, folder / MODEL_NAME, images, float_layers=kept, tell=tell)
            return [MODEL_NAME]
        case "openvino-int8":
            return openvino_builds.quantise(source, folder, images, float_layers=kept, tell=tell)
        case "openvino-fp16":
            return openvino_builds.convert(source, folder, half=True)
        case "openvino-fp32" | "openvino-bf16":
            return openvino_builds.convert(source, folder)


def _images_digest(images: list[Path]) -> str:
    """Over the digests of the images, sorted, one a line: what they are, not their order."""
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in images)
    return hashlib.sha256("".join(f"{d}\n" for d in digests).encode()).hexdigest()


def make_ranges(folder: Path, order: RangesOrder, tell: Progress) -> dict[str, Any]:
    """How the ranges of a quantised file suit the images."""
    from cloud.building import ranges

    images = [folder / path for path in order.calibration]
    tell("ranges", 0, len(images))
    return ranges.report(folder / order.onnx, folder / order.float_onnx, images)


def main(folder: Path) -> int:
    """Make what the folder's order asks for; the exit status."""
    from cloud.building.export import ExportError

    order = TypeAdapter[Order](Order).validate_json((folder / ORDER_NAME).read_bytes())
    tell = Progress(folder / PROGRESS_NAME)
    status = 0
    try:
        if isinstance(order, OnnxOrder):
            result = make_onnx(folder, order, tell)
        elif isinstance(order, DerivedOrder):
            result = make_derived(folder, order, tell)
        else:
            result = make_ranges(folder, order, tell)
        tell("made", 1, 1)
    except (OrderRefused, ExportError) as error:
        remedy = getattr(error, "remedy", "train or import a detector with an end-to-end head")
        result, status = {"error": {"message": str(error), "remedy": remedy}}, REFUSED_STATUS
    partial = folder / f"{RESULT_NAME}.partial"
    partial.write_text(json.dumps(result, allow_nan=False))
    partial.replace(folder / RESULT_NAME)
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
