"""Groups: a name for whatever devices a selector names at the moment it is used."""

from __future__ import annotations

import pytest

from cloud.access.principal import Role, service_principal
from cloud.database import Database
from cloud.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from cloud.fleet import service
from tests.unit.cloud.conftest import OPERATOR, Api


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ("line=", "selector: cannot be read at the end"),
        (" ", "selector: it is empty"),
        ('hall="2\n"', r"selector: U\+000A is a control character"),
        ("line=a,group=other", "selector: a group cannot name a group"),
        ("group!=other", "selector: a group cannot name a group"),
    ],
)
def test_a_selector_that_cannot_be_a_groups_is_refused(
    database: Database, selector: str, said: str
) -> None:
    with database.transaction() as session, pytest.raises(InvalidError, match=said) as refused:
        service.create_group(session, OPERATOR, "pilot", selector)
    assert refused.value.remedy


def test_a_group_is_made_once_and_deleted_once(database: Database) -> None:
    with database.transaction() as session:
        service.create_group(session, OPERATOR, "pilot", "line=a")
    with database.transaction() as session, pytest.raises(ConflictError, match="pilot"):
        service.create_group(session, OPERATOR, "pilot", "line=b")
    with database.transaction() as session:
        service.delete_group(session, OPERATOR, "pilot")
    with database.transaction() as session, pytest.raises(NotFoundError, match="no group pilot"):
        service.delete_group(session, OPERATOR, "pilot")


def test_a_viewer_reads_groups_and_makes_none(database: Database) -> None:
    viewer = service_principal("v", Role.VIEWER)
    with database.transaction() as session:
        service.create_group(session, OPERATOR, "pilot", "line=a")
        assert [g.name for g in service.list_groups(session, viewer, None, 10)] == ["pilot"]
        with pytest.raises(ForbiddenError):
            service.create_group(session, viewer, "other", "line=a")
        with pytest.raises(ForbiddenError):
            service.delete_group(session, viewer, "pilot")


def test_groups_by_the_api_count_who_is_in_them_now(api: Api) -> None:
    http = api.acting(Role.OPERATOR)
    made = http.post("/groups", json={"name": "pilot", "selector": "line in (a,b)"})
    assert (made.status_code, made.json()["devices"]) == (201, 0)
    for name, line in (("box-1", "a"), ("box-2", "c")):
        http.post("/devices", json={"device_id": name, "labels": {"line": line}})
    http.post("/groups", json={"name": "all", "selector": "line"})

    shown = http.get("/groups", params={"limit": 1}).json()
    assert [(g["name"], g["devices"]) for g in shown["items"]] == [("all", 2)]
    rest = http.get("/groups", params={"limit": 1, "cursor": shown["next"]}).json()
    assert [(g["name"], g["devices"]) for g in rest["items"]] == [("pilot", 1)]
    assert http.get("/groups/pilot").json()["selector"] == "line in (a,b)"
    assert http.get("/groups/none").status_code == 404
    for body in ({"name": "a b", "selector": "x"}, {"name": "a"}, {"name": "a", "selector": ""}):
        assert http.post("/groups", json=body).status_code == 422
    assert http.delete("/groups/pilot").status_code == 204
    assert http.get("/groups/pilot").status_code == 404
