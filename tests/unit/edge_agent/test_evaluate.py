from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from edge_agent.errors import EdgeError
from edge_agent.evaluate import evaluate
from tests.fixtures.models import flat_png, write_bundle
from tests.fixtures.seeing import image


def test_a_line_for_each_image_and_what_is_no_image_is_counted(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    (tmp_path / "grey.png").write_bytes(flat_png(102, 64))
    cv2.imwrite(str(tmp_path / "b.png"), image(100, 50))
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    images, out = tmp_path / "list.txt", tmp_path / "out.jsonl"
    images.write_text(f"grey.png\nbad.jpg\n\n{tmp_path / 'b.png'}\n")
    assert evaluate(tmp_path / "bundle", images, out, threads=1) == 1
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert first["image"].endswith("grey.png")
    [found] = first["detections"]
    assert found["confidence"] == pytest.approx(0.56, abs=1e-6)
    assert found["box"] == [8, 8, 40, 40]
    assert (second["width"], second["height"]) == (100, 50)
    assert not list(tmp_path.glob("*.partial"))


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    images, out = tmp_path / "list.txt", tmp_path / "out.jsonl"
    with pytest.raises(EdgeError, match="no list of images"):
        evaluate(tmp_path, images, out)
    images.write_text("\n")
    with pytest.raises(EdgeError, match="lists no image"):
        evaluate(tmp_path, images, out)
    images.write_text("a.png\n")
    with pytest.raises(EdgeError, match="no bundle in"):
        evaluate(tmp_path, images, out)
    assert not out.exists()
