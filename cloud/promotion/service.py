"""Verbs of promotion: ask the gate, read its evidence, move an alias."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.blobs import service as blobs
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.jobs import service as jobs
from cloud.jobs.models import Job
from cloud.promotion import queries
from cloud.promotion.models import Evidence
from cloud.promotion.policy import GatePolicy, of_model
from cloud.reasons import check_reason
from cloud.registry import service as registry
from cloud.registry.models import Build, Promotion
from protocol.builds import BuildIdentity
from protocol.chunks import BlobRef
from protocol.states import Verdict

GATE = "gate"
PRODUCTION = "production"
RECORD_TYPE, PAGE_TYPE = "application/json", "text/html; charset=utf-8"
_FIRST_CHOICE = "onnx-fp32"


@dataclass(frozen=True)
class Pairing:
    """Which two builds a gate compares: the same target of both versions."""

    candidate: Build
    incumbent: Build | None


def request_gate(
    session: Session,
    principal: Principal,
    model: str,
    candidate: int,
    *,
    alias: str = PRODUCTION,
    against: int | None = None,
    target: str | None = None,
    to_promote: bool = False,
) -> Job:
    """Queue a gate of version `candidate` against `against`, else what `alias` points at.

    Args:
        target: label of the builds to compare; None: onnx-fp32 where both have it, else the
            first that both have.
        to_promote: who asks means to move the alias after it, and must be allowed to.

    Raises:
        ForbiddenError: it takes an operator, or who may move the alias.
        NotFoundError: no such model or version, or they have no build of one target.
        ConflictError: the candidate is the incumbent, or a gate of it is queued already.
        InvalidError: the model's gate policy is none.
    """
    require(principal, _mover(alias) if to_promote else Role.OPERATOR)
    version = registry.get_version(session, principal, model, candidate)
    incumbent = registry.alias(session, principal, model, alias) if against is None else against
    if incumbent == candidate:
        raise ConflictError(
            f"{model} v{candidate} is what {alias} points at", "name another version"
        )
    policy_of(session, principal, model)
    pairing(session, principal, model, candidate, incumbent, target=target)
    subject = f"model/{model}/{version.number}"
    for job in jobs.open_of(session, subject):
        if job.kind == GATE:
            raise ConflictError(
                f"a gate of {model} v{candidate} is {job.state.lower()} already",
                f"`argosy job watch {job.id}`",
            )
    return jobs.request(
        session,
        principal,
        GATE,
        subject,
        {
            "model": model,
            "candidate": candidate,
            "incumbent": incumbent,
            "alias": alias,
            "target": target,
        },
    )


def _mover(alias: str) -> Role:
    """Who may move an alias."""
    return Role.APPROVER if alias == PRODUCTION else Role.OPERATOR


def policy_of(session: Session, principal: Principal, model: str) -> GatePolicy:
    """What a gate demands of the model's candidates; its fields that were set are not defaults.

    Raises InvalidError where the model was given a policy that is none.
    """
    row = registry.get_model(session, principal, model)
    return of_model(row.policy, tuple(row.class_names))


def set_policy(
    session: Session,
    principal: Principal,
    model: str,
    changes: Mapping[str, Any],
    unset: Collection[str] = (),
) -> GatePolicy:
    """Override some of the gate's defaults for a model, and let others hold again.

    Raises:
        ForbiddenError: whoever asks is no approver.
        InvalidError: a name is unknown, a value is out of range or a class is none of the
            model's; nothing is changed then.
    """
    require(principal, Role.APPROVER)
    row = registry.get_model(session, principal, model)
    unknown = sorted(set(unset) - set(GatePolicy.model_fields) - set(row.policy))
    if unknown:
        raise InvalidError(
            f"{unknown[0][:80]!r} is no part of a gate policy",
            f"it may set {', '.join(GatePolicy.model_fields)}",
        )
    kept = {name: value for name, value in row.policy.items() if name not in unset}
    policy = of_model({**kept, **changes}, tuple(row.class_names))
    registry.set_policy(
        session, principal, model, policy.model_dump(mode="json", exclude_unset=True)
    )
    return policy


def pairing(
    session: Session,
    principal: Principal,
    model: str,
    candidate: int,
    incumbent: int | None,
    *,
    target: str | None = None,
) -> Pairing:
    """The builds to compare. Raises NotFoundError where there are none of one target."""
    ours = _builds(session, principal, model, candidate)
    theirs = None if incumbent is None else _builds(session, principal, model, incumbent)
    common = [label for label in ours if theirs is None or label in theirs]
    chosen = [label for label in common if target is None or label.startswith(target)]
    if not chosen:
        wanted = target or "one target"
        have = ", ".join(ours) or "none"
        had = "" if theirs is None else f", v{incumbent} has {', '.join(theirs) or 'none'}"
        raise NotFoundError(
            f"{model} v{candidate} has no admitted build of {wanted} to compare "
            f"(it has {have}{had})",
            f"`argosy build start {model} {candidate}{_lacking(theirs or {}, target)}` makes one",
        )
    label = _first_choice(chosen)
    return Pairing(ours[label], None if theirs is None else theirs[label])


def _first_choice(labels: Sequence[str]) -> str:
    return next((label for label in labels if label.startswith(_FIRST_CHOICE)), labels[0])


def _lacking(theirs: Mapping[str, Build], target: str | None) -> str:
    """The option that makes the candidate a build of the incumbent's target and input size;
    nothing where the incumbent has none of that target either."""
    labels = [label for label in theirs if target is None or label.startswith(target)]
    if not labels:
        return ""
    label = _first_choice(labels)
    identity = BuildIdentity.model_validate(theirs[label].identity)
    width, height, batch = identity.input_width, identity.input_height, identity.batch
    name = label.split(f"-{width}x{height}", 1)[0]
    side = f"{width}" if width == height else f"{width}x{height}"
    return f" --target {name}@{side}{'' if batch == 1 else f'x{batch}'}"


def _builds(session: Session, principal: Principal, model: str, number: int) -> dict[str, Build]:
    """Admitted builds of a version by their label."""
    version = registry.get_version(session, principal, model, number)
    return {
        BuildIdentity.model_validate(build.identity).label(): build
        for build in registry.builds_of(session, version)
        if registry.admitted(build)
    }


def record_evidence(
    session: Session, principal: Principal, evidence: Evidence, record: BlobRef, page: BlobRef
) -> Evidence:
    """Keep what a gate found; its blobs are in the store already."""
    evidence.record_sha256 = blobs.record(session, record, RECORD_TYPE).sha256
    evidence.page_sha256 = blobs.record(session, page, PAGE_TYPE).sha256
    session.add(evidence)
    access.audit(
        session, principal, "gate.verdict", f"model/{evidence.model}/{evidence.candidate}",
        evidence=evidence.id, verdict=evidence.verdict, incumbent=evidence.incumbent,
    )  # fmt: skip
    session.flush()
    return evidence


def get_evidence(session: Session, principal: Principal, evidence_id: str) -> Evidence:
    """Raises NotFoundError where there is none."""
    require(principal, Role.VIEWER)
    found = session.get(Evidence, evidence_id)
    if found is None:
        raise NotFoundError(
            f"there is no evidence {evidence_id}", "`argosy promote history MODEL` lists it"
        )
    return found


def list_evidence(
    session: Session, principal: Principal, model: str, before: float | None, limit: int
) -> Sequence[Evidence]:
    """Newest first."""
    registry.get_model(session, principal, model)
    return queries.evidence_of(session, model, before, limit)


def valid_evidence(
    session: Session, principal: Principal, model: str, number: int, alias: str = PRODUCTION
) -> Evidence | None:
    """The newest evidence of a version against what the alias points at now."""
    incumbent = registry.alias(session, principal, model, alias)
    return queries.newest_for(session, model, number, alias, incumbent)


def promote(
    session: Session,
    principal: Principal,
    model: str,
    number: int,
    alias: str = PRODUCTION,
    *,
    evidence: str | None = None,
    force: bool = False,
    reason: str = "",
) -> Promotion | None:
    """Point `alias` at a version; None where it does so already.

    `production` takes an approver, and a PASS of exactly this version against what the alias
    points at now; or `force` with a reason, which is recorded as such.

    Raises:
        ForbiddenError, InvalidError, NotFoundError, ConflictError: with what is lacking.
    """
    require(principal, _mover(alias))
    registry.get_version(session, principal, model, number)
    found = (
        valid_evidence(session, principal, model, number, alias)
        if evidence is None
        else get_evidence(session, principal, evidence)
    )
    if found is not None:
        _check_subject(found, model, number, alias)
    moved = "forced onto" if force else "moved to"
    check_reason(reason, f"{alias} is not {moved} {model} v{number}", needed=force)
    if alias == PRODUCTION and not force:
        _check_passed(session, principal, found, model, number)
    # Other aliases take an operator; the registry, which knows no gate, asks for an approver.
    mover = replace(principal, role=max(principal.role, Role.APPROVER))
    return registry.set_alias(
        session,
        mover,
        model,
        alias,
        number,
        evidence=None if found is None else found.id,
        verdict=None if found is None else found.verdict,
        forced=force,
        reason=reason,
    )


def _check_subject(found: Evidence, model: str, number: int, alias: str) -> None:
    if (found.model, found.candidate, found.alias) != (model, number, alias):
        raise ConflictError(
            f"evidence {found.id} is about {found.model} v{found.candidate} for {found.alias}, "
            f"not {model} v{number} for {alias}",
            f"`argosy promote check {model} {number}`",
        )


def _check_passed(
    session: Session, principal: Principal, found: Evidence | None, model: str, number: int
) -> None:
    check = f"`argosy promote check {model} {number}`"
    present = registry.alias(session, principal, model, PRODUCTION)
    if present == number:
        return
    if found is None:
        raise ConflictError(
            f"{model} v{number} was not compared with what serves now "
            f"({'nothing' if present is None else f'v{present}'})",
            f"{check}, or force it with a reason",
        )
    if found.incumbent != present:
        against = "nothing" if found.incumbent is None else f"v{found.incumbent}"
        raise ConflictError(
            f"evidence {found.id} is stale: it compares with {against}, and "
            f"{'nothing' if present is None else f'v{present}'} serves now",
            check,
        )
    if found.verdict != Verdict.PASS.value:
        raise ConflictError(
            f"the gate says {found.verdict} of {model} v{number}",
            f"`argosy promote show {found.id}` tells why; an approver may force it with a reason",
        )
