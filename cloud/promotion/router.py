"""HTTP of promotion: gates, evidence, aliases moved by them."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from cloud.blobs.router import BlobsDep
from cloud.database import after_commit
from cloud.dependencies import LimitDep, Page, PrincipalDep, SessionDep, page
from cloud.jobs.router import JobsDep
from cloud.jobs.schemas import JobView
from cloud.pages import PAGE_HEADERS
from cloud.promotion import service
from cloud.promotion.schemas import (
    EvidenceView,
    GateBody,
    PolicyBody,
    PolicyView,
    PromoteBody,
    PromotionView,
)
from cloud.registry.schemas import Number

router = APIRouter(tags=["promotion"])

# A record never changes, nor does its page.
PAGE_CACHE = {"Cache-Control": "private, max-age=86400, immutable"}


@router.post("/models/{name}/versions/{number}/gate", status_code=202)
def request_gate(
    name: str,
    number: Number,
    body: GateBody,
    *,
    session: SessionDep,
    principal: PrincipalDep,
    runner: JobsDep,
) -> JobView:
    """Compare a version with what an alias points at. The job's result names the evidence."""
    job = service.request_gate(
        session,
        principal,
        name,
        number,
        alias=body.alias,
        against=body.against,
        target=body.target,
        to_promote=body.to_promote,
    )
    after_commit(session, runner.wake)
    return JobView.of(job)


@router.get("/models/{name}/policy")
def get_policy(name: str, session: SessionDep, principal: PrincipalDep) -> PolicyView:
    """What a gate demands of the model's candidates."""
    return PolicyView.of(name, service.policy_of(session, principal, name))


@router.put("/models/{name}/policy")
def set_policy(
    name: str, body: PolicyBody, session: SessionDep, principal: PrincipalDep
) -> PolicyView:
    """Change what is named; the rest of the policy stays."""
    policy = service.set_policy(session, principal, name, body.set, body.unset)
    return PolicyView.of(name, policy)


@router.get("/models/{name}/evidence")
def list_evidence(
    name: str,
    session: SessionDep,
    principal: PrincipalDep,
    cursor: float | None = None,
    limit: LimitDep = 100,
) -> Page[EvidenceView]:
    rows = service.list_evidence(session, principal, name, cursor, limit)
    items = [EvidenceView.of(row) for row in rows]
    return page(items, limit, repr(items[-1].at) if items else "")


@router.get("/models/{name}/versions/{number}/evidence")
def valid_evidence(
    name: str,
    number: Number,
    session: SessionDep,
    principal: PrincipalDep,
    alias: str = service.PRODUCTION,
) -> EvidenceView | None:
    """The newest against what the alias points at now; null where there is none."""
    found = service.valid_evidence(session, principal, name, number, alias)
    return None if found is None else EvidenceView.of(found)


@router.get("/evidence/{evidence_id}")
def get_evidence(
    evidence_id: str, session: SessionDep, principal: PrincipalDep, store: BlobsDep
) -> dict[str, Any]:
    """The whole record."""
    row = service.get_evidence(session, principal, evidence_id)
    record: dict[str, Any] = json.loads(store.read(row.record_sha256))
    return record


@router.get("/evidence/{evidence_id}/page")
def get_page(
    evidence_id: str, session: SessionDep, principal: PrincipalDep, store: BlobsDep
) -> HTMLResponse:
    """The record as a page for people."""
    row = service.get_evidence(session, principal, evidence_id)
    return HTMLResponse(store.read(row.page_sha256), headers=PAGE_HEADERS | PAGE_CACHE)


@router.post("/models/{name}/promote")
def promote(
    name: str, body: PromoteBody, session: SessionDep, principal: PrincipalDep
) -> PromotionView:
    """Point an alias at a version."""
    done = service.promote(
        session,
        principal,
        name,
        body.number,
        body.alias,
        evidence=body.evidence,
        force=body.force,
        reason=body.reason,
    )
    if done is None:
        return PromotionView(
            model=name, alias=body.alias, number=body.number, previous=body.number,
            evidence=None, verdict=None, forced=False, reason="", moved=False,
        )  # fmt: skip
    values = done.model_dump(include=set(PromotionView.model_fields))
    return PromotionView(**{**values, "number": body.number}, moved=True)
