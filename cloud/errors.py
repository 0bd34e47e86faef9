"""Errors of the hub: each carries its HTTP status, names the thing and the remedy.

`answers` turns them all into `{"error": {"code", "message", "remedy"}}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from cloud.plain_text import shown

UNKNOWN_FIELD = "unknown_field"
"""The type of the error that tells of a field which a body does not have."""
_OWN_WORDS = ("value_error", UNKNOWN_FIELD)
_REMEDIES = {"missing": "add it"}
_OF_A_KEY = "[key]"
_VALIDATORS_PREFIX = "Value error, "
_NAMED = re.compile(r"([a-z][a-z0-9_.]*): ")


class HubError(Exception):
    """Base of what the hub refuses; subclasses set status and code."""

    http_status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class InvalidError(HubError):
    http_status = 422
    code = "invalid"


class NotFoundError(HubError):
    http_status = 404
    code = "not_found"


class ConflictError(HubError):
    http_status = 409
    code = "conflict"


class UnauthenticatedError(HubError):
    http_status = 401
    code = "unauthenticated"


class ForbiddenError(HubError):
    http_status = 403
    code = "forbidden"


class TooLargeError(HubError):
    http_status = 413
    code = "too_large"


class RangeError(HubError):
    http_status = 416
    code = "range_not_satisfiable"


class StorageError(HubError):
    http_status = 507
    code = "storage_failed"


class ConfigurationError(HubError):
    """The hub cannot start as it is configured."""

    http_status = 500
    code = "configuration"


def refusal(errors: Sequence[Mapping[str, Any]], remedy: str = "") -> InvalidError:
    """What pydantic finds wrong with a body, the first of it, as the hub says it.

    Args:
        errors: as `ValidationError.errors()` gives them. Words of our own checks end in their
            remedy, after a semicolon.
        remedy: where the error has none of its own; else the place is named.
    """
    first = errors[0]
    where, said = place_and_words(first["loc"], first["msg"])
    own = _REMEDIES.get(first["type"], "")
    said = said.replace("Field required", "it is missing").replace("Input should", "it should")
    if first["type"] in _OWN_WORDS and "; " in said:
        said, _, own = said.rpartition("; ")
    message = f"{where}: {said}" if where else said
    return InvalidError(message, own or remedy or f"correct {where or 'the request'}")


def place_and_words(place: Sequence[str | int], said: str) -> tuple[str, str]:
    """Which field is wrong, and why. What checks a whole body says the field itself."""
    parts = [shown(str(part)) for part in place if part != _OF_A_KEY]
    if parts[:1] == ["body"]:
        parts = parts[1:]
    own = said.removeprefix(_VALIDATORS_PREFIX)
    if own != said and (named := _NAMED.match(own)):
        parts.append(named[1])
        own = own[named.end() :]
    return ".".join(parts), own
