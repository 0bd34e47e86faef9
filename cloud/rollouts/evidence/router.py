"""HTTP of a rollout's evidence: the record, and the page that is drawn from it."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from cloud.dependencies import DatabaseDep, PrincipalDep, SessionDep
from cloud.pages import PAGE_HEADERS
from cloud.rollouts.evidence import gathering as evidence
from cloud.rollouts.evidence import page
from cloud.rollouts.naming import RolloutIdDep

router = APIRouter(tags=["rollouts"])


@router.get("/rollouts/{rollout_id}/evidence")
def get_evidence(
    rollout_id: RolloutIdDep, session: SessionDep, principal: PrincipalDep
) -> dict[str, Any]:
    """What was brought, who decided what and when, what became of it: the whole record, as it
    is now."""
    return evidence.collect(session, principal, rollout_id, time.time())


@router.get("/rollouts/{rollout_id}/evidence.html")
def get_page(
    rollout_id: RolloutIdDep, database: DatabaseDep, principal: PrincipalDep
) -> HTMLResponse:
    """The record as a page for people: one file with its plots inside."""
    with database.reading() as session:  # its plots take seconds, which nothing waits for
        record = evidence.collect(session, principal, rollout_id, time.time())
    return HTMLResponse(page.render(record), headers=PAGE_HEADERS | {"Cache-Control": "no-store"})
