"""Tokens, roles, the audit, and the shape of a refusal."""

from __future__ import annotations

import pytest
from sqlmodel import Session

from cloud.access import service
from cloud.access.models import Token
from cloud.access.principal import (
    Principal,
    PrincipalKind,
    Role,
    require,
    require_device,
    service_principal,
)
from cloud.database import Database
from cloud.errors import ForbiddenError, UnauthenticatedError
from tests.unit.cloud.conftest import ADMINISTRATOR, Api

DEVICE = Principal(PrincipalKind.DEVICE, "line-1", Role.DEVICE)


@pytest.mark.parametrize("held", list(Role))
@pytest.mark.parametrize("needed", list(Role))
def test_a_role_may_do_what_those_below_it_may(held: Role, needed: Role) -> None:
    principal = service_principal("x", held)
    if held >= needed:
        require(principal, needed)
    else:
        with pytest.raises(ForbiddenError, match=needed.word):
            require(principal, needed)


def test_a_device_acts_for_itself_alone() -> None:
    assert require_device(DEVICE, "line-1") == require_device(DEVICE) == "line-1"
    for principal, device in ((DEVICE, "line-2"), (ADMINISTRATOR, "line-1"), (ADMINISTRATOR, None)):
        with pytest.raises(ForbiddenError):
            require_device(principal, device)


def test_a_token_is_stored_only_as_its_digest(database: Database) -> None:
    with database.transaction() as session:
        row, text = service.issue(session, PrincipalKind.USER, "ann", Role.VIEWER)
        assert len(text) > 43
        assert text not in str(row.model_dump())
        assert service.authenticate(session, text).name == "ann"


def test_tokens_are_all_different(database: Database) -> None:
    with database.transaction() as session:
        texts = {service.issue(session, PrincipalKind.USER, "a", Role.VIEWER)[1] for _ in range(50)}
    assert len(texts) == 50


def _revoked(session: Session) -> str:
    row, text = service.issue(session, PrincipalKind.USER, "ann", Role.VIEWER)
    service.revoke_token(session, ADMINISTRATOR, row.id)
    return text


def test_a_revoked_token_is_worthless(database: Database) -> None:
    with database.transaction() as session:
        text = _revoked(session)
    with database.reading() as session, pytest.raises(UnauthenticatedError):
        service.authenticate(session, text)


def test_the_api_wants_a_token(api: Api) -> None:
    answer = api.http.get("/devices")
    assert answer.status_code == 401
    assert set(answer.json()["error"]) == {"code", "message", "remedy"}
    assert api.bearing("argosy_guess").get("/devices").status_code == 401


def test_every_path_of_the_api_wants_a_token(api: Api) -> None:
    paths = api.http.app.openapi()["paths"]  # type: ignore[attr-defined]
    open_paths = []
    for path, methods in paths.items():
        if path.startswith("/api/"):
            filled = path.replace("{sha256}", "ab" * 32)
            for method in methods:
                answer = api.http.request(method, f"http://hub{filled}", json={})
                if answer.status_code != 401:
                    open_paths.append((method, path, answer.status_code))
    assert len(paths) > 30
    assert open_paths == []


def test_tokens_by_the_api(api: Api) -> None:
    http = api.acting(Role.ADMINISTRATOR)
    made = http.post("/tokens", json={"name": "ann", "role": "annotator"}).json()
    listed = http.get("/tokens").json()["items"]
    assert made["id"] in {t["id"] for t in listed}
    assert made["token"] not in str(listed)
    assert http.delete(f"/tokens/{made['id']}").json()["revoked_at"] is not None
    assert http.delete("/tokens/nope").status_code == 404
    verbs = [entry["verb"] for entry in http.get("/audit").json()["items"]]
    assert verbs == ["token.revoke", "token.create"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANNOTATOR, Role.OPERATOR, Role.APPROVER])
def test_only_an_administrator_makes_tokens(api: Api, role: Role) -> None:
    answer = api.acting(role).post("/tokens", json={"name": "ann", "role": "administrator"})
    assert answer.status_code == 403
    with api.hub.database.reading() as session:
        assert {t.name for t in service.list_tokens(session, ADMINISTRATOR, None, 100)} == {
            "somebody"
        }


def test_a_bad_field_is_named(api: Api) -> None:
    answer = api.acting(Role.ADMINISTRATOR).post("/tokens", json={"name": "ann", "role": "king"})
    assert answer.status_code == 422
    assert "role: " in answer.json()["error"]["message"]


def test_pages_lead_to_every_item(api: Api) -> None:
    with api.hub.database.transaction() as session:
        for number in range(7):
            service.issue(session, PrincipalKind.USER, f"u{number}", Role.VIEWER)
    http = api.acting(Role.ADMINISTRATOR)
    names, cursor = set(), None
    while True:
        page = http.get("/tokens", params={"limit": 3, **({"cursor": cursor} if cursor else {})})
        names |= {token["name"] for token in page.json()["items"]}
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert names == {*(f"u{n}" for n in range(7)), "somebody"}


def test_the_table_of_tokens_holds_no_text() -> None:
    assert set(Token.model_fields) == {
        "id", "kind", "name", "role", "sha256", "created_at", "revoked_at",
    }  # fmt: skip
