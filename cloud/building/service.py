"""Verbs of building."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session

from cloud.access.principal import Principal, Role, require
from cloud.blobs import service as blobs
from cloud.building.making import is_base
from cloud.building.matrix import KIND, KIND_GPU
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
    unheard: str = "",
) -> Job:
    """Queue the making of builds of a version.

    Args:
        files: an artifact that was made elsewhere; path in the bundle to a blob's digest.
        unheard: what a job that needs a GPU worker says until it runs, where none is there.

    Raises:
        NotFoundError: there is no such version, or a blob of `files` is not there.
        InvalidError: a target does not exist or is not what `files` are, or some need a GPU
            and some do not.
        ConflictError: the version is archived or revoked, or its builds are being made.
    """
    require(principal, Role.OPERATOR)
    version = registry.get_version(session, principal, model, number)
    if version.archived_at is not None:
        raise ConflictError(f"{model} {number} is archived", "take it out of the archive first")
    registry.check_standing(session, model, number)
    parsed = [parse(text, SIDE_PX_DEFAULT) for text in targets]
    if files is not None:
        _check_files(session, parsed[0], files)
    kind = _kind_of(parsed)
    subject = f"model/{model}/{number}"
    for job in jobs.open_of(session, subject):
        if job.kind == kind:
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
    job = jobs.request(session, principal, kind, subject, parameters)
    if kind == KIND_GPU and unheard:
        job.progress = {"stage": unheard}
    return job


def _kind_of(targets: Sequence[BuildTarget]) -> str:
    """The kind of the job that makes these: what waits for a GPU worker waits apart."""
    apart = [target.name for target in targets if not target.on_cpu]
    if not apart:
        return KIND
    if len(apart) < len(targets):
        raise InvalidError(
            f"{', '.join(apart)} need a GPU worker, the other targets do not",
            "ask for them apart: `argosy build start` once with these and once without",
        )
    return KIND_GPU


def _check_files(session: Session, target: BuildTarget, files: Mapping[str, str]) -> None:
    if target.format is Format.TENSORRT:
        raise InvalidError(
            "a plan does not say which GPU it is for, and is executable",
            "have a GPU worker build it: leave the file out",
        )
    if is_base(target):
        raise InvalidError(
            "onnx-fp32 is what all other builds are held against",
            "import the file as a version of its own: `argosy model import`",
        )
    missing = sorted(set(MODEL_FILES[target.format]) - set(files))
    if missing:
        raise InvalidError(
            f"a build for {target.name} lacks {', '.join(missing)}",
            f"name the files that you bring so: {', '.join(MODEL_FILES[target.format])}",
        )
    for digest in files.values():
        blobs.get(session, digest)
