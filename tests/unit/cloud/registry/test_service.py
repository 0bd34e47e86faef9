"""The registry: names, classes, versions with their builds, and who may bar one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session

from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.blobs import service as blobs
from cloud.database import Database
from cloud.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from cloud.registry import service
from cloud.registry.models import Build
from cloud.registry.service import NewVersion
from protocol import bundles
from protocol.builds import BuildIdentity, Format, Precision
from protocol.bundles import BundleFile, Manifest, Preprocessing, Thresholds
from protocol.chunks import describe

ADA = Principal(PrincipalKind.USER, "ada", Role.ADMINISTRATOR)
OPERATOR = Principal(PrincipalKind.USER, "op", Role.OPERATOR)
FILES = {"model.onnx": b"weights", "golden.json": b"{}"}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    database = Database(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    database.migrate()
    with database.transaction() as session:
        service.create_model(session, ADA, "caps", ["scratch", "dent"])
        yield session
    database.close()


def new_version(number: int) -> NewVersion:
    manifest = Manifest(
        model="caps",
        version=number,
        build=BuildIdentity(
            format=Format.ONNX,
            precision=Precision.FP32,
            runtime="onnxruntime",
            runtime_precision=Precision.FP32,
            input_width=64,
            input_height=64,
        ),
        head="end2end",
        class_names=("scratch", "dent"),
        thresholds=Thresholds(),
        preprocessing=Preprocessing(),
        files=tuple(BundleFile(path=p, blob=describe(data)) for p, data in FILES.items()),
    )
    return NewVersion(
        manifest=manifest,
        parent=None,
        dataset="caps",
        dataset_version=1,
        dataset_digest="d" * 64,
        weights=describe(b"checkpoint"),
        lineage={"seed": 0},
        metrics={"map50": 0.5, "map50_95": 0.3},
    )


def register(session: Session, number: int) -> Build:
    return service.register_version(session, OPERATOR, new_version(number))[1]


def test_a_version_is_registered_with_its_build_and_blobs(session: Session) -> None:
    told: list[str] = []
    version, build = service.register_version(
        session, OPERATOR, new_version(1), [lambda _s, b, m: told.append(b.digest + m.model)]
    )
    manifest = new_version(1).manifest
    assert build.digest == bundles.digest(manifest)
    assert build.manifest_bytes == len(bundles.canonical(manifest))
    assert told == [f"{build.digest}caps"]
    assert service.builds_of(session, version) == [build]
    for sha256 in (build.digest, version.weights_sha256, *(f.blob.sha256 for f in manifest.files)):
        assert blobs.media_type(session, sha256)
    assert service.next_number(session, "caps") == 2


def test_a_number_is_given_once(session: Session) -> None:
    register(session, 1)
    with pytest.raises(ConflictError, match="has a version 1 already"):
        register(session, 1)
    register(session, 2)
    assert [v.number for v in service.list_versions(session, ADA, "caps", 1, 10)] == [2]


def test_names_and_classes_are_checked(session: Session) -> None:
    with pytest.raises(ConflictError, match="exists already"):
        service.create_model(session, ADA, "caps", ["a"])
    with pytest.raises(InvalidError, match="same name"):
        service.create_model(session, ADA, "other", ["a", "a"])
    assert service.ensure_model(session, ADA, "caps", ["scratch", "dent"]).name == "caps"
    with pytest.raises(ConflictError, match="tells scratch, dent apart"):
        service.ensure_model(session, ADA, "caps", ["dent", "scratch"])
    assert service.ensure_model(session, ADA, "fresh", ["a"]).class_names == ["a"]


def test_what_is_not_there_is_named(session: Session) -> None:
    with pytest.raises(NotFoundError, match="no model lids"):
        service.list_versions(session, ADA, "lids", 0, 10)
    with pytest.raises(NotFoundError, match="no version 3 of caps"):
        service.get_version(session, ADA, "caps", 3)
    with pytest.raises(NotFoundError, match="no build"):
        service.get_build(session, ADA, "e" * 64)


def test_a_build_is_found_by_the_first_digits_that_only_it_has(session: Session) -> None:
    digest = register(session, 1).digest
    twin = digest[:9] + ("0" if digest[9] != "0" else "1") + digest[10:]
    row = service.get_build(session, ADA, digest)
    session.add(Build(**{**row.model_dump(), "digest": twin}))
    session.flush()
    assert service.get_build(session, ADA, digest[:10]).digest == digest
    assert service.get_build(session, ADA, twin[:10]).digest == twin
    with pytest.raises(ConflictError, match="several builds") as caught:
        service.get_build(session, ADA, digest[:9])
    assert "more digits" in caught.value.remedy
    with pytest.raises(NotFoundError, match="no build"):
        service.get_build(session, ADA, "e" * 10)
    for nonsense in (digest[:5], digest[:6] + "%", "_" * 8, digest.upper() + "0"):
        with pytest.raises(NotFoundError, match="is no digest of a build; give 6 hex digits"):
            service.get_build(session, ADA, nonsense)


def test_a_note_about_the_first_digits_is_about_the_whole_build(session: Session) -> None:
    digest = register(session, 1).digest
    service.add_note(session, OPERATOR, f"build/{digest[:8]}", "sharp")
    assert [n.text for n in service.notes(session, ADA, f"build/{digest}")] == ["sharp"]


def test_a_build_is_barred_and_reinstated_by_an_approver(session: Session) -> None:
    digest = register(session, 1).digest
    with pytest.raises(ForbiddenError):
        service.reject_build(session, OPERATOR, digest, "blurry")
    assert service.reject_build(session, ADA, digest, "blurry").state == "REJECTED"
    with pytest.raises(ConflictError, match="does not take"):
        service.reject_build(session, ADA, digest, "blurry")
    assert service.reinstate_build(session, ADA, digest, "it was the lens").state == "EVALUATED"
