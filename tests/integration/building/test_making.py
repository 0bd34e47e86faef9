"""Every CPU target converted for real, run by the agent, and seeing what fp32 sees."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from cloud.building.order import REFUSED_STATUS
from cloud.building.targets import CPU_NAMES, parse
from tests.fixtures.spoiled import noise_images, scale_input, swap_channels
from tests.integration.building.making import (
    FLOOR,
    evaluate,
    export_raw,
    order,
    shared,
    write_bundle,
)

pytestmark = pytest.mark.integration

SIDE = 320
SEEN_MIN = {"onnx-int8": 0.85, "openvino-int8": 0.85, "openvino-bf16": 0.9}
"""Of what fp32 is sure of, on a few photographs; all else sees all of it."""


@dataclass(frozen=True)
class Base:
    """yolo26n as an fp32 ONNX file, and what made it."""

    folder: Path
    result: dict[str, Any]
    class_names: tuple[str, ...]
    photographs: list[Path]

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"

    def seen(self, name: str, files: dict[str, Path], label: str = "bundle") -> Any:
        """What a build sees in the first photographs."""
        bundle = self.folder.parent / f"{label}-{name}"
        target = parse(name, SIDE)
        return evaluate(
            write_bundle(bundle, files, target, self.class_names, self.result["head"]),
            self.photographs[:12],
        )

    @cached_property
    def seen_by_fp32(self) -> Any:
        return self.seen("onnx-fp32", {"model.onnx": self.onnx}, "reference")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Base:
    import yaml

    folder = tmp_path_factory.mktemp("building") / "base"
    named = yaml.safe_load((shared_data / "coco128" / "data.yaml").read_text())["names"]
    names = tuple(str(named[number]) for number in range(len(named)))
    photographs = sorted((shared_data / "coco128" / "images" / "val").glob("*.jpg"))
    status, result = order(
        folder,
        make="onnx-fp32",
        weights=str(shared_data / "weights" / "yolo26n-reconstructed.pt"),
        weights_format="pt",
        width=SIDE,
        height=SIDE,
        class_names=names,
        golden=[str(path) for path in photographs[:12]],
    )
    assert status == 0, result
    return Base(folder, result, names, photographs)


@pytest.fixture(scope="module")
def raw(base: Base, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """The same network with the head that Ultralytics exports by default, as an outside file."""
    folder = tmp_path_factory.mktemp("raw")
    weights = folder / "outside.pt"
    shutil.copyfile(shared_data / "weights" / "yolo26n-reconstructed.pt", weights)
    export_raw(weights, SIDE)
    status, result = order(
        folder / "base",
        make="onnx-fp32",
        weights=str(weights.with_suffix(".onnx")),
        weights_format="onnx",
        width=SIDE,
        height=SIDE,
        class_names=base.class_names,
    )
    assert status == 0, result
    return Base(folder / "base", result, base.class_names, base.photographs)


def test_the_export_sees_what_pytorch_sees(base: Base) -> None:
    assert base.result["opset"] >= 17
    assert len(base.result["backbone_sha256"]) == 64
    assert base.result["backbone"]["bytes"] > 1_000_000
    for ours, whole in zip(base.seen_by_fp32, base.result["reference"], strict=True):
        # The reference goes further down, for detectors that are sure of little.
        reference = [d for d in whole if d["confidence"] >= FLOOR]
        assert [d["class_id"] for d in ours] == [d["class_id"] for d in reference]
        for a, b in zip(ours, reference, strict=True):
            assert a["confidence"] == pytest.approx(b["confidence"], abs=1e-3)
            assert a["box"] == pytest.approx(b["box"], abs=0.05)


@pytest.mark.parametrize("name", [n for n in CPU_NAMES if n != "onnx-fp32"])
def test_a_target_sees_what_fp32_sees(base: Base, name: str) -> None:
    folder = base.folder.parent / name
    images = [str(path) for path in base.photographs[12:28]]
    status, result = order(folder, make=name, onnx=str(base.onnx), calibration=images)
    assert status == 0, result
    files = {path: folder / place for path, place in result["files"].items()}
    bf16 = "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    if name == "openvino-bf16" and not bf16:
        return  # it was converted; this CPU refuses to run it, as it should
    seen = base.seen(name, files)
    assert shared(base.seen_by_fp32, seen, sure=0.5) >= SEEN_MIN.get(name, 1.0)
    size_bytes = sum(path.stat().st_size for path in files.values())
    if parse(name, SIDE).precision.value != "fp32":
        assert size_bytes < 0.6 * base.onnx.stat().st_size


@pytest.mark.parametrize(
    "name", ["onnx-int8", pytest.param("openvino-int8", marks=pytest.mark.slow)]
)
def test_a_higher_rung_keeps_whole_blocks_in_float(base: Base, name: str) -> None:
    folder = base.folder.parent / f"rung-{name}"
    images = [str(path) for path in base.photographs[12:20]]
    status, result = order(folder, make=name, onnx=str(base.onnx), calibration=images, rung=2)
    assert status == 0, result
    notes = result["notes"]
    assert (notes["rung"], notes["rungs"], notes["calibration_images"]) == (2, 4, 8)
    # What comes first sees the finest structure, and its noise is in all that follows. Which of
    # the first it is depends on how this processor rounds.
    assert {"/model.0", "/model.1", "/model.2"} & set(notes["float_layers"])
    files = {path: folder / place for path, place in result["files"].items()}
    rounded = _rounded_onnx if name == "onnx-int8" else _rounded_openvino
    kept = tuple(f"{block}/" for block in notes["float_layers"])
    found = rounded(files)
    assert len(found) > 20
    assert not [layer for layer in found if layer.startswith(kept)]
    assert shared(base.seen_by_fp32, base.seen(name, files, "kept"), sure=0.5) >= 0.9


def _rounded_onnx(files: dict[str, Path]) -> list[str]:
    """Layers whose weights are int8."""
    import onnx

    return [
        n.name
        for n in onnx.load(str(files["model.onnx"])).graph.node
        if n.op_type == "Conv" and n.input[1].endswith("_DequantizeLinear_Output")
    ]


def _rounded_openvino(files: dict[str, Path]) -> list[str]:
    """Layers that read what a FakeQuantize rounded."""
    import openvino

    return [
        node.get_friendly_name()
        for node in openvino.Core().read_model(str(files["model.xml"])).get_ordered_ops()
        if node.get_type_name() in ("Convolution", "GroupConvolution")
        and node.input_value(0).get_node().get_type_name() == "FakeQuantize"
    ]


def test_calibration_on_noise_shows_in_the_ranges(base: Base) -> None:
    noise = noise_images(base.folder.parent / "noise", side_px=SIDE)
    own = [str(path) for path in base.photographs[12:28]]
    hints = {}
    for label, images in (("noise", [str(path) for path in noise]), ("own", own)):
        folder = base.folder.parent / f"ranges-{label}"
        order(folder, make="onnx-int8", onnx=str(base.onnx), calibration=images)
        status, result = order(
            folder / "ranges",
            make="ranges",
            onnx=str(folder / "model.onnx"),
            float_onnx=str(base.onnx),
            calibration=[str(path) for path in base.photographs[28:36]],
        )
        assert status == 0, result
        assert result["tensors"] > 50
        hints[label] = result["hint"]
    assert hints["own"] is None
    assert "calibrated on images unlike these" in hints["noise"]


@pytest.mark.parametrize("spoil", [swap_channels, scale_input])
def test_a_spoiled_input_loads_and_sees_something_else(base: Base, spoil: Any) -> None:
    path = spoil(base.onnx, base.folder.parent / f"{spoil.__name__}.onnx")
    seen = base.seen("onnx-fp32", {"model.onnx": path}, spoil.__name__)
    assert seen != base.seen_by_fp32


def test_too_few_images_are_refused_with_the_remedy(base: Base) -> None:
    for name in ("onnx-int8", "openvino-int8"):
        status, result = order(
            base.folder.parent / f"few-{name}",
            make=name,
            onnx=str(base.onnx),
            calibration=[str(path) for path in base.photographs[:7]],
        )
        assert status == REFUSED_STATUS
        assert "there are 7" in result["error"]["message"]
        assert "at least 8" in result["error"]["remedy"]


@pytest.mark.parametrize("name", ["onnx-fp32", "onnx-fp16", "onnx-int8", "openvino-int8"])
def test_a_file_with_a_raw_head_sees_the_same_in_all_its_builds(
    raw: Base, base: Base, name: str
) -> None:
    assert raw.result["head"] == "raw"
    assert raw.result["reference"] is None
    files = {"model.onnx": raw.onnx}
    if name != "onnx-fp32":
        folder = raw.folder.parent / f"raw-{name}"
        images = [str(path) for path in base.photographs[12:28]]
        status, result = order(folder, make=name, onnx=str(raw.onnx), calibration=images)
        assert status == 0, result
        files = {path: folder / place for path, place in result["files"].items()}
    seen = raw.seen(name, files, "seen")
    minimum = 0.8 if name == "onnx-fp32" else SEEN_MIN.get(name, 1.0)
    reference = base.seen_by_fp32 if name == "onnx-fp32" else raw.seen_by_fp32
    assert shared(reference, seen, sure=0.5) >= minimum


def test_an_onnx_version_has_one_size_only(base: Base) -> None:
    def asked(side_px: int) -> tuple[int, dict[str, Any]]:
        return order(
            base.folder.parent / f"as-{side_px}",
            make="onnx-fp32",
            weights=str(base.onnx),
            weights_format="onnx",
            width=side_px,
            height=side_px,
            class_names=base.class_names,
        )

    status, result = asked(640)
    assert status == REFUSED_STATUS
    assert "320x320 px and batch 1, which is not 640x640" in result["error"]["message"]
    status, result = asked(SIDE)
    assert status == 0
    assert result["reference"] is None
    assert result["backbone_sha256"] == base.result["backbone_sha256"]
