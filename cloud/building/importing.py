"""A model from outside: opened in a child without network, checked, and handed to be registered.

One door for all outside checkpoints: what training starts from goes through `inspect` too.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from sqlmodel import Session

from cloud import isolation
from cloud.access.principal import Principal, Role, require, service_principal
from cloud.blobs.store import BlobStore
from cloud.building.refusal import ELSEWHERE, EXPORT
from cloud.children import ChildFailed
from cloud.datasets import service as datasets
from cloud.errors import ConfigurationError, InvalidError, TooLargeError
from cloud.input_sizes import SIDE_PX_MAX, SIDE_PX_MIN, SIDE_STEP_PX
from cloud.jobs import service as jobs
from cloud.jobs.context import Handler, JobContext
from cloud.jobs.models import Job
from cloud.plain_text import one_line, plain
from cloud.registry import service as registry

KIND = "import"
FORMATS = ("pt", "onnx")
PRINCIPAL = service_principal("import")
FILE_BYTES_MAX = 1024**3
READ_BYTES = 1024 * 1024
RUN_ONCE_S = 20
Side = Annotated[int, Field(ge=SIDE_PX_MIN, le=SIDE_PX_MAX, multiple_of=SIDE_STEP_PX)]
CHECKPOINT, ONNX = "cloud.building.inspect_checkpoint", "cloud.building.inspect_onnx"

RunChild = Callable[[Sequence[str]], None]
"""Runs a command to its end; raises ChildFailed and ChildCanceled as `run_child` does."""


class ImportRequest(BaseModel):
    """What is brought.

    Attributes:
        file: absolute path on the hub's machine, or `sha256:` and the digest of a blob.
        format: onnx or pt, of a blob, which has no name; of a path its suffix tells.
        name: that a blob had as a file.
        imgsz: side of the input in px; needed where the file leaves it open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(min_length=1, max_length=4096)
    format: str | None = Field(default=None, max_length=255)
    name: str = Field(default="", max_length=255)
    dataset: str
    dataset_version: int | None = Field(default=None, ge=1, le=2**31 - 1, strict=True)
    imgsz: Side | None = Field(default=None, strict=True)
    licence: Annotated[str, Field(max_length=200), AfterValidator(one_line)] = ""
    notes: Annotated[str, Field(max_length=4000), AfterValidator(plain)] = ""


@dataclass(frozen=True)
class Inspected:
    """What an outside file was found to be.

    Attributes:
        format: `pt` or `onnx`.
        class_names: as the file names them; None where it does not.
        classes: how many it tells apart; None where neither names nor shapes say it.
        width, height: of the input in px.
        head: `end2end`, rows of finished detections, or `raw`, a value for each place.
        sha256, size_bytes: of the file as it was brought.
        origin: the name it had.
    """

    format: str
    class_names: tuple[str, ...] | None
    classes: int | None
    task: str
    width: int
    height: int
    stride: int
    opset: int | None
    head: str
    sha256: str
    size_bytes: int
    origin: str = ""
    licence: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ImportedFile:
    """An outside file once it was inspected.

    Attributes:
        weights: what may be used from now on: the ONNX file, or the checkpoint as it was
            saved anew.
    """

    facts: Inspected
    weights: Path


Register = Callable[[JobContext, ImportRequest, ImportedFile], Mapping[str, Any]]
"""Makes the fp32 build of the file, evaluates it, registers the version, answers the result."""


def request(session: Session, principal: Principal, model: str, wanted: ImportRequest) -> Job:
    """Queue an import.

    Raises:
        NotFoundError: model or dataset do not exist.
        ConflictError: the dataset's classes are not the model's.
        InvalidError: the file is none that can be imported.
        ForbiddenError: a .pt is brought by somebody who is no administrator.
    """
    kind = file_format(wanted)
    role = Role.ADMINISTRATOR if kind == "pt" else Role.OPERATOR
    require(principal, role)
    target = registry.get_model(session, principal, model)
    version = datasets.get_version(session, principal, wanted.dataset, wanted.dataset_version)
    registry.check_classes(target, version.class_names)
    settled = wanted.model_copy(update={"dataset_version": version.number})
    parameters = settled.model_dump(mode="json")
    return jobs.request(session, principal, KIND, f"model/{model}", parameters, role=role)


def file_format(wanted: ImportRequest) -> str:
    """`pt` or `onnx`. Raises InvalidError where the file is neither."""
    if wanted.file.startswith("sha256:"):
        if wanted.format is None:
            raise InvalidError("a blob does not say what it is", "give format: onnx or pt")
        if wanted.format not in FORMATS:
            raise InvalidError(f"{_origin(wanted)} is no .onnx and no .pt", "bring one of those")
        return wanted.format
    path = Path(wanted.file)
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in FORMATS or wanted.format not in (None, suffix):
        raise InvalidError(f"{path.name} is no .onnx and no .pt", "bring one of those")
    if not path.is_absolute() or not path.is_file():
        raise InvalidError(
            f"{path} is no file on the hub's machine", "give an absolute path, or upload a blob"
        )
    return suffix


