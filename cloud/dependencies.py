"""What routers ask for: the transaction of the request, who asks, pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal
from cloud.database import Database
from cloud.errors import UnauthenticatedError
from cloud.settings import Settings

PAGE_ITEMS_MAX = 1000
READING_METHODS = frozenset({"GET", "HEAD"})

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """One page of a list; `next` is the cursor of the page after it."""

    items: list[T]
    next: str | None = None


def page(items: Sequence[T], limit: int, cursor: str) -> Page[T]:
    """A page of `items`; a full one names `cursor` as the start of the next."""
    return Page(items=list(items), next=cursor if len(items) == limit else None)


def database_of(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def settings_of(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _session(request: Request) -> Iterator[Session]:
    """One request, one transaction; a reading request takes no write lock."""
    database = database_of(request)
    reads = request.method in READING_METHODS
    with database.reading() if reads else database.transaction() as session:
        yield session


_bearer = HTTPBearer(auto_error=False, description="a token of `argosy token create`")


def _principal(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    if credentials is None:
        raise UnauthenticatedError(
            "the request carries no token", "send `Authorization: Bearer <token>`"
        )
    with database_of(request).reading() as session:
        return access.authenticate(session, credentials.credentials)


# Scope "function" ends the dependency, and so commits, before the response is sent: a
# commit that fails is an error to the client, not a fault behind a 200.
SessionDep = Annotated[Session, Depends(_session, scope="function")]
PrincipalDep = Annotated[Principal, Depends(_principal)]
DatabaseDep = Annotated[Database, Depends(database_of)]
SettingsDep = Annotated[Settings, Depends(settings_of)]
LimitDep = Annotated[int, Query(ge=1, le=PAGE_ITEMS_MAX)]
