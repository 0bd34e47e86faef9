"""A model out of one hub and into another, and archives that are not to be believed."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlmodel import Session

from cloud.blobs import service as blobs
from cloud.errors import ConflictError, ForbiddenError, HubError, InvalidError, TooLargeError
from cloud.registry import archive, packing, service
from cloud.registry.archive import ArchiveReader, Imported
from cloud.registry.packing import ArchiveLimits
from protocol.bundles import read_manifest
from protocol.chunks import sha256_hex
from tests.unit.cloud.registry.conftest import ADA, APPROVER, OPERATOR, Registry

EVIDENCE = b"what the gate found"


class Evidence:
    """Stands where a slice above the registry does."""

    name = "evidence"

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []

    def export_rows(self, _session: Session, model: str) -> list[dict[str, Any]]:
        return [{"model": model, "record": sha256_hex(EVIDENCE)}]

    def import_rows(self, _session: Session, rows: Sequence[dict[str, Any]]) -> None:
        self.taken += rows

    def blobs(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        return [row["record"] for row in rows]


def exported(registry: Registry) -> bytes:
    with registry.database.reading() as session:
        contents = archive.contents_of(session, OPERATOR, registry.store, "caps", [Evidence()])
    data = b"".join(archive.stream(contents, registry.store))
    assert len(data) == packing.packed_bytes(contents)
    return data


def take(
    registry: Registry,
    data: bytes,
    *,
    part: Evidence | None = None,
    limits: ArchiveLimits | None = None,
    told: list[str] | None = None,
) -> Imported:
    def hook(_session: Session, build: Any, _manifest: Any) -> None:
        if told is not None:
            told.append(build.digest)

    reader = ArchiveReader(
        registry.database,
        registry.store,
        limits or ArchiveLimits(),
        (hook,),
        (part or Evidence(),),
    )
    return reader.take(ADA, io.BytesIO(data))


@pytest.fixture
def full(registry: Registry) -> bytes:
    """An archive of two versions, three builds, an artefact, a note and a piece of evidence."""
    version, _ = registry.register(1)
    registry.add(version, precision="int8", runtime_precision="int8", admitted=False)
    registry.register(2, parent=1)
    registry.store.put([EVIDENCE])
    with registry.database.transaction() as session:
        ref = registry.store.put([b"epoch,loss\n"])
        service.add_artefact(
            session, OPERATOR, version, "results.csv", kind="curves", media_type="text/csv",
            blob=ref,
        )  # fmt: skip
        service.add_note(session, OPERATOR, "model/caps/1", "the first one")
    return exported(registry)


def test_everything_arrives_on_the_other_hub(full: bytes, other: Registry) -> None:
    part, told = Evidence(), list[str]()
    found = take(other, full, part=part, told=told)
    assert (found.model, found.versions, len(found.builds)) == ("caps", (1, 2), 3)
    assert len(told) == 2
    assert part.taken == [{"model": "caps", "record": sha256_hex(EVIDENCE)}]
    with other.database.reading() as session:
        first, second = service.list_versions(session, ADA, "caps", 0, 10)
        assert (second.parent, second.created_by) == (1, "op")
        states = {b.state: b.verdict for b in service.builds_of(session, first)}
        assert states["REJECTED"]["reasons"] == ["mAP50 fell by 0.2"]
        assert [n.text for n in service.notes(session, ADA, "model/caps/1")] == ["the first one"]
        (artefact,) = service.artefacts(session, ADA, "caps", 1)
        assert other.store.read(artefact.sha256) == b"epoch,loss\n"
        assert blobs.media_type(session, artefact.sha256) == "text/csv"
    assert exported(other) == full


def test_the_same_archive_again_changes_nothing(full: bytes, other: Registry) -> None:
    take(other, full)
    told = list[str]()
    assert take(other, full, told=told) == Imported("caps", (), ())
    assert told == []
    assert exported(other) == full


def test_it_is_a_tar_like_any_other(full: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(full)) as tar:
        names = tar.getnames()
        first = tar.extractfile(names[0])
        assert first is not None
        rows = json.load(first)
    assert names[0] == "archive.json"
    assert names[1:] == [blob["sha256"] for blob in rows["blobs"]]
    assert rows["format_version"] == 1


def test_another_content_under_the_same_name_is_a_conflict(
    full: bytes, other: Registry, registry: Registry
) -> None:
    with other.database.transaction() as session:
        service.create_model(session, ADA, "caps", ["bubble"])
    with pytest.raises(ConflictError, match="tells bubble apart"):
        take(other, full)
    changed = tampered(full, lambda rows: rows["versions"][0].update(created_by="eve"))
    with pytest.raises(ConflictError, match="another version 1 here") as caught:
        take(registry, changed)
    assert "delete the version here first" in caught.value.remedy


def test_a_manifest_in_another_form_counts_with_its_own_bytes(full: bytes, other: Registry) -> None:
    (name, table), *blobs_in = members(full)
    found = json.loads(table)
    was = found["builds"][0]["digest"]
    data = json.dumps(json.loads(dict(blobs_in)[was]), indent=2).encode()
    digest = sha256_hex(data)
    found["builds"][0]["digest"] = digest
    (blob,) = (blob for blob in found["blobs"] if blob["sha256"] == was)
    blob.update(sha256=digest, size_bytes=len(data))
    entries = [(digest, data) if entry[0] == was else entry for entry in blobs_in]
    take(other, packed([(name, json.dumps(found).encode()), *entries]))
    with other.database.reading() as session:
        build = service.get_build(session, ADA, digest)
        manifest = read_manifest(data, digest)
    assert build.manifest_bytes == len(data)
    assert build.size_bytes == manifest.size_bytes + len(data)


def test_only_an_administrator_imports(full: bytes, other: Registry) -> None:
    reader = ArchiveReader(other.database, other.store, ArchiveLimits())
    with pytest.raises(ForbiddenError):
        reader.take(APPROVER, io.BytesIO(full))


def members(data: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = []
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found.append((member.name, file.read()))
    return found


def packed(entries: Sequence[tuple[Any, bytes]]) -> bytes:
    """A tar of names (or whole headers) and contents."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for header, data in entries:
            info = header if isinstance(header, tarfile.TarInfo) else tarfile.TarInfo(header)
            if info.isreg():
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tampered(data: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The archive with another table of contents."""
    (name, text), *rest = members(data)
    rows = json.loads(text)
    change(rows)
    return packed([(name, json.dumps(rows).encode()), *rest])


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def with_bytes(data: bytes, index: int, content: bytes) -> bytes:
    entries: list[tuple[Any, bytes]] = list(members(data))
    entries[index] = (entries[index][0], content)
    return packed(entries)


def pax(data: bytes) -> bytes:
    """An extended header in front, that says that it is a gigabyte long."""
    info = tarfile.TarInfo("./PaxHeaders/archive.json")
    info.type, info.size = tarfile.XHDTYPE, 2**30
    return info.tobuf(tarfile.USTAR_FORMAT) + data


def rows(**values: Any) -> Callable[[bytes], bytes]:
    return lambda data: tampered(data, lambda found: found.update(values))


def row(kind: str, **values: Any) -> Callable[[bytes], bytes]:
    return lambda data: tampered(data, lambda found: found[kind][0].update(values))


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no tar": (lambda _: b"PK\x03\x04" * 500, "no member where archive.json"),
    "nothing": (lambda _: b"", "cut short"),
    "cut short": (lambda data: data[:-3000], "cut short"),
    "cut in the table": (lambda data: data[:700], "cut short"),
    "table is last": (lambda data: packed(members(data)[::-1]), "stands where archive.json"),
    "table is no JSON": (lambda data: with_bytes(data, 0, b"{"), "is no JSON"),
    "table is a list": (lambda data: with_bytes(data, 0, b"[]"), "format None is unknown"),
    "deep table": (lambda data: with_bytes(data, 0, b"[" * 90_000), "is no JSON"),
    "infinite figure": (
        lambda data: with_bytes(
            data, 0, members(data)[0][1].replace(b'"map50":0.5', b'"map50":1e999')
        ),
        "is no number",
    ),
    "not a number": (
        lambda data: with_bytes(data, 0, members(data)[0][1].replace(b":0.5", b":NaN")),
        "is no number",
    ),
    "other format": (rows(format_version=2), "format 2 is unknown here"),
    "unknown rows": (rows(secrets=[]), "secrets"),
    "unknown part": (rows(parts={"malware": [{}]}), "'malware', which is unknown"),
    "rows of a part that are none": (rows(parts={"evidence": [{"x": 1}]}), "rows of evidence"),
    "a part's blob is not there": (
        rows(parts={"evidence": [{"record": "f" * 64}]}),
        "evidence: blob ffffffffffff is not in",
    ),
    "bad model name": (
        lambda data: tampered(data, lambda found: found["model"].update(name="../x")),
        "model.name",
    ),
    "weights are not there": (row("versions", weights_sha256="f" * 64), "not in the archive"),
    "weights are a program": (row("versions", weights_format="exe"), "weights_format"),
    "build is not there": (row("builds", digest="f" * 64), "not in the archive"),
    "build of no version": (row("builds", number=9), "version 9, which is not there"),
    "build of another version": (row("builds", number=2), "is of caps v1"),
    "build that is none": (
        lambda data: tampered(
            data, lambda found: found["builds"][0].update(digest=found["artefacts"][0]["sha256"])
        ),
        "not a manifest",
    ),
    "note about another": (row("notes", subject="model/other"), "a note is about"),
    "version twice": (
        lambda data: tampered(data, lambda f: f["versions"].append(f["versions"][0])),
        "lists a version twice",
    ),
    "blob twice": (
        lambda data: tampered(data, lambda f: f["blobs"].append(f["blobs"][0])),
        "lists a blob twice",
    ),
    "blob is shorter": (lambda data: with_bytes(data, 1, b"x"), "has 1 bytes, not"),
    "blob is another": (
        lambda data: with_bytes(data, 1, bytes(len(members(data)[1][1]))),
        "not the blob",
    ),
    "blob is missing": (lambda data: packed(members(data)[:-1]), "no member where"),
    "member that is not listed": (
        lambda data: packed([*members(data), ("evil.sh", b"rm")]),
        "does not list",
    ),
    "symbolic link": (
        lambda data: packed([(link("archive.json", "/etc/passwd"), b""), *members(data)]),
        "no plain file",
    ),
    "hard link": (
        lambda data: packed([members(data)[0], (link("x", "/etc/passwd", tarfile.LNKTYPE), b"")]),
        "no plain file",
    ),
    "device": (
        lambda _: packed([(link("archive.json", "", tarfile.CHRTYPE), b"")]),
        "no plain file",
    ),
    "path upwards": (
        lambda data: packed([members(data)[0], ("../../evil", b"x")]),
        "'../../evil' stands where",
    ),
    "huge extended header": (pax, "no plain file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_no_row(
    name: str, full: bytes, other: Registry
) -> None:
    spoil, said = HOSTILE[name]
    data = spoil(full)
    assert data != full
    with pytest.raises(InvalidError) as caught:
        take(other, data)
    assert said in caught.value.message
    assert caught.value.remedy
    with other.database.reading() as session:
        assert list(service.list_models(session, ADA, None, 10)) == []
        assert blobs.totals(session) == (0, 0)


@pytest.mark.parametrize(
    "limits",
    [
        ArchiveLimits(bytes_max=100),
        ArchiveLimits(blobs_max=2),
        ArchiveLimits(contents_bytes_max=100),
    ],
)
def test_a_large_archive_is_refused_before_its_blobs_are_read(
    limits: ArchiveLimits, full: bytes, other: Registry
) -> None:
    with pytest.raises(TooLargeError):
        take(other, full, limits=limits)
    assert not any(other.store.has(name) for name, _ in members(full)[1:])


def test_a_part_that_refuses_undoes_all(full: bytes, other: Registry) -> None:
    class Strict(Evidence):
        def import_rows(self, _session: Session, _rows: Sequence[dict[str, Any]]) -> None:
            raise InvalidError("no such evidence", "…")

    with pytest.raises(HubError, match="no such evidence"):
        take(other, full, part=Strict())
    with other.database.reading() as session:
        assert list(service.list_models(session, ADA, None, 10)) == []


def test_a_model_brings_its_floor_and_a_known_one_keeps_its_own(
    registry: Registry, other: Registry
) -> None:
    for number in (1, 2, 3):
        registry.register(number)
    registry.store.put([EVIDENCE])
    with registry.database.transaction() as session:
        service.set_floor(session, ADA, "caps", 2)
    take(other, exported(registry))
    with other.database.transaction() as session:
        assert service.floor(session, "caps") == 2
        service.set_floor(session, ADA, "caps", 3)
    take(other, exported(registry))
    with other.database.reading() as session:
        assert service.floor(session, "caps") == 3


def test_numbers_that_came_in_an_archive_are_used_up(full: bytes, other: Registry) -> None:
    take(other, full)
    with other.database.transaction() as session:
        service.delete_version(session, ADA, "caps", 2)
        assert service.next_number(session, "caps") == 3
    take(other, full)
    with other.database.reading() as session:
        assert service.next_number(session, "caps") == 3
