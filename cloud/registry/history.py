"""What is only ever added to: promotions, deployments, notes; and the aliases they move."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.reasons import REASON_CHARACTERS_MAX, check_reason
from cloud.registry import queries
from cloud.registry.models import Deployment, ModelAlias, Note, Promotion
from cloud.registry.reading import (
    admitted,
    builds_of,
    check_standing,
    get_build,
    get_model,
    get_version,
)

PRODUCTION = "production"
"""The alias that a gate guards; moved by hand it is forced."""

ENDS = frozenset({"finished", "stopped"})
"""Events after which a rollout gives nothing to any device any more."""

FLOOR_MOVED = "model.floor"
"""The verb of the audit under which moves of the floor are found."""

NOTE_CHARACTERS_MAX = 4000
_ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,63}")


def aliases(session: Session, principal: Principal, model: str) -> Sequence[ModelAlias]:
    """By name."""
    get_model(session, principal, model)
    return queries.aliases(session, model)


def alias(session: Session, principal: Principal, model: str, alias: str) -> int | None:
    """The number of the version that the alias points at; None where it points nowhere."""
    get_model(session, principal, model)
    row = session.get(ModelAlias, (model, alias))
    return None if row is None else row.number


def set_alias(
    session: Session,
    principal: Principal,
    model: str,
    alias: str,
    number: int | None,
    *,
    evidence: str | None = None,
    verdict: str | None = None,
    forced: bool = False,
    reason: str = "",
) -> Promotion | None:
    """Point an alias at a version (None: take it away) and record it as a promotion.

    Where it points there already, nothing is done and None returned.

    Raises:
        InvalidError: the alias is no plain word, or it is forced without a reason.
        NotFoundError: there is no such model, version or alias.
        ConflictError: the version is archived, revoked, or has no admitted build.
    """
    require(principal, Role.APPROVER)
    if not _ALIAS.fullmatch(alias):
        raise InvalidError(
            f"{alias[:80]!r} is no alias", "use a small letter, then letters, digits, . _ -"
        )
    check_reason(reason, f"{alias} is not {'forced' if forced else 'moved'}", needed=forced)
    get_model(session, principal, model)
    row = session.get(ModelAlias, (model, alias))
    previous = None if row is None else row.number
    if number is None and row is None:
        raise NotFoundError(
            f"{model} has no alias {alias}", f"`argosy model alias list {model}` shows them"
        )
    if number == previous:
        return None
    now = time.time()
    if number is None:
        session.delete(row)
    else:
        _check_target(session, principal, model, number)
        row = row or ModelAlias(model=model, alias=alias, number=number, set_at=0, set_by="")
        row.number, row.set_at, row.set_by = number, now, principal.name
        session.add(row)
    promotion = Promotion(
        model=model, alias=alias, number=number, previous=previous, evidence=evidence,
        verdict=verdict, forced=forced, reason=reason[:REASON_CHARACTERS_MAX], at=now,
        by=principal.name,
    )  # fmt: skip
    session.add(promotion)
    access.audit(
        session, principal, "model.alias", f"model/{model}",
        alias=alias, number=number, previous=previous, forced=forced, reason=reason,
    )  # fmt: skip
    session.flush()
    return promotion


def promotions(session: Session, principal: Principal, model: str) -> Sequence[Promotion]:
    """Oldest first."""
    get_model(session, principal, model)
    return queries.promotions(session, model)


def record_deployment(
    session: Session,
    principal: Principal,
    model: str,
    number: int,
    *,
    rollout: str,
    event: str,
    devices: int = 0,
    detail: Mapping[str, Any] | None = None,
    at: float | None = None,
) -> Deployment:
    """Add one event of a rollout; whoever moves the rollout has been let to."""
    row = Deployment(
        model=model,
        number=number,
        rollout=rollout,
        event=event,
        devices=devices,
        detail=dict(detail or {}),
        at=time.time() if at is None else at,
        by=principal.name,
    )
    session.add(row)
    session.flush()
    return row


def deployments(session: Session, principal: Principal, model: str) -> Sequence[Deployment]:
    """Oldest first."""
    get_model(session, principal, model)
    return queries.deployments(session, model)


def open_rollouts(session: Session, model: str) -> dict[str, int]:
    """Rollout → version of the model's rollouts whose last event is no end."""
    last = {row.rollout: row for row in queries.deployments(session, model)}
    return {rollout: row.number for rollout, row in last.items() if row.event not in ENDS}


def timeline(session: Session, principal: Principal, model: str) -> list[dict[str, Any]]:
    """Promotions, deployments and moves of the floor in one line of time, oldest first."""
    entries = [
        {"kind": kind, **row.model_dump(exclude={"id", "model"})}
        for kind, rows in (
            ("promotion", promotions(session, principal, model)),
            ("deployment", deployments(session, principal, model)),
        )
        for row in rows
    ]
    entries += [
        {
            "kind": "floor",
            "at": row.at,
            "by": row.principal,
            "number": row.detail.get("floor"),
            "previous": row.detail.get("before"),
            "reason": row.detail.get("reason"),
        }
        for row in access.deeds(session, FLOOR_MOVED, f"model/{model}")
    ]
    return sorted(entries, key=lambda entry: entry["at"])


def add_note(session: Session, principal: Principal, subject: str, text: str) -> Note:
    """Write something about `model/NAME`, `model/NAME/NUMBER` or `build/DIGEST`.

    Raises:
        NotFoundError: there is no such thing.
        InvalidError: the text is empty or too long, or the subject is none of these.
    """
    require(principal, Role.OPERATOR)
    subject = _subject(session, principal, subject)
    text = text.strip()
    if not 0 < len(text) <= NOTE_CHARACTERS_MAX:
        raise InvalidError(
            f"a note has 1 to {NOTE_CHARACTERS_MAX} characters, not {len(text)}",
            "write something, or several notes",
        )
    note = Note(subject=subject, text=text, at=time.time(), by=principal.name)
    session.add(note)
    access.audit(session, principal, "note.add", subject)
    session.flush()
    return note


def notes(session: Session, principal: Principal, subject: str) -> Sequence[Note]:
    """What was written about a subject, oldest first."""
    require(principal, Role.VIEWER)
    return queries.notes(session, subject)


def _check_target(session: Session, principal: Principal, model: str, number: int) -> None:
    version = get_version(session, principal, model, number)
    check_standing(session, model, number)
    if not any(admitted(build) for build in builds_of(session, version)):
        raise ConflictError(
            f"every build of {model} v{number} is rejected",
            "make a build that its evaluation admits, or reinstate one",
        )


def _subject(session: Session, principal: Principal, subject: str) -> str:
    """The subject, with the whole digest of a build. Raises where there is no such thing."""
    kind, _, rest = subject.partition("/")
    name, _, number = rest.partition("/")
    if kind == "build" and rest:
        return f"build/{get_build(session, principal, rest).digest}"
    if kind == "model" and name and not number:
        get_model(session, principal, name)
    elif kind == "model" and number.isdecimal() and len(number) < 10:
        get_version(session, principal, name, int(number))
    else:
        raise InvalidError(
            f"{subject[:80]!r} is nothing to write about",
            "name model/NAME, model/NAME/NUMBER or build/DIGEST",
        )
    return subject
