"""Errors of the hub: each carries its HTTP status, names the thing and the remedy.

`answers` turns them all into `{"error": {"code", "message", "remedy"}}`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

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


def place_and_words(place: Sequence[str | int], said: str) -> tuple[str, str]:
    """Which field is wrong, and why. What checks a whole body says the field itself."""
    parts = [str(part) for part in place]
    if parts[:1] == ["body"]:
        parts = parts[1:]
    own = said.removeprefix(_VALIDATORS_PREFIX)
    if own != said and (named := _NAMED.match(own)):
        parts.append(named[1])
        own = own[named.end() :]
    return ".".join(parts), own
