"""What a bundle says of itself while nothing drifts."""

from __future__ import annotations

from pathlib import Path

from edge_agent.update.reference import detections_per_frame
from protocol.bundles import DRIFT_PATH, DriftReference
from protocol.windows import ClassStats, WindowStats


def test_served_detections_of_all_classes_per_image(tmp_path: Path) -> None:
    stats = WindowStats(classes={0: ClassStats(served=30), 3: ClassStats(served=10)})
    reference = DriftReference(images=8, images_sha256="a" * 64, stats=stats)
    (tmp_path / DRIFT_PATH).write_text(reference.model_dump_json())
    assert detections_per_frame(tmp_path) == 5.0


def test_what_is_not_there_or_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert detections_per_frame(tmp_path) == 0.0
    for text in ("", "{}", "[1]", '{"images": 0}'):
        (tmp_path / DRIFT_PATH).write_text(text)
        assert detections_per_frame(tmp_path) == 0.0
