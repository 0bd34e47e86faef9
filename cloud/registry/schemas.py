"""API shapes of the registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cloud.plain_text import one_line, plain
from cloud.reasons import REASON_CHARACTERS_MAX
from cloud.registry.history import NOTE_CHARACTERS_MAX
from cloud.registry.models import Build, DetectorModel, ModelAlias, ModelVersion
from cloud.registry.resolution import BuildOffer, Resolution
from protocol.builds import BuildIdentity
from protocol.bundles import CLASSES_MAX

ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
NUMBER_MAX = 2**31 - 1
Number = Annotated[int, Field(ge=1, le=NUMBER_MAX)]
"""Of a version, in a path. A larger one is out of the database's range."""

BodyNumber = Annotated[int, Field(ge=1, le=NUMBER_MAX, strict=True)]
"""Of a version, in JSON, where `true` and `"1"` are no numbers."""

ClassName = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(one_line)]
Reason = Annotated[str, Field(max_length=REASON_CHARACTERS_MAX), AfterValidator(plain)]
NoteText = Annotated[
    str, Field(min_length=1, max_length=NOTE_CHARACTERS_MAX), AfterValidator(plain)
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelCreate(_Body):
    name: ModelName
    class_names: list[ClassName] = Field(min_length=1, max_length=CLASSES_MAX)


class ModelView(BaseModel):
    name: str
    class_names: list[str]
    floor: int
    aliases: dict[str, int]
    archived_at: float | None
    created_at: float
    created_by: str

    @classmethod
    def of(cls, model: DetectorModel, aliases: Sequence[ModelAlias]) -> ModelView:
        return cls(**model.model_dump(), aliases={a.alias: a.number for a in aliases})


class BuildView(BaseModel):
    """A build. `state` is REVOKED where its version is below the model's floor."""

    digest: str
    model: str
    number: int
    target: str
    identity: dict[str, Any]
    state: str
    metrics: dict[str, Any]
    verdict: dict[str, Any]
    notes: dict[str, Any]
    size_bytes: int
    manifest_bytes: int
    created_at: float

    @classmethod
    def of(cls, build: Build, floor: int) -> BuildView:
        values = build.model_dump()
        if build.number < floor:
            values["state"] = "REVOKED"
        return cls(**values, target=BuildIdentity.model_validate(build.identity).label())


class DatasetRef(BaseModel):
    name: str
    number: int
    digest: str


class VersionView(BaseModel):
    """A version. `state` is REVOKED below the model's floor, else that of its best build."""

    model: str
    number: int
    state: str
    aliases: list[str]
    parent: int | None
    source: str
    dataset_version: DatasetRef
    lineage: dict[str, Any]
    metrics: dict[str, Any]
    weights_bytes: int
    weights_format: str
    pinned: bool
    archived_at: float | None
    created_at: float
    created_by: str
    builds: list[BuildView]

    @classmethod
    def of(
        cls,
        version: ModelVersion,
        builds: Sequence[Build],
        floor: int = 1,
        aliases: Sequence[ModelAlias] = (),
    ) -> VersionView:
        standing = any(build.state == "EVALUATED" for build in builds)
        state = "EVALUATED" if standing else "REJECTED"
        drawn = {"dataset_version", "builds", "aliases", "state"}
        return cls(
            **version.model_dump(include=set(cls.model_fields) - drawn),
            state="REVOKED" if version.number < floor else state,
            aliases=[a.alias for a in aliases if a.number == version.number],
            dataset_version=DatasetRef(
                name=version.dataset,
                number=version.dataset_version,
                digest=version.dataset_digest,
            ),
            builds=[BuildView.of(build, floor) for build in builds],
        )


class RejectBody(_Body):
    reason: Reason


class OnBody(_Body):
    """Do it, or undo it."""

    on: bool = True


class AliasBody(_Body):
    """Where an alias points from now on; no number takes it away."""

    number: BodyNumber | None
    reason: Reason = ""


class AliasView(BaseModel):
    model: str
    alias: str
    number: int
    set_at: float
    set_by: str


class FloorBody(_Body):
    floor: BodyNumber
    reason: Reason = ""


class NoteBody(_Body):
    text: NoteText


class NoteView(BaseModel):
    subject: str
    text: str
    at: float
    by: str


class HistoryEntry(BaseModel):
    """A promotion, a deployment, or a move of the floor from `previous` to `number`; the fields
    of the other kinds are null."""

    kind: str
    at: float
    by: str
    number: int | None
    alias: str | None = None
    previous: int | None = None
    evidence: str | None = None
    verdict: str | None = None
    forced: bool | None = None
    reason: str | None = None
    rollout: str | None = None
    event: str | None = None
    devices: int | None = None
    detail: dict[str, Any] | None = None


class ArtefactView(BaseModel):
    name: str
    kind: str
    media_type: str
    sha256: str
    size_bytes: int
    created_at: float


class DeletedView(BaseModel):
    """What was deleted, and what became of its bytes."""

    deleted: str
    blobs: str = "they stay until blobs that nothing names are collected"


class RefusedView(BaseModel):
    digest: str
    target: str
    reasons: list[str]


class ResolutionView(BaseModel):
    """The build that a device gets; `digest` null means NO_ARTIFACT, and `reason` says why.

    Attributes:
        heard: the device has said what it can run; else it gets what asks least.
    """

    device: str
    heard: bool
    digest: str | None
    target: str | None
    fallbacks: list[str]
    refused: list[RefusedView]
    reason: str

    @classmethod
    def of(
        cls, device: str, resolution: Resolution, offers: Sequence[BuildOffer], *, heard: bool
    ) -> ResolutionView:
        labels = {offer.digest: offer.identity.label() for offer in offers}
        return cls(
            device=device,
            heard=heard,
            digest=resolution.best,
            target=labels[resolution.best] if resolution.best else None,
            fallbacks=list(resolution.fallbacks),
            refused=[
                RefusedView(digest=d, target=labels[d], reasons=list(reasons))
                for d, reasons in sorted(resolution.refused.items())
            ],
            reason=resolution.reason,
        )
