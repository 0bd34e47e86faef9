"""API shapes of promotion."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cloud.promotion.models import Evidence
from cloud.promotion.policy import GatePolicy
from cloud.registry.schemas import BodyNumber, Reason

Alias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{0,63}$")]


class GateBody(BaseModel):
    """What a gate is to compare.

    Attributes:
        to_promote: the alias is to be moved by its PASS, so that who asks must be allowed to.
    """

    model_config = ConfigDict(extra="forbid")

    alias: Alias = "production"
    against: BodyNumber | None = None
    target: str | None = Field(default=None, min_length=1, max_length=128)
    to_promote: bool = False


class PromoteBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: BodyNumber
    alias: Alias = "production"
    evidence: str | None = Field(default=None, min_length=1, max_length=64)
    force: bool = False
    reason: Reason = ""


class PolicyBody(BaseModel):
    """Changes of a model's gate policy.

    Attributes:
        set: values by name.
        unset: names whose default is to hold again.
    """

    model_config = ConfigDict(extra="forbid")

    set: dict[str, Any] = Field(default_factory=dict, max_length=64)
    unset: list[Annotated[str, Field(max_length=128)]] = Field(default=[], max_length=64)


class PolicyView(BaseModel):
    """What a gate demands of a model's candidates.

    Attributes:
        values: by name, all of them.
        overrides: those that the model sets; the others are defaults.
    """

    model: str
    values: dict[str, Any]
    overrides: dict[str, Any]

    @classmethod
    def of(cls, model: str, policy: GatePolicy) -> PolicyView:
        return cls(
            model=model,
            values=policy.model_dump(mode="json"),
            overrides=policy.model_dump(mode="json", exclude_unset=True),
        )


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
