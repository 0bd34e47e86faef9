"""API shapes of promotion."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cloud.promotion.models import Evidence

Alias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{0,63}$")]
Number = Annotated[int, Field(ge=1)]


class GateBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    alias: Alias = "production"
    against: Number | None = None
    target: str | None = Field(default=None, min_length=1, max_length=128)


class PromoteBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: Number
    alias: Alias = "production"
    evidence: str | None = Field(default=None, min_length=1, max_length=64)
    force: bool = False
    reason: str = Field(default="", max_length=500)


class EvidenceView(BaseModel):
    id: str
    model: str
    alias: str
    candidate: int
    incumbent: int | None
    candidate_build: str
    incumbent_build: str | None
    verdict: str
    job: str | None
    at: float
    by: str

    @classmethod
    def of(cls, row: Evidence) -> EvidenceView:
        return cls(**row.model_dump(include=set(cls.model_fields)))


class PromotionView(BaseModel):
    """What an alias points at now.

    Attributes:
        moved: false where it pointed there already.
    """

    model: str
    alias: str
    number: int
    previous: int | None
    evidence: str | None
    verdict: str | None
    forced: bool
    reason: str
    moved: bool
