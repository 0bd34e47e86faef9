"""The registry over HTTP and from the command line, on a hub without its loops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from cloud.access import service as access
from cloud.access.principal import Role
from cloud.cli import client as cli_client
from cloud.cli import transfer
from cloud.cli.build import builds
from cloud.cli.client import CommandError, HubClient
from cloud.cli.model import models
from cloud.cli.version import versions
from cloud.fleet import service as fleet
from cloud.registry import service
from cloud.registry.models import ModelVersion
from tests.unit.cloud.conftest import Api
from tests.unit.cloud.registry.conftest import ADA, CLASSES, OPERATOR, Registry


@pytest.fixture
def caps(api: Api) -> Registry:
    """Two versions of a model on the hub, with an artefact and a spoiled build."""
    made = Registry(api.hub.database, api.hub.blobs)
    with made.database.transaction() as session:
        service.create_model(session, ADA, "caps", CLASSES)
    version, _ = made.register(1)
    made.register(2, parent=1)
    made.add(version, admitted=False, precision="int8")
    with made.database.transaction() as session:
        service.add_artefact(
            session, OPERATOR, version, "results.csv", kind="curves", media_type="text/csv",
            blob=made.store.put([b"epoch\n"]),
        )  # fmt: skip
    return made


@pytest.fixture
def client(api: Api, monkeypatch: pytest.MonkeyPatch) -> HubClient:
    http = api.acting(Role.ADMINISTRATOR)
    made = HubClient("http://hub", api.token(Role.ADMINISTRATOR), transport=http._transport)
    monkeypatch.setattr(cli_client, "open_client", lambda *_: made)
    return made


def model(*words: str) -> Result:
    return CliRunner().invoke(models, list(words))


def version(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "250"}).invoke(versions, list(words))


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


@pytest.mark.usefixtures("caps", "client")
def test_aliases_floor_and_history_from_the_command_line() -> None:
    (row,) = said(model("alias", "set", "caps", "production", "2", "--reason", "[b]ok", "--json"))
    assert (row["alias"], row["number"]) == ("production", 2)
    assert said(model("floor", "caps", "2", "--json"))["floor"] == 2
    listed = said(version("list", "caps", "--json"))
    assert [(v["number"], v["state"], v["aliases"]) for v in listed] == [
        (1, "REVOKED", []),
        (2, "EVALUATED", ["production"]),
    ]
    entry, _floor = said(model("history", "caps", "--json"))
    assert (entry["forced"], entry["reason"]) == (True, "[b]ok")
    assert "production moved" in model("history", "caps").output
    with pytest.raises(CommandError, match="is revoked"):
        model_raising("alias", "set", "caps", "candidate", "1")


def model_raising(*words: str) -> None:
    result = model(*words)
    assert result.exception is not None
    raise result.exception


@pytest.mark.usefixtures("caps", "client")
def test_a_version_from_the_command_line(tmp_path: Path) -> None:
    shown = said(version("show", "caps", "1", "--json"))
    assert [b["state"] for b in shown["builds"]] == ["EVALUATED", "REJECTED"]
    assert "mAP50 fell" in version("show", "caps", "1").output
    assert version("card", "caps", "1").output.startswith("# caps v1")
    out = tmp_path / "card.md"
    version("card", "caps", "1", "--out", str(out))
    assert "## Provenance" in out.read_text()
    (artefact,) = said(version("artefacts", "caps", "1", "--json"))
    assert artefact["media_type"] == "text/csv"
    csv = tmp_path / "r.csv"
    version("artefacts", "caps", "1", "--get", "results.csv", "--out", str(csv))
    assert csv.read_bytes() == b"epoch\n"
    assert said(version("note", "caps", "1", "first", "--json"))[0]["text"] == "first"
    assert said(version("pin", "caps", "2", "--json"))["pinned"] is True
    refused = version("delete", "caps", "2", "--json")
    assert "it is pinned" in str(refused.exception)
    version("pin", "caps", "2", "--undo")
    assert "blobs" in said(version("delete", "caps", "2", "--json"))
    assert said(version("archive", "caps", "1", "--json"))["archived_at"]
    assert said(version("list", "caps", "--json")) == []
    assert len(said(version("list", "caps", "--all", "--json"))) == 1
    assert said(model("archive", "caps", "--json"))["archived_at"]
    assert said(model("list", "--json")) == []


def test_a_model_goes_out_and_comes_back(caps: Registry, client: HubClient, tmp_path: Path) -> None:
    out = tmp_path / "caps.tar"
    assert said(model("export", "caps", "--out", str(out), "--json")) == {
        "model": "caps",
        "file": str(out),
        "size_bytes": out.stat().st_size,
    }
    first = out.read_bytes()
    client.delete("models/caps")
    found = said(model("import-archive", str(out), "--json"))
    assert (found["model"], found["versions"], len(found["builds"])) == ("caps", [1, 2], 3)
    again = said(model("import-archive", str(out), "--json"))
    assert again == {"model": "caps", "versions": [], "builds": []}
    model("export", "caps", "--out", str(out), "--force")
    assert out.read_bytes() == first
    out.write_bytes(first[:2000])
    refused = model("import-archive", str(out))
    assert "cut short" in str(refused.exception)


@pytest.mark.parametrize("end", [KeyboardInterrupt, httpx.ReadError])
def test_a_download_that_is_cut_off_leaves_no_file(
    end: type[BaseException], tmp_path: Path
) -> None:
    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"x" * 300_000
            raise end("cut")

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Broken()))
    broken = HubClient("http://hub", "token", transport=transport)
    out = tmp_path / "caps.tar"
    out.write_bytes(b"before")
    with pytest.raises((KeyboardInterrupt, CommandError)):
        transfer.download(broken, "models/caps/archive", out, quiet=True)
    assert [p.name for p in tmp_path.iterdir()] == ["caps.tar"]
    assert out.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("role", "verb", "path", "body", "status"),
    [
        (Role.OPERATOR, "put", "/models/caps/aliases/production", {"number": 1}, 403),
        (Role.APPROVER, "put", "/models/caps/aliases/production", {"number": 1}, 422),
        (Role.APPROVER, "put", "/models/caps/aliases/candidate", {"number": 1}, 200),
        (Role.APPROVER, "put", "/models/caps/aliases/production", {}, 422),
        (Role.OPERATOR, "put", "/models/caps/floor", {"floor": 2}, 403),
        (Role.VIEWER, "post", "/models/caps/notes", {"text": "x"}, 403),
        (Role.OPERATOR, "delete", "/models/caps/versions/1", None, 403),
        (Role.ADMINISTRATOR, "delete", "/models/caps/versions/1", None, 409),
        (Role.APPROVER, "post", "/models/archive", None, 403),
        (Role.VIEWER, "get", "/models/caps/archive", None, 403),
        (Role.VIEWER, "get", "/models/caps/versions/1/artefacts/results.csv", None, 200),
        (Role.VIEWER, "get", "/models/caps/versions/1/card", None, 200),
        (Role.VIEWER, "get", "/models/caps/versions/1/resolve?device=nobody", None, 404),
    ],
)
@pytest.mark.usefixtures("caps")
def test_verbs_ask_for_their_role(
    api: Api, *, role: Role, verb: str, path: str, body: object, status: int
) -> None:
    answer = api.acting(role).request(verb.upper(), path.lstrip("/"), json=body)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.json()["error"]["remedy"]


def test_a_device_is_told_its_build_and_a_deleted_version_tells_those_above(
    caps: Registry, api: Api
) -> None:
    http = api.acting(Role.ADMINISTRATOR)
    with caps.database.transaction() as session:
        fleet.enrol(session, ADA, "dev-1", models=["caps"])
    found = http.get("models/caps/versions/1/resolve", params={"device": "dev-1"}).json()
    assert (found["target"], found["heard"]) == ("onnx-fp32-64x64", False)
    assert [r["reasons"] for r in found["refused"]] == [["is rejected"]]
    told: list[int] = []

    def hook(_session: object, version: ModelVersion, _builds: object) -> None:
        told.append(version.number)

    http.app.state.on_version_deleted = (hook,)  # type: ignore[attr-defined]
    assert http.delete("models/caps/versions/2").status_code == 200
    assert told == [2]


@pytest.mark.usefixtures("client")
def test_the_first_digits_of_a_digest_name_a_build(caps: Registry) -> None:
    with caps.database.reading() as session:
        digest = service.builds_of(session, service.get_version(session, ADA, "caps", 2))[0].digest
    cli = CliRunner()
    shown = said(cli.invoke(builds, ["show", digest[:8], "--json"]))
    assert (shown["digest"], shown["evaluations"]) == (digest, [])
    out = said(cli.invoke(builds, ["reject", digest[:6], "--reason", "blurry", "--json"]))
    assert (out["digest"], out["state"]) == (digest, "REJECTED")
    out = said(cli.invoke(builds, ["reinstate", digest[:63], "--reason", "mended", "--json"]))
    assert (out["digest"], out["state"]) == (digest, "EVALUATED")
    with caps.database.reading() as session:
        subjects = {r.subject for r in access.list_audit(session, ADA, None, None, 50)}
        assert f"build/{digest}" in subjects
        assert f"build/{digest[:6]}" not in subjects
    refused = cli.invoke(builds, ["show", digest[:5]])
    assert isinstance(refused.exception, CommandError)
    assert "6 hex digits" in refused.exception.remedy


def test_reinstating_over_http_names_the_build(caps: Registry, api: Api) -> None:
    http = api.acting(Role.APPROVER)
    builds = http.get("models/caps/versions/1").json()["builds"]
    (bad,) = [b["digest"] for b in builds if b["state"] == "REJECTED"]
    assert not any(bad.encode() in data for _, data in api.hub.trust.standing_messages())
    answer = http.post(f"builds/{bad}/reinstate", json={"reason": "the golden set was wrong"})
    assert answer.json()["state"] == "EVALUATED"
    assert any(bad.encode() in data for _, data in api.hub.trust.standing_messages())


@pytest.mark.parametrize("number", [0, 2**31, 10**23])
def test_a_number_out_of_range_is_no_error_of_the_hub(
    caps: Registry, api: Api, number: int
) -> None:
    assert caps
    http = api.acting(Role.ADMINISTRATOR)
    for path in ("", "/card", "/notes", "/artefacts", "/evidence"):
        assert http.get(f"/models/caps/versions/{number}{path}").status_code == 422
    for verb in ("gate", "builds", "rebuild"):
        assert http.post(f"/models/caps/versions/{number}/{verb}", json={}).status_code == 422
    for path, body in (
        ("aliases/production", {"number": number, "reason": "why not"}),
        ("floor", {"floor": number}),
    ):
        assert http.put(f"/models/caps/{path}", json=body).status_code == 422
    assert http.post("/models/caps/promote", json={"number": number}).status_code == 422


@pytest.mark.parametrize("text", ["\x1b[2J", "a\x00", "\u202edaer"])
def test_text_that_steers_a_terminal_is_refused(caps: Registry, api: Api, text: str) -> None:
    assert caps
    http = api.acting(Role.ADMINISTRATOR)
    for path, body in (
        ("models", {"name": "lids", "class_names": [text]}),
        ("models", {"name": "lids", "class_names": ["two\nlines"]}),
        ("models/caps/notes", {"text": text}),
        ("models/caps/promote", {"number": 1, "force": True, "reason": text}),
    ):
        assert http.post(f"/{path}", json=body).status_code == 422
    assert http.put("/models/caps/floor", json={"floor": 2, "reason": text}).status_code == 422
