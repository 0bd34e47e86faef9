from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_agent.errors import OutputError
from edge_agent.outputs.jsonl import JsonlSink
from tests.fixtures.seeing import detections, result


def test_a_line_says_who_saw_what_with_which_build(tmp_path: Path) -> None:
    path = tmp_path / "out" / "detections.jsonl"
    sink = JsonlSink(path)
    sink.take(result(detections((0.75, 0), (0.5, 1), (0.1, 0)), index=7))
    line = json.loads(path.read_text())
    sink.close()
    assert line["detections"] == [
        {"class_id": 0, "class_name": "class 0", "confidence": 0.75, "box": [0, 0, 10, 10]}
    ], "only what is served"
    expected = {
        "camera": "cam",
        "frame_id": "c0ffee-7",
        "connection": "c0ffee",
        "index": 7,
        "captured_at": 1000.0,
        "result_at": 1000.0,
        "slot": "tiny",
        "bundle_digest": "a" * 64,
        "model": "tiny",
        "version": 1,
        "width": 64,
        "height": 48,
        "latency_ms": 5.0,
    }
    assert {k: line[k] for k in expected} == expected


def test_rotation_keeps_the_newest_lines_whole(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    sink = JsonlSink(path, rotate_bytes=1000, keep_files=2)
    for index in range(20):
        sink.take(result(index=index))
    sink.close()
    files = sorted(p.name for p in tmp_path.iterdir())
    assert files in (["d.jsonl", "d.jsonl.1", "d.jsonl.2"], ["d.jsonl.1", "d.jsonl.2"])
    lines = [json.loads(x) for p in tmp_path.iterdir() for x in p.read_text().splitlines()]
    indexes = sorted(line["index"] for line in lines)
    assert indexes == list(range(indexes[0], 20))
    assert all(p.stat().st_size < 2000 for p in tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_named_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    path = tmp_path / "taken" / "d.jsonl"
    sink = JsonlSink(path)
    with pytest.raises(OutputError, match=r"d\.jsonl cannot be written"):
        sink.take(result())
    (tmp_path / "taken").unlink()
    sink.take(result(index=1))
    sink.close()
    assert json.loads(path.read_text())["index"] == 1
