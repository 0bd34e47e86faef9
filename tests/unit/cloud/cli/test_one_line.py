"""Commands that say in a line what they did, and write over nothing unasked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner, Result

from cloud.cli import client as cli_client
from cloud.cli import job as job_cli
from cloud.cli.build import builds
from cloud.cli.client import CommandError, HubClient
from cloud.cli.model import models
from cloud.cli.version import versions
from protocol import bundles
from protocol.bundles import BundleFile, Manifest, Preprocessing, Thresholds
from protocol.chunks import describe, sha256_hex
from tests.unit.cloud.registry.conftest import identity

CSV = b"epoch\n1\n"
FILES = {"model.onnx": b"a network", "golden.json": b"{}", "golden/0.png": b"a frame"}
MADE = Manifest(
    model="caps",
    version=1,
    build=identity(),
    head="end2end",
    class_names=("dent",),
    thresholds=Thresholds(),
    preprocessing=Preprocessing(),
    files=tuple(BundleFile(path=path, blob=describe(data)) for path, data in FILES.items()),
)
MANIFEST = bundles.canonical(MADE)
DIGEST = sha256_hex(MANIFEST)
BLOBS = {sha256_hex(data): data for data in (MANIFEST, *FILES.values())}
BUILD = {"digest": DIGEST, "target": "onnx-fp32-64x64", "state": "EVALUATED", "created_at": 2.0}
OLDER = {**BUILD, "digest": "0" * 64, "created_at": 1.0}
OTHER = {**BUILD, "digest": "1" * 64, "target": "onnx-int8-64x64"}
VERSION = {"model": "caps", "number": 1, "lineage": {"seed": 7}, "builds": [OLDER, BUILD, OTHER]}
JOB = {"id": "j-1", "state": "QUEUED", "progress": {"stage": "no GPU worker"}, "result": None}


@pytest.fixture(autouse=True)
def posted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """What the hub was told."""
    told: list[tuple[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1/")
        if request.method == "POST":
            told.append((path, json.loads(request.content)))
            if path.endswith("/builds"):
                return httpx.Response(202, json=JOB)
            return httpx.Response(200, json={**VERSION, "name": "caps"})
        kind, _, rest = path.partition("/")
        if kind == "blobs" and request.method == "GET":
            return httpx.Response(200, content=BLOBS[rest])
        if path.endswith(("results.csv", "archive")):
            return httpx.Response(200, content=CSV)
        return httpx.Response(200, json=BUILD if kind == "builds" else VERSION)

    client = HubClient("http://hub", "token", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(cli_client, "open_client", lambda *_: client)
    yield told


def run(commands: typer.Typer, *words: str | Path) -> Result:
    result = CliRunner(env={"COLUMNS": "250"}).invoke(commands, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def refused(commands: typer.Typer, *words: str | Path) -> CommandError:
    error = CliRunner().invoke(commands, [str(word) for word in words]).exception
    assert isinstance(error, CommandError)
    return error


def test_what_changed_of_a_version_is_a_line() -> None:
    assert run(versions, "pin", "caps", "1").stdout == "caps 1: pinned\n"
    assert run(versions, "pin", "caps", "1", "--undo").stdout == "caps 1: no longer pinned\n"
    assert run(versions, "archive", "caps", "1").stdout == "caps 1: archived\n"
    undone = run(versions, "archive", "caps", "1", "--undo").stdout
    assert undone == "caps 1: taken out of the archive\n"
    assert run(models, "archive", "caps", "--undo").stdout == "caps: taken out of the archive\n"
    assert json.loads(run(versions, "pin", "caps", "1", "--json").stdout)["number"] == 1


def test_an_artefact_says_where_it_was_written(tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    words = ("artefacts", "caps", "1", "--get", "results.csv", "--out", out)
    assert str(out) in run(versions, *words).stdout
    assert out.read_bytes() == CSV
    said = json.loads(run(versions, *words, "--json").stdout)
    assert said == {"file": str(out), "size_bytes": len(CSV)}


def test_an_export_writes_over_a_file_only_by_force(tmp_path: Path) -> None:
    out = tmp_path / "caps.tar"
    out.write_bytes(b"before")
    assert "is there already" in refused(models, "export", "caps", "--out", out).message
    assert out.read_bytes() == b"before"
    run(models, "export", "caps", "--out", out, "--force")
    assert out.read_bytes() == CSV


@pytest.mark.parametrize(
    "named", [("caps", "1", "onnx-fp32"), ("caps", "1", "onnx-fp32-64x64"), ("caps", "1", DIGEST),
              (DIGEST[:8],)],
)  # fmt: skip
def test_a_builds_files_come_as_they_ship(tmp_path: Path, named: tuple[str, ...]) -> None:
    out = tmp_path / "new" / "caps-1"
    said = json.loads(run(builds, "files", *named, "--out", out, "--json").stdout)
    assert (said["build"], said["folder"]) == (DIGEST, str(out))
    found = {p.relative_to(out).as_posix(): p for p in out.rglob("*") if p.is_file()}
    assert sorted(found) == sorted(said["files"])
    assert {n: p.read_bytes() for n, p in found.items()} == {"manifest.json": MANIFEST, **FILES}
    assert [p.name for p in out.parent.iterdir()] == ["caps-1"]
    assert "is not empty" in refused(builds, "files", *named, "--out", out).message


def test_files_that_came_otherwise_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BLOBS, sha256_hex(FILES["model.onnx"]), b"another network")
    error = refused(builds, "files", DIGEST, "--out", tmp_path / "caps-1")
    assert error.message.startswith("model.onnx came with other bytes")
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_is_not_there_is_told_which_are(tmp_path: Path) -> None:
    error = refused(builds, "files", "caps", "1", "openvino-int8", "--out", tmp_path / "new")
    assert "onnx-fp32-64x64, onnx-int8-64x64" in error.remedy
    assert "which build" in refused(builds, "files", "caps", "1", "--out", tmp_path).message


def test_a_single_onnx_may_have_any_name_and_a_waiting_job_says_so(
    tmp_path: Path, posted: list[tuple[str, Any]]
) -> None:
    file = tmp_path / "const_e2e.onnx"
    file.write_bytes(b"onnx")
    words = ("start", "caps", "1", "--target", "onnx-int8", "--no-watch")
    result = run(builds, *words, "--file", file)
    assert posted[-1][1]["files"] == {"model.onnx": sha256_hex(b"onnx")}
    assert result.stderr == "onnx-int8: no GPU worker\n"
    (tmp_path / "model.xml").write_bytes(b"xml")
    run(builds, *words, "--file", tmp_path / "model.xml", "--file", file)
    assert set(posted[-1][1]["files"]) == {"model.xml", "const_e2e.onnx"}


def test_a_canceled_job_says_when_and_no_more() -> None:
    ended = {**JOB, "state": "CANCELED", "error": None, "ended_at": 1e9}
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1e9))
    with pytest.raises(CommandError, match=f"^job j-1 canceled at {at}$"):
        job_cli.end(ended, as_json=False)
    with pytest.raises(CommandError, match=r"^job j-1 failed: no disk$"):
        job_cli.end({**ended, "state": "FAILED", "error": "no disk"}, as_json=False)
