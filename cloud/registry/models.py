"""Tables of the registry: models, versions, builds, aliases, and what is only ever added to.

`promotion`, `deployment` and `note` are append-only: the database refuses to change a row.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column, UniqueConstraint
from sqlmodel import Field, SQLModel


class DetectorModel(SQLModel, table=True):
    """A named detector and what it tells apart.

    Attributes:
        floor: versions below it are revoked: they are not rolled out, and nobody goes back
            to them.
        policy: what the gate demands of a candidate beyond its defaults; see
            `cloud.promotion.policy`.
        numbers_used: the highest number that a version of it ever had. It is never lowered: the
            number of a deleted version is not given out again.
    """

    __tablename__ = "model"

    name: str = Field(primary_key=True)
    class_names: list[str] = Field(sa_column=Column(JSON, nullable=False))
    floor: int = 1
    policy: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    numbers_used: int = 0
    archived_at: float | None = None
    created_at: float
    created_by: str


class ModelVersion(SQLModel, table=True):
    """One trained result of a model: immutable, with where it comes from.

    Attributes:
        parent: number of the version whose weights it started from.
        lineage: parameters, seed, code and library versions, times.
        metrics: of the first build, as evaluated.
        source: `training` or `import`.
        weights_format: `pt`, a checkpoint, or `onnx` where only that was brought.
        pinned: kept, whatever asks for its deletion.
    """

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("model", "number"),)

    id: int | None = Field(default=None, primary_key=True)
    model: str = Field(foreign_key="model.name", index=True)
    number: int
    parent: int | None = None
    dataset: str
    dataset_version: int
    dataset_digest: str
    weights_sha256: str
    weights_bytes: int
    weights_format: str = "pt"
    source: str = "training"
    pinned: bool = False
    archived_at: float | None = None
    lineage: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    metrics: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    created_at: float
    created_by: str


class Build(SQLModel, table=True):
    """One bundle of a version; its digest is its manifest's and the manifest blob's.

    Attributes:
        verdict: of its evaluation: {"admitted": bool, "reasons": [text], "figures": {…}}, and
            beside it `by_hand`, where a person decided otherwise; see `cloud.registry.verdicts`.
        notes: what its making says of itself: layers kept in float, calibration images, times.
    """

    __tablename__ = "build"

    digest: str = Field(primary_key=True)
    version_id: int = Field(foreign_key="model_version.id", index=True)
    model: str = Field(index=True)
    number: int
    identity: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    state: str
    metrics: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    verdict: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    notes: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    size_bytes: int
    manifest_bytes: int
    created_at: float


class ModelAlias(SQLModel, table=True):
    """A name that points at a version: `production`, `candidate`, any."""

    __tablename__ = "model_alias"

    model: str = Field(primary_key=True, foreign_key="model.name")
    alias: str = Field(primary_key=True)
    number: int
    set_at: float
    set_by: str


class Promotion(SQLModel, table=True):
    """An alias was moved. Append-only.

    Attributes:
        number, previous: of the version it points at from now on, and did before; None: none.
        evidence: id of the gate's evidence record.
        verdict: of the gate; None where none was asked.
        forced: done against or without a PASS, by a person, with the reason.
    """

    __tablename__ = "promotion"

    id: int | None = Field(default=None, primary_key=True)
    model: str = Field(foreign_key="model.name", index=True)
    alias: str
    number: int | None = None
    previous: int | None = None
    evidence: str | None = None
    verdict: str | None = None
    forced: bool = False
    reason: str = ""
    at: float
    by: str


class Deployment(SQLModel, table=True):
    """A rollout of a version began, ended or was stopped. Append-only."""

    __tablename__ = "deployment"

    id: int | None = Field(default=None, primary_key=True)
    model: str = Field(foreign_key="model.name", index=True)
    number: int
    rollout: str = Field(index=True)
    event: str
    devices: int = 0
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    at: float
    by: str


class Note(SQLModel, table=True):
    """What somebody wrote about a model, version or build. Append-only.

    Attributes:
        subject: `model/NAME`, `model/NAME/NUMBER` or `build/DIGEST`.
    """

    __tablename__ = "note"

    id: int | None = Field(default=None, primary_key=True)
    subject: str = Field(index=True)
    text: str
    at: float
    by: str


class Artefact(SQLModel, table=True):
    """A file that is kept with a version: curves, arguments, confusion matrices."""

    __tablename__ = "artefact"
    __table_args__ = (UniqueConstraint("version_id", "name"),)

    id: int | None = Field(default=None, primary_key=True)
    version_id: int = Field(foreign_key="model_version.id", index=True)
    name: str
    kind: str
    media_type: str
    sha256: str
    size_bytes: int
    created_at: float
