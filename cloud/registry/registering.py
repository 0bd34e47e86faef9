"""Making models, versions and builds, and moving builds between admitted and rejected."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.blobs import service as blobs
from cloud.errors import ConflictError, InvalidError
from cloud.plain_text import one_line
from cloud.reasons import check_reason
from cloud.registry import queries, verdicts
from cloud.registry.models import Build, DetectorModel, ModelVersion
from cloud.registry.reading import check_classes, check_kept, get_build, get_model
from cloud.registry.states import BUILD_TABLE, BuildEvent, BuildState
from protocol import bundles
from protocol.bundles import Manifest
from protocol.chunks import BlobRef, describe
from protocol.errors import IllegalEvent
from protocol.machine import advance

OnBuildRegistered = Callable[[Session, Build, Manifest], None]
"""Called in the transaction that registers an admitted build; raising undoes it."""

OnBuildReinstated = Callable[[Session, Build], None]
"""Called in the transaction that reinstates a build; raising undoes it."""


@dataclass(frozen=True)
class NewVersion:
    """A trained or imported result: its manifest names model and number, the blobs are
    stored already.

    Attributes:
        metrics: of the first build; they stand for the version too.
        weights_format: `pt` or `onnx`.
        source: `training` or `import`.
        verdict, notes: of the first build; see `Build`.
    """

    manifest: Manifest
    parent: int | None
    dataset: str
    dataset_version: int
    dataset_digest: str
    weights: BlobRef
    lineage: dict[str, Any]
    metrics: dict[str, Any]
    weights_format: str = "pt"
    source: str = "training"
    verdict: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


def create_model(
    session: Session, principal: Principal, name: str, class_names: Sequence[str]
) -> DetectorModel:
    """Raises ConflictError where the name is taken, InvalidError where two classes are alike
    or a name is no plain text."""
    require(principal, Role.OPERATOR)
    if session.get(DetectorModel, name) is not None:
        raise ConflictError(f"model {name} exists already", "choose another name")
    if len(set(class_names)) != len(class_names):
        raise InvalidError("two classes have the same name", "give each class its own name")
    for class_name in class_names:
        try:
            one_line(class_name)
        except ValueError as error:
            raise InvalidError(f"class {class_name!r}: {error}", "give it another name") from error
    model = DetectorModel(
        name=name,
        class_names=list(class_names),
        # Notes outlive a deleted model; its numbers stay theirs.
        numbers_used=queries.highest_noted(session, name),
        created_at=time.time(),
        created_by=principal.name,
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


def register_version(
    session: Session,
    principal: Principal,
    new: NewVersion,
    hooks: Sequence[OnBuildRegistered] = (),
) -> tuple[ModelVersion, Build]:
    """A version with its first build, whose files and manifest are recorded as blobs.

    Raises:
        ConflictError: another version took the number meanwhile, or the model is archived.
    """
    require(principal, Role.OPERATOR)
    manifest = new.manifest
    model = get_model(session, principal, manifest.model)
    if queries.version(session, manifest.model, manifest.version) is not None:
        raise ConflictError(
            f"{manifest.model} has a version {manifest.version} already", "train again"
        )
    if manifest.version <= model.numbers_used:
        raise ConflictError(
            f"{manifest.model} has given the number {manifest.version} out before", "train again"
        )
    check_kept(session, manifest.model, manifest.version)
    use_number(session, model, manifest.version)
    version = ModelVersion(
        model=manifest.model,
        number=manifest.version,
        parent=new.parent,
        dataset=new.dataset,
        dataset_version=new.dataset_version,
        dataset_digest=new.dataset_digest,
        weights_sha256=blobs.record(session, new.weights).sha256,
        weights_bytes=new.weights.size_bytes,
        weights_format=new.weights_format,
        source=new.source,
        lineage=new.lineage,
        metrics=new.metrics,
        created_at=time.time(),
        created_by=principal.name,
    )
    session.add(version)
    session.flush()
    build = _add_build(
        session, version, manifest,
        metrics=new.metrics, verdict=new.verdict, notes=new.notes, hooks=hooks,
    )  # fmt: skip
    access.audit(
        session, principal, "version.register", f"model/{version.model}/{version.number}",
        build=build.digest, dataset=f"{new.dataset}/{new.dataset_version}",
    )  # fmt: skip
    return version, build


def use_number(session: Session, model: DetectorModel, number: int) -> None:
    """A version has the number from now on, and no other gets it."""
    model.numbers_used = max(model.numbers_used, number)
    session.add(model)


def add_build(
    session: Session,
    principal: Principal,
    version: ModelVersion,
    manifest: Manifest,
    *,
    metrics: Mapping[str, Any],
    verdict: Mapping[str, Any],
    notes: Mapping[str, Any],
    hooks: Sequence[OnBuildRegistered] = (),
) -> Build:
    """One more build of a version, its files stored already.

    The same bundle again is the build that is there, as it stands: nothing is changed.

    Args:
        verdict: {"admitted": bool, "reasons": […], "figures": {…}}; a build that is not
            admitted is kept, REJECTED, and `hooks` are not told of it.

    Raises:
        InvalidError: the manifest is of another model or version, or has other classes.
        ConflictError: the version or its model is archived.
    """
    require(principal, Role.OPERATOR)
    model = get_model(session, principal, version.model)
    if (manifest.model, manifest.version) != (version.model, version.number):
        raise InvalidError(
            f"the bundle is of {manifest.model} v{manifest.version}, "
            f"not of {version.model} v{version.number}",
            "make it again for this version",
        )
    if list(manifest.class_names) != model.class_names:
        raise InvalidError(
            f"the bundle tells {', '.join(manifest.class_names)} apart, {model.name} "
            f"{', '.join(model.class_names)}",
            "make it again with the model's classes",
        )
    there = session.get(Build, bundles.digest(manifest))
    if there is not None:
        return there
    check_kept(session, version.model, version.number)
    build = _add_build(
        session, version, manifest,
        metrics=dict(metrics), verdict=dict(verdict), notes=dict(notes), hooks=hooks,
    )  # fmt: skip
    access.audit(
        session, principal, "build.register", f"build/{build.digest}",
        model=version.model, version=version.number, state=build.state,
    )  # fmt: skip
    return build


def reject_build(session: Session, principal: Principal, digest: str, reason: str) -> Build:
    """Bar a build from every new rollout."""
    return _move_build(session, principal, digest, BuildEvent.REJECT_REQUESTED, reason)


def reinstate_build(
    session: Session,
    principal: Principal,
    digest: str,
    reason: str,
    hooks: Sequence[OnBuildReinstated] = (),
) -> Build:
    """Take a rejection back, of a person or of the evaluation."""
    build = _move_build(session, principal, digest, BuildEvent.REINSTATED, reason)
    for hook in hooks:
        hook(session, build)
    return build


def _move_build(
    session: Session, principal: Principal, digest: str, event: BuildEvent, reason: str
) -> Build:
    require(principal, Role.APPROVER)
    build = get_build(session, principal, digest)
    verb = "rejected" if event is BuildEvent.REJECT_REQUESTED else "reinstated"
    check_reason(reason, f"build {build.digest[:12]} is not {verb}")
    try:
        build.state = advance(BUILD_TABLE, BuildState(build.state), event).value
    except IllegalEvent as error:
        raise ConflictError(f"build {build.digest[:12]}: {error}", "it is so already") from error
    build.verdict = verdicts.decided(
        build.verdict,
        by=principal.name,
        at=time.time(),
        admitted=build.state == BuildState.EVALUATED.value,
        reason=reason,
    )
    session.add(build)
    access.audit(session, principal, f"build.{event.value}", f"build/{build.digest}", reason=reason)
    return build


def _add_build(
    session: Session,
    version: ModelVersion,
    manifest: Manifest,
    *,
    metrics: dict[str, Any],
    verdict: dict[str, Any],
    notes: dict[str, Any],
    hooks: Sequence[OnBuildRegistered],
) -> Build:
    assert version.id is not None  # noqa: S101 - it came from the database
    data = bundles.canonical(manifest)
    for ref in (*(file.blob for file in manifest.files), describe(data)):
        blobs.record(session, ref)
    stands = bool(verdict.get("admitted", True))
    build = Build(
        digest=bundles.digest(manifest),
        version_id=version.id,
        model=version.model,
        number=version.number,
        identity=manifest.build.model_dump(mode="json", exclude_none=True),
        state=(BuildState.EVALUATED if stands else BuildState.REJECTED).value,
        metrics=metrics,
        verdict=verdict,
        notes=notes,
        size_bytes=manifest.size_bytes + len(data),
        manifest_bytes=len(data),
        created_at=time.time(),
    )
    session.add(build)
    session.flush()
    if stands:
        for hook in hooks:
            hook(session, build, manifest)
    return build
