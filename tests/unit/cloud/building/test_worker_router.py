"""GPU workers over HTTP: who may be one, and what is taken of them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.access.principal import Role
from cloud.building import worker_desk
from protocol.chunks import sha256_hex
from tests.unit.cloud.building.desks import Waiter, hello, run_task
from tests.unit.cloud.conftest import Api

WORKER = "/worker"
ASKED = hello().model_dump(mode="json")


class Held:
    """A task that a worker has, over HTTP."""

    def __init__(self, http: httpx.Client, waiter: Waiter, view: dict[str, Any]) -> None:
        self.http, self.waiter = http, waiter
        self.id, self.lease, self.order = view["id"], view["lease"], view["order"]

    def ask(
        self, method: str, path: str, *, lease: str | None = None, **more: Any
    ) -> httpx.Response:
        query = {"lease": lease or self.lease, **more.pop("query", {})}
        return self.http.request(method, f"{WORKER}/tasks/{self.id}/{path}", params=query, **more)

    def bring(self, name: str, data: bytes, sha256: str | None = None) -> httpx.Response:
        query = {"sha256": sha256 or sha256_hex(data)}
        return self.ask("PUT", f"outputs/{name}", query=query, content=data)

    @property
    def left(self) -> set[str]:
        return {path.name for path in self.waiter.ordered.folder.iterdir()}


@pytest.fixture
def held(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    monkeypatch.setattr(worker_desk, "POLL_S", 0.01)
    over: list[bool] = []
    waiter = Waiter(api.hub.desk, run_task(tmp_path / "task"), canceled=lambda: bool(over))
    http = api.acting(Role.ADMINISTRATOR)
    claim = http.post(f"{WORKER}/claim", json=ASKED).json()
    assert claim["task"] is not None, claim
    yield Held(http, waiter, claim["task"])
    over.append(True)
    waiter.join()


def test_a_task_from_claim_to_result(held: Held, api: Api) -> None:
    for sha256, path in held.waiter.ordered.files.items():
        assert held.ask("GET", f"files/{sha256}").content == path.read_bytes()
    told = held.ask("POST", "progress", json={"done": 1, "total": 1})
    assert told.json() == {"wanted": True}
    for name in ("predictions", "summary", "stats"):
        assert held.bring(name, name.encode()).status_code == 200
    assert held.ask("POST", "result").status_code == 200
    assert held.ask("POST", "result").status_code in {404, 409}
    held.waiter.join()
    assert held.waiter.done is not None
    assert held.waiter.done.outputs["stats"].read_bytes() == b"stats"
    assert held.left == {"worker-predictions", "worker-summary", "worker-stats"}
    trail = [entry["verb"] for entry in held.http.get("/audit").json()["items"]]
    assert "worker.result" in trail


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_administrators_are_workers(held: Held, api: Api, role: Role) -> None:
    lease = held.lease
    http = api.acting(role)
    digest = next(iter(held.waiter.ordered.files))
    assert http.post(f"{WORKER}/claim", json=ASKED).status_code == 403
    for answer in (
        held.ask("GET", f"files/{digest}", lease=lease),
        held.ask("POST", "progress", json={"done": 0, "total": 0}),
        held.bring("summary", b"{}"),
        held.ask("POST", "result"),
        held.ask("POST", "failure", json={"message": "x"}),
    ):
        assert answer.status_code == 403
    assert held.left == set()
    assert http.get(WORKER).json()["tasks"][0]["worker"] == "gpu-1"


def test_without_a_token_nothing_is_said(api: Api) -> None:
    api.http.headers.pop("Authorization", None)
    assert api.http.get(WORKER).status_code == 401
    assert api.http.post(f"{WORKER}/claim", json=ASKED).status_code == 401


def test_another_lease_gets_and_leaves_nothing(held: Held) -> None:
    digest = next(iter(held.waiter.ordered.files))
    assert held.ask("GET", f"files/{digest}", lease="f" * 32).status_code == 409
    held.lease = "f" * 32
    assert held.bring("summary", b"{}").status_code == 409
    assert held.left == set()


def test_bytes_that_are_not_what_was_said_or_too_many_leave_nothing(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert held.bring("summary", b"{}", sha256="0" * 64).status_code == 422
    monkeypatch.setitem(worker_desk.OUTPUT_BYTES_MAX, "summary", 4)
    assert held.bring("summary", b"12345").status_code == 413
    assert held.bring("engine", b"x").status_code == 422
    assert held.bring("../../x", b"x").status_code in {404, 422}
    assert held.left == set()
    answer = held.ask("POST", "result")
    assert answer.status_code == 422
    assert "predictions" in answer.json()["error"]["message"]


def test_a_disk_that_is_full_is_no_fault_of_the_task(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(held.waiter.ordered.folder), "open", full)
    answer = held.bring("summary", b"{}")
    assert answer.status_code == 507
    assert "No space left" in answer.json()["error"]["message"]


def test_an_output_for_a_job_that_ended_finds_no_task(held: Held) -> None:
    held.waiter.ordered.folder.rmdir()
    assert held.bring("summary", b"{}").status_code == 404
    held.waiter.ordered.folder.mkdir()


def test_a_file_that_is_gone_is_said_to_be(held: Held) -> None:
    digest, path = next(iter(held.waiter.ordered.files.items()))
    path.unlink()
    assert held.ask("GET", f"files/{digest}").status_code == 404
    assert held.ask("GET", "files/zzz").status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "../x", "capabilities": ASKED["capabilities"]},
        {"name": "gpu", "capabilities": {}},
        {**ASKED, "more": 1},
    ],
)
def test_a_worker_that_does_not_say_what_it_is_gets_nothing(api: Api, body: Any) -> None:
    assert api.acting(Role.ADMINISTRATOR).post(f"{WORKER}/claim", json=body).status_code == 422


def test_a_failure_reaches_who_waits(held: Held) -> None:
    assert held.ask("POST", "failure", json={"message": "no engine"}).status_code == 200
    held.waiter.join()
    assert str(held.waiter.error) == "worker gpu-1: no engine"
