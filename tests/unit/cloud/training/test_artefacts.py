"""What of a run goes with the version: no path of the hub, nothing too large."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cloud.training import artefacts
from cloud.training.artefacts import ARGUMENTS_BYTES_MAX, FILE_BYTES_MAX, collect, without_paths

ARGUMENTS = {
    "task": "detect",
    "model": "/var/lib/hub/training/7/start.pt",
    "data": "/var/lib/hub/training/7/dataset/data.yaml",
    "project": "/var/lib/hub/training/7/ultralytics/",
    "epochs": 3,
    "lr0": 0.01,
    "freeze": [0, 1],
    "classes": None,
    "source": "C:\\hub\\images",
    "save_dir": "/var/lib/hub/training/7/ultralytics/train",
}
NAMED = {
    "model": "start.pt",
    "data": "data.yaml",
    "project": "ultralytics",
    "source": "images",
    "save_dir": "train",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "ultralytics" / "train"
    folder.mkdir(parents=True)
    (folder / "args.yaml").write_text(yaml.safe_dump(ARGUMENTS))
    (folder / "results.csv").write_text("epoch\n1\n")
    return folder


def test_the_arguments_leave_without_the_hubs_paths_and_stay_with_the_run(run: Path) -> None:
    before = (run / "args.yaml").read_bytes()
    found = {one.name: one for one in collect(run)}
    assert list(found) == ["results.csv", "args.yaml"]
    text = found["args.yaml"].path.read_text()
    assert yaml.safe_load(text) == {**ARGUMENTS, **NAMED}
    assert "/" not in text
    assert found["args.yaml"].media_type == "application/yaml"
    assert (run / "args.yaml").read_bytes() == before
    assert sorted(path.name for path in run.iterdir()) == ["args.yaml", "results.csv"]
    assert {one.name: one for one in collect(run)} == found, "as often as it is asked for"


def test_what_is_nested_cannot_carry_paths_out() -> None:
    assert without_paths({"a": ["/x/y", 1], "b": {"c": "/x/y"}, "d": [["/x"]]}) == {"a": ["y", 1]}


@pytest.mark.parametrize("text", ["[1", "- 1", "", "a: \x00", "x" * (ARGUMENTS_BYTES_MAX + 1)])
def test_arguments_that_ultralytics_did_not_write_stay_behind(run: Path, text: str) -> None:
    (run / "args.yaml").write_text(text)
    assert [one.name for one in collect(run)] == ["results.csv"]


def test_what_is_too_large_or_elsewhere_stays_behind(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "results.png").symlink_to(run / "results.csv")
    (run / "labels.jpg").write_bytes(b"")
    with (run / "BoxF1_curve.png").open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    assert [one.name for one in collect(run)] == ["results.csv", "args.yaml"]
    monkeypatch.setattr(artefacts, "TOTAL_BYTES_MAX", 10)
    assert [one.name for one in collect(run)] == ["results.csv"]
    assert collect(run / "nowhere") == []
