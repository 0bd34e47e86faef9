"""Verbs of building."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session

from cloud.access.principal import Principal, Role, require
from cloud.blobs import service as blobs
from cloud.building.making import is_base
from cloud.building.matrix import KIND
from cloud.building.targets import BuildTarget, parse
from cloud.errors import ConflictError, InvalidError
from cloud.jobs import service as jobs
from cloud.jobs.models import Job
from cloud.registry import service as registry
from protocol.builds import Format
from protocol.bundles import MODEL_FILES

SIDE_PX_DEFAULT = 640


def request_builds(
    session: Session,
    principal: Principal,
    model: str,
    number: int,
    targets: Sequence[str],
    *,
    robustness: bool = True,
    again: bool = False,
    files: Mapping[str, str] | None = None,
) -> Job:
    """Queue the making of builds of a version.

    Args:
        files: an artifact that was made elsewhere; path in the bundle to a blob's digest.

    Raises:
        NotFoundError: there is no such version, or a blob of `files` is not there.
        InvalidError: a target does not exist, needs a GPU, or is not what `files` are.
        ConflictError: the version is archived or revoked, or its builds are being made.
        ForbiddenError: a plan, which is executable, is brought by no administrator.
    """
    require(principal, Role.OPERATOR)
    version = registry.get_version(session, principal, model, number)
    if version.archived_at is not None:
        raise ConflictError(f"{model} {number} is archived", "take it out of the archive first")
    registry.check_standing(session, model, number)
    parsed = [parse(text, SIDE_PX_DEFAULT) for text in targets]
    if files is not None:
        _check_files(session, principal, parsed[0], files)
    for target in parsed:
        if not target.on_cpu:
            raise InvalidError(
                f"{target.name} needs a GPU, which this hub does not build on",
                "start `argosy worker` where the GPU is, with an administrator's token",
            )
    subject = f"model/{model}/{number}"
    for job in jobs.open_of(session, subject):
        if job.kind == KIND:
            raise ConflictError(
                f"job {job.id} makes builds of {model} {number} already",
                f"`argosy job watch {job.id}`, or cancel it",
            )
    parameters = {
        "model": model,
        "number": number,
        "targets": list(targets),
        "robustness": robustness,
        "again": again,
        "files": None if files is None else dict(files),
    }
    return jobs.request(session, principal, KIND, subject, parameters)


def _check_files(
    session: Session, principal: Principal, target: BuildTarget, files: Mapping[str, str]
) -> None:
    if target.format is Format.TENSORRT:
        require(principal, Role.ADMINISTRATOR)
    if is_base(target):
        raise InvalidError(
            "onnx-fp32 is what all other builds are held against",
            "import the file as a version of its own: `argosy model import`",
        )
    missing = sorted(set(MODEL_FILES[target.format]) - set(files))
    if missing:
        raise InvalidError(
            f"a build for {target.name} lacks {', '.join(missing)}",
            f"bring {', '.join(MODEL_FILES[target.format])}",
        )
    for digest in files.values():
        blobs.get(session, digest)
