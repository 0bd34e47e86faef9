"""The command that builds a plan, on simulated CUDA and TensorRT."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from edge_agent.__main__ import app
from edge_agent.cli import build_engine
from edge_agent.detect.tensorrt.engine_file import read_engine
from edge_agent.detect.tensorrt.probe import Gpu
from edge_agent.evaluation.files import ProgressFile
from protocol.builds import Capabilities, Precision
from tests.unit.edge_agent.detect.tensorrt.stage import Stage, grey_model

if TYPE_CHECKING:
    from typer.testing import Result

ONNX = b"an onnx file"
ORIN = Gpu("Orin", "8.7", "540.4.0", "10.3.0")


@dataclass
class Bench:
    """A folder with an ONNX file in it, and the command."""

    folder: Path
    stage: Stage

    def build(self, *more: object, precision: str = "fp16") -> Result:
        given = {"--onnx": self.folder / "model.onnx", "--out": self.folder / "model.engine"}
        arguments = [str(part) for pair in given.items() for part in pair]
        return CliRunner().invoke(
            app, ["build-engine", *arguments, "--precision", precision, *map(str, more)]
        )

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    @property
    def left(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    stage = Stage(tmp_path, monkeypatch, "10.3.0")
    stage.trt.models[ONNX] = grey_model(steps=[("build", None, 4)])
    monkeypatch.setattr(build_engine, "probe", lambda: ORIN)
    made = Bench(tmp_path, stage)
    made.file("model.onnx", ONNX)
    return made


def test_an_engine_with_what_it_is_bound_to(bench: Bench) -> None:
    names = bench.file("names.json", b'["scratch", "dent"]')
    summary, progress, timings = (bench.folder / n for n in ("s.json", "p.jsonl", "timings"))
    result = bench.build(
        *("--names", names, "--batch", 4, "--summary", summary, "--progress", progress),
        *("--timing-cache", timings, "--json"),
    )
    assert result.exit_code == 0, result.output
    engine = read_engine(bench.folder / "model.engine")
    assert bytes(engine.plan) == b"plan of an onnx file"
    assert engine.metadata.names == {0: "scratch", 1: "dent"}
    assert engine.metadata.batch == 4
    said = json.loads(summary.read_text())
    assert said == json.loads(result.stdout)
    assert (said["compute_capability"], said["tensorrt_version"]) == ("8.7", "10.3.0")
    assert said["size_bytes"] == (bench.folder / "model.engine").stat().st_size
    told = [json.loads(line) for line in progress.read_text().splitlines()]
    assert (told[0]["done"], told[-1]["done"], told[-1]["total"]) == (0, 1000, 1000)
    assert bench.stage.trt.seen["flags"] == {"FP16"}
    assert timings.read_bytes() == b"+new"


def test_timings_of_an_earlier_build_are_given_and_kept(bench: Bench) -> None:
    timings = bench.file("timings", b"t")
    assert bench.build("--timing-cache", timings).exit_code == 0
    assert timings.read_bytes() == b"t+new"


def test_a_typed_file_is_computed_as_it_is(bench: Bench) -> None:
    assert bench.build("--file-precision", "fp16").exit_code == 0
    assert bench.stage.trt.seen["flags"] == set()
    assert read_engine(bench.folder / "model.engine").metadata.precision is Precision.FP16


def no_gpu(bench: Bench, patch: pytest.MonkeyPatch) -> tuple[object, ...]:
    patch.setattr(build_engine, "probe", Gpu)
    return ()


def no_model(bench: Bench, patch: pytest.MonkeyPatch) -> tuple[object, ...]:
    bench.file("model.onnx", b"something else")
    return ()


def no_file(bench: Bench, patch: pytest.MonkeyPatch) -> tuple[object, ...]:
    (bench.folder / "model.onnx").unlink()
    return ()


def too_large(bench: Bench, patch: pytest.MonkeyPatch) -> tuple[object, ...]:
    patch.setattr(build_engine, "ONNX_BYTES_MAX", 4)
    return ()


def no_names(bench: Bench, patch: pytest.MonkeyPatch) -> tuple[object, ...]:
    return ("--names", bench.file("names.json", b'{"0": "scratch"}'))


def no_precision(bench: Bench, patch: pytest.MonkeyPatch) -> tuple[object, ...]:
    return ("--file-precision", "fp7")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_gpu, "no plan can be built here"),
        (no_model, "does not read the model"),
        (no_file, "cannot be read"),
        (too_large, "over 4"),
        (no_names, "no JSON list of class names"),
        (no_precision, "there is no precision 'fp7'"),
    ],
)
def test_what_cannot_be_built_leaves_no_engine(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Bench, pytest.MonkeyPatch], tuple[Any, ...]],
    said: str,
) -> None:
    result = bench.build(*spoil(bench, monkeypatch))
    assert result.exit_code == 2
    assert said in result.output
    assert bench.left & {"model.engine", "model.engine.partial"} == set()


def test_interrupted_it_leaves_no_engine(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressFile, "tell", interrupt)
    result = bench.build()
    assert (result.exit_code, "nothing was written" in result.output) == (130, True)
    assert "model.engine" not in bench.left


def test_capabilities_are_what_the_agent_reports() -> None:
    result = CliRunner().invoke(app, ["capabilities"])
    said = Capabilities.model_validate_json(result.stdout)
    assert "onnxruntime" in {runtime.runtime for runtime in said.runtimes}