def handler(register: Register) -> Handler:
    """The import's work: copy, inspect, compare with the dataset, register."""

    def work(context: JobContext) -> Mapping[str, Any]:
        wanted = ImportRequest.model_validate(context.job.parameters)
        context.progress("opening")
        source = context.folder / f"outside.{file_format(wanted)}"
        _copy(wanted.file, source, context.store)
        found = inspect(source, context.folder / "inspection", context.child, wanted.imgsz)
        with context.database.reading() as session:
            version = datasets.get_version(
                session, PRINCIPAL, wanted.dataset, wanted.dataset_version
            )
        check_classes(found.facts, version.class_names)
        named = {"origin": _origin(wanted), "licence": wanted.licence}
        facts = Inspected(**{**asdict(found.facts), **named})
        context.log(f"inspected: {json.dumps(facts.as_json(), sort_keys=True)}")
        return register(context, wanted, ImportedFile(facts, found.weights))

    return work


def _origin(wanted: ImportRequest) -> str:
    """The file's name, without the folders that it lay in."""
    return Path(wanted.name or wanted.file).name[:255]


def _copy(file: str, target: Path, store: BlobStore) -> None:
    """What is inspected is what is used: the file may change where it lies."""
    if file.startswith("sha256:"):
        digest = file.removeprefix("sha256:")
        if not (len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
            raise InvalidError(f"{digest[:70]} is no digest", "give sha256: and 64 hex digits")
        store.size_bytes(digest)
        source = store.path(digest)
    else:
        source = Path(file)
    copied = 0
    try:
        with source.open("rb") as reading, target.open("wb") as writing:
            while piece := reading.read(READ_BYTES):
                copied += len(piece)
                if copied > FILE_BYTES_MAX:
                    raise TooLargeError(
                        f"{source.name} is larger than {FILE_BYTES_MAX} bytes",
                        "bring a smaller detector",
                    )
                writing.write(piece)
    except OSError as error:
        raise InvalidError(
            f"{source} cannot be read: {error.strerror}", "let the hub's user read it"
        ) from error


def inspect(source: Path, folder: Path, run: RunChild, side_px: int | None = None) -> ImportedFile:
    """Open an outside .pt or .onnx in a child without network.

    Args:
        source: its suffix says what it is taken for.
        folder: is made; a place for what the child writes.
        side_px: of the input, where the file leaves it open.

    Raises:
        InvalidError: the file is refused, with why.
        ConfigurationError: this machine cannot take the network from a child.
        ChildCanceled: the job is to end.
    """
    scratch, out, clean = folder / "scratch", folder / "facts.json", folder / "clean.pt"
    scratch.mkdir(parents=True)
    is_checkpoint = source.suffix == ".pt"
    program = [sys.executable, "-m", CHECKPOINT if is_checkpoint else ONNX, str(source), str(out)]
    program += [str(clean)] if is_checkpoint else [str(side_px or "-"), str(RUN_ONCE_S)]
    remedy = EXPORT if is_checkpoint else ELSEWHERE
    try:
        run(isolation.command(scratch.absolute(), program))
    except ChildFailed as failed:
        if f"status {isolation.NO_FENCE};" in str(failed):
            raise ConfigurationError(
                "an outside file is only opened without network, and this machine does not allow "
                f"that: {failed}",
                "allow the hub user namespaces (kernel.unprivileged_userns_clone=1, "
                "user.max_user_namespaces > 0, for a container CAP_SYS_ADMIN)",
            ) from failed
        if failed.status == -signal.SIGALRM:
            raise InvalidError(
                f"the file is refused: running it once took over {RUN_ONCE_S} s: it is no "
                "detector that a device could run",
                "bring a smaller detector, without loops in its graph",
            ) from failed
        raise InvalidError(
            f"the file is refused: opening it failed or took more than is allowed: {failed}",
            remedy,
        ) from failed
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    facts = _facts(out, remedy)
    return ImportedFile(facts, clean if is_checkpoint else source)


class _Facts(BaseModel):
    """What the child says, which opened a hostile file: checked as any message."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal["pt", "onnx"]
    class_names: list[str] | None = Field(max_length=10_000)
    classes: int | None = Field(ge=1, le=10_000)
    task: Literal["detect"]
    width: Side
    height: Side
    stride: int = Field(ge=1, le=128)
    opset: int | None = Field(ge=1, le=100)
    head: Literal["end2end", "raw"]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0, le=FILE_BYTES_MAX)


def _facts(out: Path, remedy: str) -> Inspected:
    try:
        said = json.loads(out.read_text())
        if "refused" in said:
            raise InvalidError(f"the file is refused: {said['refused']}", str(said["remedy"]))
        facts = _Facts.model_validate(said["accepted"]).model_dump()
    except (OSError, ValueError, LookupError, TypeError, ValidationError) as error:
        raise InvalidError(
            "the file is refused: what it was found to be cannot be read", remedy
        ) from error
    names = facts.pop("class_names")
    return Inspected(class_names=None if names is None else tuple(names), **facts)


def check_classes(facts: Inspected, class_names: Sequence[str]) -> None:
    """Raises InvalidError where the file tells other classes apart than the dataset."""
    if facts.classes is not None and facts.classes != len(class_names):
        raise InvalidError(
            f"the file tells {facts.classes} classes apart, the dataset {len(class_names)}: "
            f"{', '.join(class_names)}",
            "import it for a dataset of its classes, or train it on this one (--weights FILE)",
        )
    if facts.class_names is not None and list(facts.class_names) != list(class_names):
        raise InvalidError(
            f"the file names its classes {', '.join(facts.class_names)}, the dataset "
            f"{', '.join(class_names)}",
            "rename them in the file or in the dataset, in the same order",
        )
