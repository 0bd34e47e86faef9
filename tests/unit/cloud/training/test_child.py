"""What the child checks before it says that it exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud.building.export import ExportError, check_export
from tests.fixtures.models import model_bytes

NAMES = ["a", "b"]


def write(path: Path, side_px: int, names: dict[int, str] | None = None) -> Path:
    """A model of 300 rows whatever its input, with class names in its metadata."""
    import onnx

    model: Any = onnx.load_from_string(model_bytes(0, side_px))
    if names is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = "names", repr(names)
    onnx.save(model, str(path))
    return path


def test_a_whole_export_tells_its_opset(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", 160, {0: "a", 1: "b"})
    assert check_export(path, 160, 160, NAMES)["opset"] >= 7


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"gives \[\[1, 300, 6\]\].*gives \[\[1, 84, 6\]\]"):
        check_export(write(tmp_path / "m.onnx", 64, {0: "a", 1: "b"}), 64, 64, NAMES)
    with pytest.raises(ExportError, match="takes"):
        check_export(write(tmp_path / "n.onnx", 160, {0: "a", 1: "b"}), 320, 320, NAMES)


@pytest.mark.parametrize("names", [None, {0: "b", 1: "a"}, {0: "a"}])
def test_other_class_names_are_refused(tmp_path: Path, names: dict[int, str] | None) -> None:
    with pytest.raises(ExportError, match="the exported model names"):
        check_export(write(tmp_path / "m.onnx", 160, names), 160, 160, NAMES)
