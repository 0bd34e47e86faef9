"""What people at the device ask of the running agent: files in `data_dir/requests`.

    <kind>-<slot>.json           a request, left whole by a command or the local page
    answer-<kind>-<slot>.json    what the agent said to the last one, with its number

Only the device's own user can write there. The agent takes a request off the disk before it
acts upon it, so that none is carried out twice; one that a kill swallows gets no answer, and
its asker says so. A request waits for nobody: an old one is refused.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Literal

import structlog
from pydantic import Field, ValidationError

from edge_agent.errors import EdgeError
from edge_agent.section import Identifier
from edge_agent.store import StateFile, Store, write_atomically
from protocol.messages import Text, Word, as_text

FOLDER = "requests"
REQUEST_BYTES_MAX = 8192
REQUESTS_MAX = 256
AGE_S_MAX = 60.0
HOLD_S_MAX = 90 * 86_400.0
POLL_S = 0.1
ANSWER, ASIDE = "answer-", "aside-"

Kind = Literal["rollback", "hold", "release"]

_NAME = re.compile(r"(rollback|hold|release)-[A-Za-z0-9][A-Za-z0-9._-]{0,63}\.json")

log = structlog.get_logger(__name__)


class RequestError(EdgeError):
    """A request that could not be left, or that nobody took; the text says what to do."""


class Request(StateFile):
    """Something that a person asks of a slot.

    Attributes:
        id: a random number that the answer repeats.
        asked_at: Unix time (s).
        for_s: how long a hold is to last.
        force: go back also to what was left by hand, or did not stand its last attempt.
        by: who asked, for the log and the alert.
    """

    version: int = 1
    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    kind: Kind
    slot: Identifier
    asked_at: float = Field(allow_inf_nan=False)
    for_s: float = Field(default=0.0, ge=0, le=HOLD_S_MAX, allow_inf_nan=False)
    force: bool = False
    by: Word = "somebody at the device"


class Answer(StateFile):
    """What the agent made of a request."""

    version: int = 1
    id: str
    ok: bool
    text: Text = ""


def refusal(request: Request, slots: Collection[str], wall: float) -> str:
    """Why a request is not carried out at `wall` (Unix s); "" where it is."""
    if request.slot not in slots:
        return f"no slot is called {request.slot}; this device has {', '.join(slots)}"
    if not -AGE_S_MAX <= wall - request.asked_at <= AGE_S_MAX:
        return f"the request is not of the last {AGE_S_MAX:g} s; ask again"
    return ""


# ---- the agent's side ------------------------------------------------------------------


def take(store: Store, slots: Collection[str], wall: float) -> list[Request]:
    """The requests that wait, each off the disk; what cannot be carried out is answered here.

    What cannot be taken off the disk is left alone: it would be carried out again and again.
    """
    found = []
    for path in _waiting(store.data_dir / FOLDER):
        raw = _read(path)
        try:
            path.unlink()
        except OSError as error:
            _set_aside(path, error)
            continue
        request = _parse(raw, path)
        if request is None:
            continue
        why = refusal(request, slots, wall)
        log.info("request", kind=request.kind, slot=request.slot, by=request.by, refused=why)
        if why:
            answer(store, request, ok=False, text=why)
        else:
            found.append(request)
    return found


def answer(store: Store, request: Request, *, ok: bool, text: str) -> None:
    """Tell the asker; where the disk refuses, it has to look at the status."""
    told = Answer(id=request.id, ok=ok, text=as_text(text))
    try:
        write_atomically(_answer_path(store.data_dir, request), told.model_dump_json().encode())
    except OSError as error:
        log.warning("request_not_answered", kind=request.kind, error=str(error))


def _waiting(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if _NAME.fullmatch(e.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        log.debug("requests_unreadable", error=str(error))
        return []
    return [folder / name for name in names[:REQUESTS_MAX]]


def _read(path: Path) -> bytes | None:
    """A regular file's bytes, bounded; None for anything else. Never waits for a writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return os.read(descriptor, REQUEST_BYTES_MAX + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _set_aside(path: Path, error: OSError) -> None:
    """Give what cannot be taken off the disk, a folder for one, a name that is not read again."""
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise error
        path.rename(path.with_name(f"{ASIDE}{path.name}.{time.time_ns()}"))
    except OSError:
        log.debug("request_not_taken", path=str(path), error=str(error))
    else:
        log.warning("request_set_aside", path=str(path), reason="a folder is no request")


def _parse(raw: bytes | None, path: Path) -> Request | None:
    request, why = None, "it is no file of a request's size"
    if raw is not None and len(raw) <= REQUEST_BYTES_MAX:
        try:
            request = Request.model_validate_json(raw)
        except ValidationError as error:
            why = str(error.errors()[0]["msg"])
    if request is not None and (request.version != 1 or path.name != _name(request)):
        request, why = None, "it is of another version, or not what its name says"
    if request is None:
        log.warning("request_malformed", name=path.name, reason=why)
    return request


# ---- the asker's side ------------------------------------------------------------------


def leave(data_dir: Path, request: Request) -> None:
    """Leave a request for the running agent. Raises RequestError where that is impossible."""
    folder = data_dir / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _answer_path(data_dir, request).unlink(missing_ok=True)
        write_atomically(folder / _name(request), request.model_dump_json().encode())
    except OSError as error:
        raise RequestError(
            f"cannot leave a request in {folder}: {error.strerror}; run this as the agent's "
            "user, and see that the disk has room"
        ) from error


def await_answer(
    data_dir: Path,
    request: Request,
    timeout_s: float,
    sleep: Callable[[float], object] = time.sleep,
) -> Answer:
    """The agent's answer to a request that was left.

    Raises:
        RequestError: none came in `timeout_s`; a request that was not taken is withdrawn.
    """
    path = _answer_path(data_dir, request)
    for _ in range(max(1, round(timeout_s / POLL_S))):
        raw = _read(path)
        if raw is not None:
            with suppress(ValueError):
                told = Answer.model_validate_json(raw)
                if told.id == request.id:
                    path.unlink(missing_ok=True)
                    return told
        sleep(POLL_S)
    try:
        (data_dir / FOLDER / _name(request)).unlink()
    except OSError:
        text = "the agent took the request and has not answered; see `argosy-agent status`"
    else:
        text = f"the agent did not take the request in {timeout_s:g} s; does it hang?"
    raise RequestError(text)


def _name(request: Request) -> str:
    return f"{request.kind}-{request.slot}.json"


def _answer_path(data_dir: Path, request: Request) -> Path:
    return data_dir / FOLDER / f"{ANSWER}{_name(request)}"
