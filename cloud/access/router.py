"""HTTP of access: /tokens and /audit."""

from __future__ import annotations

from fastapi import APIRouter

from cloud.access import service
from cloud.access.principal import PrincipalKind, Role
from cloud.access.schemas import AuditView, TokenCreate, TokenCreated, TokenView
from cloud.dependencies import LimitDep, Page, PrincipalDep, SessionDep, page

router = APIRouter(tags=["access"])


@router.post("/tokens", status_code=201)
def create_token(body: TokenCreate, session: SessionDep, principal: PrincipalDep) -> TokenCreated:
    row, text = service.create_token(
        session, principal, body.name, Role.of(body.role), PrincipalKind(body.kind)
    )
    return TokenCreated(**row.model_dump(), token=text)


@router.get("/tokens")
def list_tokens(
    session: SessionDep, principal: PrincipalDep, cursor: str | None = None, limit: LimitDep = 100
) -> Page[TokenView]:
    rows = service.list_tokens(session, principal, cursor, limit)
    items = [TokenView(**row.model_dump()) for row in rows]
    return page(items, limit, items[-1].id if items else "")


@router.delete("/tokens/{token_id}")
def revoke_token(token_id: str, session: SessionDep, principal: PrincipalDep) -> TokenView:
    return TokenView(**service.revoke_token(session, principal, token_id).model_dump())


@router.get("/audit")
def list_audit(
    session: SessionDep,
    principal: PrincipalDep,
    subject: str | None = None,
    cursor: int | None = None,
    limit: LimitDep = 100,
) -> Page[AuditView]:
    rows = service.list_audit(session, principal, subject, cursor, limit)
    items = [AuditView(**row.model_dump()) for row in rows]
    return page(items, limit, str(items[-1].id) if items else "")
