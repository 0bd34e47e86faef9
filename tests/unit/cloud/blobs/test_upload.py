"""PUT of a blob: whole and named right, or nothing is kept."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cloud import settings
from cloud.access.principal import Role
from cloud.app import application
from cloud.blobs import router, service
from cloud.blobs.models import BlobRow
from cloud.cli.client import CommandError, HubClient
from cloud.hub import Hub
from protocol.chunks import describe
from tests.unit.cloud.conftest import Api

DATA = bytes(range(256)) * 1200
SHA256 = hashlib.sha256(DATA).hexdigest()
PATH = f"/blobs/{SHA256}"


def kept(hub: Hub) -> list[Path]:
    """Every file in the folder of blobs, whole or not."""
    return [p for p in hub.settings.blobs_dir.rglob("*") if p.is_file()]


def row(hub: Hub, sha256: str = SHA256) -> BlobRow | None:
    with hub.database.reading() as session:
        return session.get(BlobRow, sha256)


def test_a_blob_is_new_once_and_known_then(api: Api) -> None:
    http = api.acting(Role.OPERATOR)
    new = http.put(PATH, content=DATA)
    assert new.status_code == 201
    assert (new.json()["sha256"], new.json()["size_bytes"]) == (SHA256, len(DATA))
    known = http.put(PATH, content=DATA)
    assert (known.status_code, known.json()) == (200, new.json())
    assert http.get(PATH).content == DATA
    assert kept(api.hub) == [api.hub.blobs.path(SHA256)]
    with api.hub.database.reading() as session:
        assert service.ref(session, SHA256) == describe(DATA)


def test_an_empty_blob_is_one(api: Api) -> None:
    digest = hashlib.sha256().hexdigest()
    assert api.acting(Role.OPERATOR).put(f"/blobs/{digest}").status_code == 201
    assert api.hub.blobs.read(digest) == b""


@pytest.mark.parametrize("body", [DATA[:-1], DATA + b"x", b""])
def test_other_bytes_are_refused_and_not_kept(api: Api, body: bytes) -> None:
    answer = api.acting(Role.OPERATOR).put(PATH, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid")
    assert (kept(api.hub), row(api.hub)) == ([], None)


def test_other_bytes_do_not_harm_the_blob_that_is_known(api: Api) -> None:
    http = api.acting(Role.OPERATOR)
    http.put(PATH, content=DATA)
    assert http.put(PATH, content=b"other").status_code == 422
    assert http.get(PATH).content == DATA


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANNOTATOR])
def test_who_may_not_operate_may_not_upload(api: Api, role: Role) -> None:
    assert api.acting(role).put(PATH, content=DATA).status_code == 403
    assert (kept(api.hub), row(api.hub)) == ([], None)


def test_nobody_uploads_without_a_token_or_a_digest(api: Api) -> None:
    assert api.http.put(PATH, content=DATA).status_code == 401
    assert api.acting(Role.OPERATOR).put("/blobs/..%2f..%2fx", content=DATA).status_code != 201
    assert api.acting(Role.OPERATOR).put("/blobs/nonsense", content=DATA).status_code == 422
    assert kept(api.hub) == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Api]:
    """A hub that takes blobs of 100 000 bytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "hub.toml").write_text("[limits]\nblob_bytes_max = 100000\n")
    hub = Hub(settings.load(folder))
    client = TestClient(application(hub), base_url="http://hub/api/v1")
    yield Api(hub, client)
    hub.stop()


def pieces() -> Iterator[bytes]:
    for start in range(0, len(DATA), 10_000):
        yield DATA[start : start + 10_000]


def test_too_much_is_refused_when_it_is_announced_and_when_it_comes(small: Api) -> None:
    http = small.acting(Role.OPERATOR)
    for body in (DATA, pieces()):
        answer = http.put(PATH, content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
        assert (kept(small.hub), row(small.hub)) == ([], None)
    fits = DATA[:100_000]
    path = f"/blobs/{hashlib.sha256(fits).hexdigest()}"
    assert http.put(path, content=fits).status_code == 201


Receive = Callable[[], Awaitable[dict[str, Any]]]


def put_over(api: Api, receive: Receive, sha256: str = SHA256) -> list[dict[str, Any]]:
    """What the application sends to a request whose body comes from `receive`."""
    token = api.token(Role.OPERATOR)
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "PUT",
        "scheme": "http",
        "path": f"/api/v1/blobs/{sha256}",
        "raw_path": f"/api/v1/blobs/{sha256}".encode(),
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("hub", 80),
    }
    asyncio.run(application(api.hub)(scope, receive, send))
    return sent


def part(data: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


def test_a_sender_that_goes_away_leaves_nothing(api: Api) -> None:
    seen: list[list[Path]] = []

    async def receive() -> dict[str, Any]:
        seen.append(kept(api.hub))
        return part(DATA[:1000]) if len(seen) < 3 else {"type": "http.disconnect"}

    put_over(api, receive)
    assert len(seen[2]) == 1, "what came so far lay in a file"
    assert (kept(api.hub), row(api.hub)) == ([], None)
    assert api.acting(Role.OPERATOR).put(PATH, content=DATA).status_code == 201


def test_a_sender_that_falls_silent_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "UPLOAD_SILENCE_MAX_S", 0.05)
    calls = 0

    async def receive() -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls > 1:
            await asyncio.sleep(30)
        return part(DATA[:1000])

    start, _body = put_over(api, receive)
    assert start["status"] == 422
    assert (kept(api.hub), row(api.hub)) == ([], None)


def test_a_large_body_is_never_in_memory(api: Api) -> None:
    piece, count = bytes(256 * 1024), 160
    digest = hashlib.sha256(piece * count).hexdigest()
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 1
        return part(bytes(piece), more=sent < count)

    put_over(api, receive, digest)  # what is imported and compiled once is so before
    sent = 0
    tracemalloc.start()
    start, _body = put_over(api, receive, digest)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert start["status"] == 200
    assert api.hub.blobs.size_bytes(digest) == len(piece) * count
    assert peak_bytes < len(piece) * count / 4


def test_who_knows_what_a_blob_is_says_so(api: Api) -> None:
    http = api.acting(Role.OPERATOR)
    http.put(PATH, content=DATA)
    with api.hub.database.transaction() as session:
        service.add_bytes(session, api.hub.blobs, DATA, "image/png")
    assert http.get(PATH).headers["content-type"] == "image/png"
    with api.hub.database.transaction() as session:
        service.add_bytes(session, api.hub.blobs, DATA)
    assert http.get(PATH).headers["content-type"] == "image/png"


def test_the_client_uploads_a_file_and_tells_how_far_it_is(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(DATA * 2)
    transport = api.http._transport
    client = HubClient("http://hub", api.token(Role.OPERATOR), transport=transport)
    told: list[tuple[int, int]] = []
    digest = client.upload(path, lambda done, total: told.append((done, total)))
    assert digest == hashlib.sha256(DATA * 2).hexdigest()
    assert api.hub.blobs.read(digest) == DATA * 2
    assert told == [(262_144, 614_400), (524_288, 614_400), (614_400, 614_400)]
    assert client.upload(path) == digest
    with pytest.raises(CommandError, match="cannot be read"):
        client.upload(tmp_path / "none")
    viewer = HubClient("http://hub", api.token(Role.VIEWER), transport=transport)
    with pytest.raises(CommandError, match="operator"):
        viewer.upload(path)
