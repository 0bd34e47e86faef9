"""A registry in a database of the test, and bundles whose bytes are in a store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.registry import service
from cloud.registry.models import Build, ModelVersion
from cloud.registry.service import NewVersion
from protocol import bundles
from protocol.builds import BuildIdentity, Format, Precision
from protocol.bundles import BundleFile, Manifest, Preprocessing, Thresholds
from protocol.chunks import describe

ADA = Principal(PrincipalKind.USER, "ada", Role.ADMINISTRATOR)
APPROVER = Principal(PrincipalKind.USER, "ann", Role.APPROVER)
OPERATOR = Principal(PrincipalKind.USER, "op", Role.OPERATOR)
CLASSES = ["scratch", "dent"]


def identity(**values: Any) -> BuildIdentity:
    given = {
        "format": Format.ONNX,
        "precision": Precision.FP32,
        "runtime": "onnxruntime",
        "runtime_precision": Precision.FP32,
        "input_width": 64,
        "input_height": 64,
    }
    return BuildIdentity.model_validate({**given, **values})


@dataclass
class Registry:
    """Verbs with a store beside them, each in a transaction of its own."""

    database: Database
    store: BlobStore

    def manifest(self, number: int, **values: Any) -> Manifest:
        """A manifest whose files are stored, and itself."""
        files = {"model.onnx": f"weights {number} {values}".encode(), "golden.json": b"{}"}
        made = Manifest(
            model="caps",
            version=number,
            build=identity(**values),
            head="end2end",
            class_names=tuple(CLASSES),
            thresholds=Thresholds(),
            preprocessing=Preprocessing(),
            files=tuple(BundleFile(path=p, blob=describe(data)) for p, data in files.items()),
        )
        for data in (*files.values(), bundles.canonical(made)):
            self.store.put([data])
        return made

    def register(self, number: int, **values: Any) -> tuple[ModelVersion, Build]:
        new = NewVersion(
            manifest=self.manifest(number),
            parent=values.pop("parent", None),
            dataset="caps",
            dataset_version=1,
            dataset_digest="d" * 64,
            weights=self.store.put([f"checkpoint {number}".encode()]),
            lineage={"seed": 7, "code": "abc123", "parameters": {"epochs": 3}},
            metrics={"map50": 0.5, "map50_95": 0.3, "latency_ms_median": 20.0},
            **values,
        )
        with self.database.transaction() as session:
            return service.register_version(session, OPERATOR, new)

    def add(self, version: ModelVersion, *, admitted: bool = True, **values: Any) -> Build:
        verdict = {"admitted": admitted, "reasons": [] if admitted else ["mAP50 fell by 0.2"]}
        with self.database.transaction() as session:
            return service.add_build(
                session,
                OPERATOR,
                version,
                self.manifest(version.number, **values),
                metrics={"map50": 0.49, "latency_ms_median": 12.0},
                verdict=verdict,
                notes={"rung": 0},
            )


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database at the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "hub.sqlite3"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


def opened(folder: Path, migrated: Path) -> Registry:
    """A registry in `folder`, without a model."""
    folder.mkdir(exist_ok=True)
    database = Database(f"sqlite:///{shutil.copy(migrated, folder)}")
    return Registry(database, BlobStore(folder / "blobs", blob_bytes_max=2**20))


@pytest.fixture
def registry(tmp_path: Path, migrated: Path) -> Iterator[Registry]:
    made = opened(tmp_path / "registry", migrated)
    with made.database.transaction() as session:
        service.create_model(session, ADA, "caps", CLASSES)
    yield made
    made.database.close()


@pytest.fixture
def other(tmp_path: Path, migrated: Path) -> Iterator[Registry]:
    """Another hub's registry, empty."""
    made = opened(tmp_path / "other", migrated)
    yield made
    made.database.close()


@pytest.fixture
def writing(registry: Registry) -> Iterator[Session]:
    with registry.database.transaction() as session:
        yield session
