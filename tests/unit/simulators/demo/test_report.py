"""The page and the summary of a made-up run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from simulators.demo.plan import FAST, LINE_1, LINE_2
from simulators.demo.record import Record
from simulators.demo.report.draw import draw_figures, write_report
from simulators.demo.summary import summarise
from tests.unit.simulators.demo.synthetic import make_run, measured

NEEDED_KEYS = {
    "versions",
    "map50_before_drift",
    "map50_under_drift",
    "map50_after_update",
    "mean_confidence_before_drift",
    "mean_confidence_under_drift",
    "mean_confidence_after_update",
    "frames_processed",
    "frames_dropped_in_swap",
    "swap_gap_ms_max",
    "steady_gap_ms_p99",
    "samples_uploaded",
    "samples_annotated",
    "training_s",
    "total_s",
    "map50_control",
    "map50_undrifted_before",
    "map50_undrifted_after",
    "rollout_state",
    "devices",
    "lost_messages",
    "duplicate_rows",
    "loop_overhead_s",
    "goals",
    "machine",
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    record = make_run(folder)
    measures, replays = measured(record, folder / "score")
    summary = summarise(record, FAST, measures)
    write_report(folder / "out", record, summary, draw_figures(record, summary, measures, replays))
    record.write(folder / "run.json")
    return folder


def test_a_good_run_meets_every_goal(run_folder: Path) -> None:
    summary = json.loads((run_folder / "out" / "summary.json").read_text())
    assert summary.keys() >= NEEDED_KEYS
    assert [g["name"] for g in summary["goals"] if not g["holds"]] == []
    assert summary["map50_under_drift_per_camera"][LINE_2] < 0.6
    assert summary["map50_under_drift_per_camera"][LINE_1] > 0.85
    assert summary["loop_overhead_s"] == pytest.approx(
        1.0 + 3.0 - FAST.soak_s - FAST.probation_s, abs=0.25
    )


def test_the_page_needs_nothing_from_outside(run_folder: Path) -> None:
    page = (run_folder / "out" / "report.html").read_text()
    assert not re.search(r"""(src|href|srcset)=["'](?!data:)""", page)
    assert "@import" not in page and "url(" not in page
    assert "{{" not in page


def test_every_picture_is_a_picture(run_folder: Path) -> None:
    pictures = sorted((run_folder / "out").glob("*.png"))
    assert {p.stem for p in pictures} >= {"over-time", "accuracy", "confusion", "frames-1"}
    for path in pictures:
        image = cv2.imread(str(path))
        assert image is not None and min(image.shape[:2]) > 300, path
        assert float(np.std(image)) > 5, f"{path} is blank"


def test_a_record_survives_its_file(run_folder: Path) -> None:
    record = Record.read(run_folder / "run.json")
    assert record.version("retrained").digest == "c" * 64
    record.write(run_folder / "again.json")
    assert (run_folder / "again.json").read_text() == (run_folder / "run.json").read_text()


def test_a_missed_goal_is_named(tmp_path: Path) -> None:
    record = make_run(tmp_path)
    record.counters["stored"].pop()
    measures, _ = measured(record, tmp_path / "score")
    summary = summarise(record, FAST, measures)
    assert [g["name"] for g in summary["goals"] if not g["holds"]] == ["lost messages"]
