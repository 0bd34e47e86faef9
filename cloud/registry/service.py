"""Verbs of the registry."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, PrincipalKind, Role, require
from cloud.blobs import service as blobs
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.registry import queries
from cloud.registry.models import Build, DetectorModel, ModelVersion
from cloud.registry.states import BUILD_TABLE, BuildEvent, BuildState
from protocol import bundles
from protocol.bundles import Manifest
from protocol.chunks import BlobRef, describe
from protocol.errors import IllegalEvent
from protocol.machine import advance

OnBuildRegistered = Callable[[Session, Build, Manifest], None]
"""Called in the transaction that registers a build; raising undoes the registration."""


@dataclass(frozen=True)
class NewVersion:
    """A trained result: its manifest names model and number, the blobs are stored already."""

    manifest: Manifest
    parent: int | None
    dataset: str
    dataset_version: int
    dataset_digest: str
    weights: BlobRef
    lineage: dict[str, Any]
    metrics: dict[str, Any]


def create_model(
    session: Session, principal: Principal, name: str, class_names: Sequence[str]
) -> DetectorModel:
    """Raises ConflictError where the name is taken, InvalidError where two classes are alike."""
    require(principal, Role.OPERATOR)
    if session.get(DetectorModel, name) is not None:
        raise ConflictError(f"model {name} exists already", "choose another name")
    if len(set(class_names)) != len(class_names):
        raise InvalidError("two classes have the same name", "give each class its own name")
    model = DetectorModel(
        name=name, class_names=list(class_names), created_at=time.time(), created_by=principal.name
    )
    session.add(model)
    access.audit(session, principal, "model.create", f"model/{name}", classes=len(class_names))
    session.flush()
    return model


def ensure_model(
    session: Session, principal: Principal, name: str, class_names: Sequence[str]
) -> DetectorModel:
    """The model of that name, made where there is none.

    Raises:
        ConflictError: it exists and tells other classes apart.
    """
    model = session.get(DetectorModel, name)
    if model is None:
        return create_model(session, principal, name, class_names)
    check_classes(model, class_names)
    return model


def check_classes(model: DetectorModel, class_names: Sequence[str]) -> None:
    """Raises ConflictError where a dataset's classes are not the model's, in its order."""
    if model.class_names != list(class_names):
        raise ConflictError(
            f"model {model.name} tells {', '.join(model.class_names)} apart, the dataset "
            f"{', '.join(class_names)}",
            "train another model, or give data.yaml the model's names in their order",
        )


def list_models(
    session: Session, principal: Principal, after: str | None, limit: int
) -> Sequence[DetectorModel]:
    require(principal, Role.VIEWER)
    return queries.models(session, after, limit)


def get_model(session: Session, principal: Principal, name: str) -> DetectorModel:
    """Raises NotFoundError where there is none."""
    require(principal, Role.VIEWER)
    model = session.get(DetectorModel, name)
    if model is None:
        raise NotFoundError(f"there is no model {name}", f"`argosy model create {name} …`")
    return model


def list_versions(
    session: Session, principal: Principal, model: str, after: int, limit: int
) -> Sequence[ModelVersion]:
    get_model(session, principal, model)
    return queries.versions(session, model, after, limit)


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
    """Raises NotFoundError where there is none."""
    if principal.kind is not PrincipalKind.DEVICE:
        require(principal, Role.VIEWER)
    build = session.get(Build, digest)
    if build is None:
        raise NotFoundError(f"there is no build {digest[:12]}", "check the digest")
    return build


def weights(session: Session, principal: Principal, model: str, number: int) -> ModelVersion:
    """The version whose weights are to be downloaded. Training data may be read from them."""
    require(principal, Role.OPERATOR)
    return get_version(session, principal, model, number)


def next_number(session: Session, model: str) -> int:
    """The number that the model's next version gets."""
    return queries.newest_number(session, model) + 1


def register_version(
    session: Session,
    principal: Principal,
    new: NewVersion,
    hooks: Sequence[OnBuildRegistered] = (),
) -> tuple[ModelVersion, Build]:
    """A version with its first build, whose files and manifest are recorded as blobs.

    Raises:
        ConflictError: another version took the number meanwhile.
    """
    require(principal, Role.OPERATOR)
    manifest = new.manifest
    get_model(session, principal, manifest.model)
    if queries.version(session, manifest.model, manifest.version) is not None:
        raise ConflictError(
            f"{manifest.model} has a version {manifest.version} already", "train again"
        )
    now = time.time()
    version = ModelVersion(
        model=manifest.model,
        number=manifest.version,
        parent=new.parent,
        dataset=new.dataset,
        dataset_version=new.dataset_version,
        dataset_digest=new.dataset_digest,
        weights_sha256=blobs.record(session, new.weights).sha256,
        weights_bytes=new.weights.size_bytes,
        lineage=new.lineage,
        metrics=new.metrics,
        created_at=now,
        created_by=principal.name,
    )
    session.add(version)
    session.flush()
    build = _add_build(session, version, manifest, new.metrics, now)
    for hook in hooks:
        hook(session, build, manifest)
    access.audit(
        session, principal, "version.register", f"model/{version.model}/{version.number}",
        build=build.digest, dataset=f"{new.dataset}/{new.dataset_version}",
    )  # fmt: skip
    return version, build


def reject_build(session: Session, principal: Principal, digest: str, reason: str) -> Build:
    """Bar a build from every new rollout."""
    return _move_build(session, principal, digest, BuildEvent.REJECT_REQUESTED, reason)


def reinstate_build(session: Session, principal: Principal, digest: str, reason: str) -> Build:
    """Take a rejection back."""
    return _move_build(session, principal, digest, BuildEvent.REINSTATED, reason)


def _move_build(
    session: Session, principal: Principal, digest: str, event: BuildEvent, reason: str
) -> Build:
    require(principal, Role.APPROVER)
    build = get_build(session, principal, digest)
    try:
        build.state = advance(BUILD_TABLE, BuildState(build.state), event).value
    except IllegalEvent as error:
        raise ConflictError(f"build {digest[:12]}: {error}", "it is so already") from error
    session.add(build)
    access.audit(session, principal, f"build.{event.value}", f"build/{digest}", reason=reason)
    return build


def _add_build(
    session: Session, version: ModelVersion, manifest: Manifest, metrics: dict[str, Any], now: float
) -> Build:
    assert version.id is not None  # noqa: S101 - it was just flushed
    data = bundles.canonical(manifest)
    for ref in (*(file.blob for file in manifest.files), describe(data)):
        blobs.record(session, ref)
    digest = bundles.digest(manifest)
    build = Build(
        digest=digest,
        version_id=version.id,
        model=version.model,
        number=version.number,
        identity=manifest.build.model_dump(mode="json", exclude_none=True),
        state=BuildState.EVALUATED.value,
        metrics=metrics,
        size_bytes=manifest.size_bytes + len(data),
        manifest_bytes=len(data),
        created_at=now,
    )
    session.add(build)
    session.flush()
    return build
