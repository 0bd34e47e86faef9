from __future__ import annotations

import json
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import OutputError
from edge_agent.outputs.jsonl import JsonlSink
from tests.fixtures.seeing import detections, result


class _ShortFile(FileIO):
    """A file on a disk that takes ten bytes more."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "ab")

    def write(self, data: Any) -> int:
        return super().write(bytes(data)[:10])


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


def test_what_is_below_the_thresholds_is_written_apart_where_it_is_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "detections.jsonl"
    sink = JsonlSink(path, unserved=True)
    sink.take(result(detections((0.75, 0), (0.5, 1), (0.1, 0))))
    line = json.loads(path.read_text())
    sink.close()
    assert [d["confidence"] for d in line["detections"]] == [0.75]
    assert [d["confidence"] for d in line["unserved"]] == pytest.approx([0.5, 0.1])


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_an_error_each_time_and_closes_the_file() -> None:
    sink = JsonlSink(Path("/dev/full"))
    for _ in range(3):
        with pytest.raises(OutputError, match="No space left on device; make room"):
            sink.take(result())
    sink.close()


def test_a_line_that_fits_only_in_part_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.jsonl"
    sink = JsonlSink(path)
    sink.take(result())
    whole = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(sink._file, "_file", _ShortFile(path))
        with pytest.raises(OutputError, match="No space left"):
            sink.take(result(index=1))
    assert path.read_bytes() == whole


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
