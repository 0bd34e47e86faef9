"""`argosy score`: groups from JSON lines, and lines that are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cloud.cli.client import CommandError
from cloud.cli.score import score as score_command
from cloud.errors import InvalidError
from cloud.evaluation.groups import score_files

BOX = [10, 10, 50, 50]
SEEN = {"class_id": 0, "box": BOX, "confidence": 0.8}


def line(group: str = "a", image: str = "1", *detections: dict[str, Any]) -> dict[str, Any]:
    return {"group": group, "image": image, "detections": list(detections)}


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    return path


def test_each_group_is_scored_by_itself(tmp_path: Path) -> None:
    labelled = {"class_id": 0, "box": BOX}
    truth = write(
        tmp_path / "t", line("b", "1", labelled), line("a", "1", labelled), line("a", "2")
    )
    seen = write(tmp_path / "p", line("a", "1", SEEN))
    groups = score_files(truth, seen)
    assert list(groups) == ["a", "b"]
    assert groups["a"].map50 == pytest.approx(1)
    assert groups["a"].images == 2
    assert groups["b"].map50 == 0


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("nonsense", "line"),
        ({"group": "a", "image": "1"}, "detections"),
        (line("a", "1", {"class_id": 0, "box": BOX}), "no confidence"),
        (line("a", "1", {"class_id": 0, "box": [1, 2, 3], "confidence": 0.5}), "box"),
        (line("a", "1", {**SEEN, "confidence": 1.5}), "confidence"),
        (line("a", "9", SEEN), "is not in"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, entry: Any, words: str) -> None:
    truth = write(tmp_path / "t", line())
    seen = write(tmp_path / "p", entry)
    with pytest.raises(InvalidError) as refused:
        score_files(truth, seen)
    assert f"{seen}:1" in refused.value.message
    assert words in refused.value.message
    assert refused.value.remedy


def test_an_image_is_said_once(tmp_path: Path) -> None:
    truth = write(tmp_path / "t", line(), line())
    with pytest.raises(InvalidError, match=r":2: .*line 1 already"):
        score_files(truth, write(tmp_path / "p"))


def test_the_command_prints_json_for_programs(tmp_path: Path) -> None:
    import typer

    command = typer.Typer()
    command.command()(score_command)
    truth = write(tmp_path / "t", line("a", "1", {"class_id": 0, "box": BOX}))
    seen = write(tmp_path / "p", line("a", "1", SEEN))
    options = ["--truth", str(truth), "--predictions", str(seen)]
    found = json.loads(CliRunner().invoke(command, [*options, "--json"]).stdout)
    assert found["a"]["map50"] == pytest.approx(1)
    assert found["a"]["per_class"]["0"]["truth_boxes"] == 1
    assert "map50" in CliRunner().invoke(command, options).stdout
    bad = CliRunner().invoke(command, ["--truth", str(seen), "--predictions", str(truth)])
    assert isinstance(bad.exception, CommandError)
