from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.clock import Clock
from edge_agent.errors import EdgeError
from edge_agent.evaluate import Beside, evaluate
from edge_agent.evaluation.files import ProgressFile
from edge_agent.evaluation.ordered import in_order
from edge_agent.evaluation.speed import peak_rss_bytes, spread
from edge_agent.observe.hardware import cpu_flags_of_note, cpu_name
from protocol.bundles import MANIFEST_PATH, Calibration, Manifest, canonical
from protocol.histograms import CONFIDENCE_BINS
from protocol.windows import WindowStats
from tests.fixtures.models import flat_png, write_bundle
from tests.fixtures.seeing import eventually, image

SIZES = ((64, 64), (100, 50), (31, 77), (640, 480))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A list of 24 pictures of several sizes and greys, none like another."""
    names = []
    for number in range(24):
        width, height = SIZES[number % len(SIZES)]
        picture = image(width, height, seed=number) // (1 + number % 5)
        cv2.imwrite(str(tmp_path / f"{number:02d}.png"), picture)
        names.append(f"{number:02d}.png\n")
    (tmp_path / "list.txt").write_text("".join(names))
    return tmp_path / "list.txt"


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def without_time(out: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "latency_ms"} for row in rows(out)]


def test_a_line_for_each_image_and_what_is_no_image_is_counted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_bundle(tmp_path / "bundle")
    (tmp_path / "grey.png").write_bytes(flat_png(102, 64))
    cv2.imwrite(str(tmp_path / "b.png"), image(100, 50))
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    images, out = tmp_path / "list.txt", tmp_path / "out.jsonl"
    images.write_text(f"grey.png\nbad.jpg\n\n{tmp_path / 'b.png'}\n")
    assert evaluate(tmp_path / "bundle", images, out, threads=1) == 1
    first, second = rows(out)
    assert first["image"].endswith("grey.png")
    [found] = first["detections"]
    assert found["confidence"] == found["margin"] == pytest.approx(0.56, abs=1e-6)
    assert found["box"] == [8, 8, 40, 40]
    assert (first["luminance"], first["sharpness"]) == (102, 0)
    assert (second["width"], second["height"]) == (100, 50)
    assert second["sharpness"] > 0
    assert "left out: bad.jpg" in capfd.readouterr().err
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
    write_bundle(tmp_path / "bundle")
    (tmp_path / "a.png").write_bytes(flat_png(102, 64))
    nowhere = tmp_path / "none" / "p"
    for beside in (Beside(progress=nowhere), Beside(summary=nowhere), Beside(stats=nowhere)):
        with pytest.raises(EdgeError, match="p cannot be written"):
            evaluate(tmp_path / "bundle", images, out, beside=beside)
        assert not out.exists()


def test_answers_are_the_same_and_in_order_whatever_the_streams(
    tmp_path: Path, photographs: Path
) -> None:
    write_bundle(tmp_path / "bundle")
    found = {}
    for streams in (1, 2, 5):
        out, stats = tmp_path / f"{streams}.jsonl", tmp_path / f"{streams}.json"
        evaluate(tmp_path / "bundle", photographs, out, streams=streams, beside=Beside(stats=stats))
        counted = json.loads(stats.read_text())
        del counted["latency_ms"]
        found[streams] = without_time(out), counted
    assert [Path(row["image"]).name for row in found[1][0]] == [f"{i:02d}.png" for i in range(24)]
    assert found[1] == found[2] == found[5]


def test_statistics_are_those_of_the_rows_by_the_manifests_thresholds_and_calibration(
    tmp_path: Path, photographs: Path
) -> None:
    _, manifest = write_bundle(tmp_path / "bundle")
    changed = manifest.model_copy(
        update={
            "thresholds": manifest.thresholds.model_copy(update={"default": 0.54}),
            "calibration": Calibration(raw=(0.0, 1.0), calibrated=(0.0, 0.5)),
        }
    )
    rewrite(tmp_path / "bundle", changed)
    out, stats = tmp_path / "out.jsonl", tmp_path / "stats.json"
    evaluate(tmp_path / "bundle", photographs, out, beside=Beside(stats=stats))
    counted, answered = WindowStats.model_validate_json(stats.read_bytes()), rows(out)
    raw = [found["confidence"] for row in answered for found in row["detections"]]
    served = [confidence for confidence in raw if confidence >= 0.54]
    assert 0 < len(served) < len(raw) == 24
    assert counted.frames_captured == counted.frames_inferred == 24
    assert (counted.served, counted.empty_frames) == (len(served), 24 - len(served))
    assert counted.served_confidence_sum == pytest.approx(sum(served))
    [one] = counted.classes.values()
    for histogram, values in ((one.confidence, raw), (one.calibrated, [c / 2 for c in raw])):
        bins = Counter(int(np.float32(value) * CONFIDENCE_BINS) for value in values)
        assert dict(enumerate(histogram.counts)) == {b: bins[b] for b in range(CONFIDENCE_BINS)}
    light = Counter(int(row["luminance"] / 255 * 16) for row in answered)
    assert list(counted.luminance.counts) == [light[b] for b in range(16)]
    assert sum(counted.sharpness.counts) == sum(counted.latency_ms.counts) == 24
    assert sum(counted.gap_ms.counts) == 0


def test_the_floor_cuts_what_is_written_and_not_what_is_counted(
    tmp_path: Path, photographs: Path
) -> None:
    write_bundle(tmp_path / "bundle")
    out, stats = tmp_path / "out.jsonl", tmp_path / "stats.json"
    evaluate(tmp_path / "bundle", photographs, out, floor=0.9, beside=Beside(stats=stats))
    assert not any(row["detections"] for row in rows(out))
    assert WindowStats.model_validate_json(stats.read_bytes()).served == 24


def test_the_summary_says_speed_memory_runtime_and_machine(
    tmp_path: Path, photographs: Path
) -> None:
    write_bundle(tmp_path / "bundle")
    (tmp_path / "00.png").write_bytes(b"no image")
    path, out = tmp_path / "summary.json", tmp_path / "out.jsonl"
    beside = Beside(summary=path, latency_frames=5)
    evaluate(tmp_path / "bundle", photographs, out, threads=1, beside=beside)
    found = json.loads(path.read_text())
    assert (found["images"], found["unreadable"]) == (23, 1)
    assert found["fps"] == pytest.approx(23 / found["wall_s"], rel=0.01)
    assert found["load_s"] > 0
    latency = found["latency_ms"]
    assert latency["frames"] == 4
    assert 0 < latency["median"] <= latency["p95"]
    assert found["runtime"]["name"] == "onnxruntime"
    assert (found["runtime"]["precision"], found["runtime"]["version"][0]) == ("fp32", "1")
    assert found["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert found["machine"]["cpu_flags"] == list(cpu_flags_of_note())
    assert (found["threads"], found["streams"]) == (1, 1)
    assert 10e6 < found["peak_rss_bytes"] < 10e9
    evaluate(tmp_path / "bundle", photographs, out, beside=Beside(summary=path))
    assert json.loads(path.read_text())["latency_ms"] is None


def test_progress_is_told_first_last_and_a_few_times_a_second(tmp_path: Path) -> None:
    path, seconds = tmp_path / "progress.jsonl", iter(np.arange(0, 100, 0.1).tolist())
    with ProgressFile(path, 10, lambda: next(seconds)) as told:
        for done in range(1, 11):
            told.tell(done)
        told.tell(10)
    assert [row["done"] for row in rows(path)] == [0, 3, 6, 9, 10]
    assert {row["total"] for row in rows(path)} == {10}


def test_progress_of_a_run_ends_with_all_done(tmp_path: Path, photographs: Path) -> None:
    write_bundle(tmp_path / "bundle")
    path = tmp_path / "progress.jsonl"
    evaluate(tmp_path / "bundle", photographs, tmp_path / "o", beside=Beside(progress=path))
    told = [row["done"] for row in rows(path)]
    assert (told[0], told[-1]) == (0, 24)
    assert told == sorted(set(told))


def test_no_more_is_begun_than_may_wait() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return number

    answers = in_order(work, range(100), workers=3, ahead=6)
    for taken, answer in enumerate(answers, start=1):
        assert answer == taken - 1
        time.sleep(0.001)
        assert len(begun) <= taken + 6
    assert taken == 100


def test_an_error_comes_out_in_its_place_and_ends_the_work() -> None:
    begun: list[int] = []
    first_may_end = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 0:
            assert first_may_end.wait(10)
        if number == 2:
            first_may_end.set()
            raise EdgeError("the third")
        return number

    answers: Iterator[int] = in_order(work, range(100), workers=4, ahead=8)
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(EdgeError, match="the third"):
        next(answers)
    assert max(begun) < 12


def told_so_far(progress: Path) -> list[dict[str, Any]]:
    """The lines that are whole: the file is there before its first, and one may be under way."""
    lines = progress.read_text().splitlines(keepends=True) if progress.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_early_it_leaves_no_answers(tmp_path: Path, number: signal.Signals) -> None:
    write_bundle(tmp_path / "bundle", input_size=640)
    cv2.imwrite(str(tmp_path / "a.png"), image(2000, 2000))
    (tmp_path / "list.txt").write_text("a.png\n" * 5000)
    names = {"bundle": "bundle", "images": "list.txt", "out": "o.jsonl", "progress": "p.jsonl"}
    names |= {"summary": "s.json", "stats": "t.json"}
    options = [part for name, file in names.items() for part in (f"--{name}", tmp_path / file)]
    with subprocess.Popen(
        [sys.executable, "-m", "edge_agent", "evaluate", *map(str, options)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        progress = tmp_path / "p.jsonl"
        eventually(lambda: any(line["done"] for line in told_so_far(progress)), "an answer", 60)
        process.send_signal(number)
        _, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; nothing was written" in words
    assert "Traceback" not in words
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "a.png", "list.txt", "p.jsonl"}


def test_what_no_system_says_is_unknown(tmp_path: Path) -> None:
    assert peak_rss_bytes(tmp_path / "none") is None
    assert spread([]) is None
    assert spread([1.0, 3.0]) == {"median": 2.0, "p95": 2.9, "frames": 2}
    assert cpu_flags_of_note(tmp_path / "none") == ()
    assert cpu_name(tmp_path / "none") == os.uname().machine


def test_the_clock_decides_what_is_told_of_time(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    (tmp_path / "a.png").write_bytes(flat_png(102, 64))
    (tmp_path / "list.txt").write_text("a.png\n")
    standing = Clock(wall=lambda: 5.0, monotonic=lambda: 5.0)
    out, path = tmp_path / "o", tmp_path / "s"
    evaluate(
        tmp_path / "bundle", tmp_path / "list.txt", out, clock=standing, beside=Beside(summary=path)
    )
    assert rows(out)[0]["latency_ms"] == 0
    assert json.loads(path.read_text())["fps"] is None


def rewrite(bundle: Path, manifest: Manifest) -> None:
    (bundle / MANIFEST_PATH).write_bytes(canonical(manifest))
