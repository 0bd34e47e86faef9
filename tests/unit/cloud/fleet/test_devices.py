"""What a device is called by: changed by people, and read by selectors."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.access.principal import Role
from cloud.fleet import service
from cloud.fleet.models import Device
from tests.unit.cloud.conftest import Api

LABELS = {"line": "a", "shift": "day"}
BOX = {"device_id": "box-1", "labels": LABELS, "models": ["caps"]}


@pytest.fixture
def box(api: Api) -> Api:
    http = api.acting(Role.OPERATOR)
    assert http.post("/sites", json={"name": "ulm"}).status_code == 201
    assert http.post("/devices", json=BOX).status_code == 201
    return api


@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ({}, (None, LABELS, ["caps"])),
        ({"site": "ulm"}, ("ulm", LABELS, ["caps"])),
        (
            {"labels": {"line": "b", "hall": "2"}},
            (None, {**LABELS, "line": "b", "hall": "2"}, ["caps"]),
        ),
        ({"labels": {"shift": None, "none": None}}, (None, {"line": "a"}, ["caps"])),
        ({"models": ["caps", "bottles"]}, (None, LABELS, ["caps", "bottles"])),
    ],
)
def test_only_what_is_given_changes(box: Api, changes: dict[str, Any], now: Any) -> None:
    answer = box.acting(Role.OPERATOR).patch("/devices/box-1", json=changes)
    assert answer.status_code == 200
    shown = box.http.get("/devices/box-1").json()
    assert (shown["site"], shown["labels"], shown["models"]) == now


def test_a_site_is_left_by_null(box: Api) -> None:
    http = box.acting(Role.OPERATOR)
    http.patch("/devices/box-1", json={"site": "ulm"})
    http.patch("/devices/box-1", json={"site": None})
    assert http.get("/devices/box-1").json()["site"] is None


def test_rollouts_are_told_of_a_change(box: Api) -> None:
    with box.hub.database.transaction() as session:
        service.forget(session, service.changed(session, 9))
    box.acting(Role.OPERATOR).patch("/devices/box-1", json={"labels": {"line": "b"}})
    with box.hub.database.reading() as session:
        assert set(service.changed(session, 9)) == {"box-1"}


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"site": "moon"}, 404, "site: there is no site moon"),
        ({"labels": {"site": "ulm"}}, 422, "labels.site: selectors read site as the hub's own"),
        ({"labels": {f"l{n}": "x" for n in range(63)}}, 422, "labels: 65 are over 64"),
        ({"labels": {"ä": "x"}}, 422, "labels: 'ä' is no name that selectors read"),
        ({"labels": {"hall no": "2"}}, 422, "labels: 'hall no' is no name that"),
        ({"labels": {"in": "2"}}, 422, "labels: 'in' is no name that"),
        ({"labels": {"a\x1b[2J": "2"}}, 422, "labels: 'a\\x1b[2J' is no name that"),
        ({"labels": {"hall": "2\n"}}, 422, "labels.hall: U+000A is a control character"),
        ({"labels": {"hall": "\u202e2"}}, 422, "labels.hall: U+202E is a control character"),
        ({"models": ["a\x9b"]}, 422, "models.0: U+009B is a control character"),
        ({"lables": {}}, 422, "lables: "),
    ],
)
def test_what_cannot_be_is_refused_by_field(
    box: Api, changes: dict[str, Any], status: int, said: str
) -> None:
    answer = box.acting(Role.OPERATOR).patch("/devices/box-1", json=changes)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]
    assert box.http.get("/devices/box-1").json()["labels"] == LABELS


def test_who_looks_only_changes_nothing(box: Api) -> None:
    assert box.acting(Role.VIEWER).patch("/devices/box-1", json={"models": []}).status_code == 403
    assert box.acting(Role.OPERATOR).patch("/devices/box-9", json={}).status_code == 404


def test_a_label_of_the_hubs_own_name_is_not_enrolled_with(box: Api) -> None:
    body = {"device_id": "box-2", "labels": {"group": "pilot"}}
    assert box.acting(Role.OPERATOR).post("/devices", json=body).status_code == 422


@pytest.mark.parametrize("name", ["a\n", "a\x1b[2J", "\u202ea", "a b", "", "-a", "a" * 65])
@pytest.mark.parametrize(
    ("path", "field", "others"),
    [
        ("/devices", "device_id", {}),
        ("/sites", "name", {}),
        ("/groups", "name", {"selector": "line=a"}),
    ],
)
def test_a_name_that_no_line_could_show_is_refused(
    box: Api, path: str, field: str, others: dict[str, str], name: str
) -> None:
    answer = box.acting(Role.OPERATOR).post(path, json={field: name, **others})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["message"] == f"{field}: {name!r} is no name"
    assert "letters, digits" in error["remedy"]


@pytest.mark.parametrize("labels", [{"ä b": "x"}, {"in": "\x1b"}])
def test_labels_of_former_rules_are_read_and_do_not_hinder(
    box: Api, labels: dict[str, str]
) -> None:
    with box.hub.database.transaction() as session:
        session.get_one(Device, "box-1").labels = labels
    http = box.acting(Role.OPERATOR)
    assert http.patch("/devices/box-1", json={"labels": {"hall": "2"}}).status_code == 200
    assert http.get("/devices/box-1").json()["labels"] == {**labels, "hall": "2"}
    gone = dict.fromkeys(labels, None)
    assert http.patch("/devices/box-1", json={"labels": gone}).json()["labels"] == {"hall": "2"}


def test_devices_are_listed_by_selector_in_pages(box: Api) -> None:
    http = box.acting(Role.OPERATOR)
    http.post("/groups", json={"name": "night", "selector": "shift=night"})
    for number in range(2, 8):
        shift = "night" if number % 2 else "day"
        http.post("/devices", json={"device_id": f"box-{number}", "labels": {"shift": shift}})
    seen: list[str] = []
    cursor = None
    while True:
        query = {"selector": "group=night", "limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = http.get("/devices", params=query).json()
        seen += [device["id"] for device in answer["items"]]
        cursor = answer["next"]
        if cursor is None:
            break
    assert seen == ["box-3", "box-5", "box-7"]
    assert http.get("/devices", params={"selector": "a=b=c"}).status_code == 422
    assert http.get("/devices", params={"selector": "group=x"}).status_code == 404


def test_a_page_is_filled_from_a_large_fleet(box: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.fleet.groups.READ_AT_ONCE", 2)
    http = box.acting(Role.OPERATOR)
    for number in range(2, 8):
        http.post("/devices", json={"device_id": f"box-{number}", "labels": {"n": f"{number}"}})
    found = http.get("/devices", params={"selector": "n in (2,6,7)", "limit": 2}).json()
    assert [device["id"] for device in found["items"]] == ["box-2", "box-6"]
