"""How the API says no: every error in one shape, `{"error": {"code", "message", "remedy"}}`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cloud.errors import HubError, refusal

log = logging.getLogger(__name__)


def error_body(code: str, message: str, remedy: str = "") -> dict[str, dict[str, str]]:
    """The one shape in which the API says no."""
    return {"error": {"code": code, "message": message, "remedy": remedy}}


def explained_by(remedy: str) -> Callable[[Request], None]:
    """A route's dependency: what its refusals point to where a value is no such value."""

    def note(request: Request) -> None:
        request.state.remedy = remedy

    return note


def install(app: FastAPI) -> None:
    """Have `app` answer every error in the one shape."""
    app.add_exception_handler(HubError, _on_hub_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_hang_up)
    app.add_exception_handler(Exception, _on_fault)


async def _on_hub_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HubError)  # noqa: S101 - registered for this class
    headers = {"WWW-Authenticate": "Bearer"} if error.http_status == 401 else None
    body = error_body(error.code, error.message, error.remedy)
    return JSONResponse(body, status_code=error.http_status, headers=headers)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    said = refusal(error.errors(), getattr(request.state, "remedy", ""))
    return await _on_hub_error(request, said)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    message, remedy = str(error.detail), "see /openapi.json for what there is"
    if error.status_code == 404:
        message, remedy = f"there is nothing at {request.url.path}", "check the names and ids in it"
    body = error_body(code, message, remedy)
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _on_hang_up(request: Request, _: Exception) -> JSONResponse:
    """A device that lost its power or its network is no fault of the hub."""
    log.info("the sender of %s %s hung up", request.method, request.url.path)
    return JSONResponse(error_body("invalid", "the body was cut off", "send it again"), 400)


async def _on_fault(request: Request, error: Exception) -> JSONResponse:
    log.error("fault in %s %s", request.method, request.url.path, exc_info=error)
    body = error_body("fault", "the hub failed at this request", "see the hub's log")
    return JSONResponse(body, status_code=500)
