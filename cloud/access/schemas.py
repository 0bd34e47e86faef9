"""API shapes of access."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PersonRole = Literal["viewer", "annotator", "operator", "approver", "administrator"]
TokenName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]


class TokenCreate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: TokenName
    role: PersonRole
    kind: Literal["user", "service"] = "user"


class TokenView(BaseModel):
    id: str
    kind: str
    name: str
    role: str
    created_at: float
    revoked_at: float | None


class TokenCreated(TokenView):
    """The only answer that ever holds the token itself."""

    token: str


class AuditView(BaseModel):
    id: int
    at: float
    principal_kind: str
    principal: str
    verb: str
    subject: str
    detail: dict[str, Any]
