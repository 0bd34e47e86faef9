"""HTTP of evaluation: what a build was found to be worth."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from cloud.dependencies import PrincipalDep, SessionDep
from cloud.evaluation import service
from cloud.evaluation.schemas import EvaluationView

router = APIRouter(tags=["evaluation"])

DigestPath = Annotated[str, Path(pattern="^[0-9a-f]{6,64}$")]


@router.get("/builds/{digest}/evaluations")
def list_evaluations(
    digest: DigestPath, session: SessionDep, principal: PrincipalDep
) -> list[EvaluationView]:
    """Every evaluation of the build, oldest first."""
    return [EvaluationView.of(r) for r in service.evaluations_of(session, principal, digest)]
