"""The matrix's job: what is made once, what ends one target only, and what is tried again."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cloud.building import matrix
from cloud.building.matrix import FAILED, THERE, MatrixBuilder
from cloud.building.targets import BuildTarget, parse
from cloud.children import ChildFailed
from cloud.errors import InvalidError
from cloud.jobs.context import JobContext
from cloud.registry.models import Build
from cloud.settings import BuildingSettings
from cloud.shipped import BundleRefused

SPOILED = object()


class Job:
    """A job's context over a version that has a build of some targets, or of none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, there: set[str]) -> None:
        self.folder, self.there = folder, there
        self.spoiled = 0
        self.seen: list[Any] = []
        self.error: Exception = BundleRefused("model.onnx answered with NaN; go back")
        monkeypatch.setattr(matrix, "known", lambda *_: self)
        monkeypatch.setattr(matrix, "source_of", lambda *_: None)
        monkeypatch.setattr(matrix, "_perturbed", self._perturbed)
        monkeypatch.setattr(matrix._Work, "_base", self._base)

    def side_px(self) -> int:
        return 64

    def build_of(self, target: BuildTarget) -> Build | None:
        if target.name not in self.there:
            return None
        return Build(
            digest="ab" * 32, version_id=1, model="m", number=1, state="EVALUATED",
            metrics={}, verdict={}, size_bytes=1, manifest_bytes=1, created_at=0.0,
            identity=target.identity(17).model_dump(mode="json"),
        )  # fmt: skip

    def _perturbed(self, *_: Any) -> Any:
        self.spoiled += 1
        return SPOILED

    def _base(self, *_: Any) -> Any:
        raise self.error

    def run(self, *targets: str, attempt: int = 1, **more: Any) -> list[dict[str, Any]]:
        asked = {"model": "m", "number": 1, "targets": list(targets), **more}
        context = SimpleNamespace(
            job=SimpleNamespace(parameters=asked, attempt=attempt, attempts_max=2),
            database=SimpleNamespace(reading=lambda: nullcontext(None)),
            store=None, folder=self.folder, progress=None, canceled=lambda: False,
            log=self.seen.append,
        )  # fmt: skip
        found = MatrixBuilder(BuildingSettings())(cast(JobContext, context))
        rows: list[dict[str, Any]] = found["builds"]
        return rows


def test_images_are_spoiled_once_and_only_where_a_build_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = Job(monkeypatch, tmp_path, {"onnx-fp32"})
    assert [row["outcome"] for row in job.run("onnx-fp32")] == [THERE]
    assert job.spoiled == 0
    rows = job.run("onnx-fp32", "onnx-int8", "openvino-int8")
    assert [row["outcome"] for row in rows] == [THERE, FAILED, FAILED]
    assert job.spoiled == 1
    job.run("onnx-fp32", "onnx-int8", robustness=False)
    assert job.spoiled == 1


def test_a_brought_file_is_looked_at_whatever_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = Job(monkeypatch, tmp_path, {"onnx-int8"})
    assert job.run("onnx-int8", files=None)[0]["outcome"] == THERE
    with pytest.raises(InvalidError, match="the file is refused"):
        job.run("onnx-int8", files={"model.onnx": "ab" * 32})


def test_a_refused_file_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = Job(monkeypatch, tmp_path, set())
    with pytest.raises(InvalidError, match=r"the file is refused: model\.onnx answered with NaN$"):
        job.run("onnx-fp32")


def test_a_child_that_was_cut_off_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = Job(monkeypatch, tmp_path, set())
    job.error = ChildFailed("it was ended by SIGKILL")
    target = parse("onnx-fp32", 64)
    with pytest.raises(ChildFailed, match=f"{target}: it was ended by SIGKILL"):
        job.run("onnx-fp32")
    with pytest.raises(InvalidError, match="SIGKILL"):
        job.run("onnx-fp32", attempt=2)
