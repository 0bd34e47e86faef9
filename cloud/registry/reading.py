"""Looking things up in the registry: models, versions, builds, and what is revoked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlmodel import Session

from cloud.access.principal import Principal, PrincipalKind, Role, require
from cloud.errors import ConflictError, NotFoundError
from cloud.registry import queries
from cloud.registry.models import Build, DetectorModel, ModelVersion
from cloud.registry.states import BuildState

PREFIX_DIGITS_MIN = 6
_PREFIX = re.compile(f"[0-9a-f]{{{PREFIX_DIGITS_MIN},64}}")


def list_models(
    session: Session,
    principal: Principal,
    after: str | None,
    limit: int,
    *,
    archived: bool = False,
) -> Sequence[DetectorModel]:
    """Models by name; archived ones only where asked for."""
    require(principal, Role.VIEWER)
    return queries.models(session, after, limit, archived=archived)


def get_model(session: Session, principal: Principal, name: str) -> DetectorModel:
    """Raises NotFoundError where there is none."""
    require(principal, Role.VIEWER)
    model = session.get(DetectorModel, name)
    if model is None:
        raise NotFoundError(f"there is no model {name}", f"`argosy model create {name} …`")
    return model


def list_versions(
    session: Session,
    principal: Principal,
    model: str,
    after: int,
    limit: int,
    *,
    archived: bool = False,
) -> Sequence[ModelVersion]:
    """Versions by number; archived ones only where asked for."""
    get_model(session, principal, model)
    return queries.versions(session, model, after, limit, archived=archived)


def get_version(session: Session, principal: Principal, model: str, number: int) -> ModelVersion:
    """Raises NotFoundError where there is none."""
    get_model(session, principal, model)
    version = queries.version(session, model, number)
    if version is None:
        raise NotFoundError(
            f"there is no version {number} of {model}", f"`argosy model show {model}` lists them"
        )
    return version


def builds_of(session: Session, version: ModelVersion) -> list[Build]:
    assert version.id is not None  # noqa: S101 - it came from the database
    return list(queries.builds(session, version.id))


def all_builds(session: Session) -> Sequence[Build]:
    """Every build, oldest first; for whoever vouches for them."""
    return queries.all_builds(session)


def get_build(session: Session, principal: Principal, digest: str) -> Build:
    """The build of a digest, or the only one whose digest begins so.

    Raises:
        NotFoundError: there is none, or fewer than PREFIX_DIGITS_MIN hex digits name it.
        ConflictError: several begin so.
    """
    if principal.kind is not PrincipalKind.DEVICE:
        require(principal, Role.VIEWER)
    build = session.get(Build, digest)
    if build is not None:
        return build
    found = queries.builds_by_prefix(session, digest, 2) if _PREFIX.fullmatch(digest) else []
    if len(found) > 1:
        raise ConflictError(
            f"several builds begin with {digest}: {', '.join(b.digest[:12] for b in found)}, …",
            "give more digits of the digest",
        )
    if not found:
        shown_by = "`argosy build list MODEL NUMBER` shows the builds of a version"
        if _PREFIX.fullmatch(digest):
            raise NotFoundError(f"there is no build {digest[:12]}", shown_by)
        raise NotFoundError(
            f"{digest[:12]!r} is no digest of a build",
            f"give {PREFIX_DIGITS_MIN} hex digits that it begins with, or more; {shown_by}",
        )
    return found[0]


def weights(session: Session, principal: Principal, model: str, number: int) -> ModelVersion:
    """The version whose weights are to be downloaded. Training data may be read from them."""
    require(principal, Role.OPERATOR)
    return get_version(session, principal, model, number)


def next_number(session: Session, model: str) -> int:
    """The number that the model's next version gets: one that none ever had."""
    row = session.get(DetectorModel, model)
    used = 0 if row is None else row.numbers_used
    return max(used, queries.newest_number(session, model)) + 1


def newest_version(session: Session, model: str) -> int:
    """The number of the model's newest version; 0 where it has none."""
    return queries.newest_version(session, model)


def check_classes(model: DetectorModel, class_names: Sequence[str]) -> None:
    """Raises ConflictError where a dataset's classes are not the model's, in its order."""
    if model.class_names != list(class_names):
        raise ConflictError(
            f"model {model.name} tells {', '.join(model.class_names)} apart, the dataset "
            f"{', '.join(class_names)}",
            "train another model, or give data.yaml the model's names in their order",
        )


def floor(session: Session, model: str) -> int:
    """The lowest version of a model that is not revoked; 1 where nothing is known of it."""
    row = session.get(DetectorModel, model)
    return 1 if row is None else row.floor


def floors(session: Session) -> dict[str, int]:
    """The floor of every model."""
    return queries.floors(session)


def check_kept(session: Session, model: str, number: int) -> None:
    """Raises ConflictError where the version, or its model, is archived."""
    row = session.get(DetectorModel, model)
    version = queries.version(session, model, number)
    if row is not None and row.archived_at is not None:
        raise ConflictError(f"{model} is archived", f"`argosy model archive {model} --undo`")
    if version is not None and version.archived_at is not None:
        raise ConflictError(
            f"{model} v{number} is archived", f"`argosy version archive {model} {number} --undo`"
        )


def check_standing(session: Session, model: str, number: int) -> None:
    """Raises ConflictError where nobody may be given the version: archived, or revoked."""
    check_kept(session, model, number)
    row = session.get(DetectorModel, model)
    if row is not None and number < row.floor:
        raise ConflictError(
            f"{model} v{number} is revoked: the floor is v{row.floor}",
            f"take version {row.floor} or above; an administrator may lower the floor with "
            f"`argosy model floor {model} {number} --reason …`",
        )


def admitted(build: Build) -> bool:
    """Whether its evaluation or a person stands for the build."""
    return build.state != BuildState.REJECTED.value
