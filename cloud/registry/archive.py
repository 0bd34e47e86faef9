"""A model with all its versions, builds and evidence as one archive, and back on another hub.

The images of its datasets do not travel, only their manifests. Aliases and history stay with
the hub that they happened on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.blobs import service as blobs
from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.errors import ConflictError, InvalidError, StorageError
from cloud.registry import queries
from cloud.registry.artefacts import add_artefact
from cloud.registry.models import Build, DetectorModel, ModelVersion, Note
from cloud.registry.packing import (
    REMEDY,
    ArchivedArtefact,
    ArchivedBlob,
    ArchivedBuild,
    ArchivedModel,
    ArchivedNote,
    ArchivedVersion,
    ArchiveLimits,
    Contents,
    Source,
    pack,
    unpack,
)
from cloud.registry.reading import builds_of, get_model
from cloud.registry.registering import OnBuildRegistered, ensure_model, use_number
from cloud.registry.states import BuildState
from protocol import bundles
from protocol.bundles import Manifest
from protocol.chunks import BlobRef
from protocol.errors import ProtocolError

Row = dict[str, Any]


class ArchivePart(Protocol):
    """What a slice above the registry adds to an archive.

    `import_rows` gets rows that nobody has checked, in the transaction that registers the
    rest; it validates them, raises InvalidError, and leaves alone what is there already.
    """

    name: str

    def export_rows(self, session: Session, model: str, /) -> list[Row]: ...

    def import_rows(self, session: Session, rows: Sequence[Row], /) -> None: ...

    def blobs(self, rows: Sequence[Row], /) -> list[str]:
        """Digests of the blobs that the rows name."""
        ...


@dataclass(frozen=True)
class Imported:
    """What an import added; nothing where all of it was there."""

    model: str
    versions: tuple[int, ...]
    builds: tuple[str, ...]


def contents_of(
    session: Session,
    principal: Principal,
    store: BlobStore,
    model: str,
    parts: Sequence[ArchivePart] = (),
) -> Contents:
    """The table of contents of a model's archive.

    Raises:
        NotFoundError: there is no such model.
        StorageError: a blob that belongs to it is not in the store.
    """
    require(principal, Role.OPERATOR)
    row = get_model(session, principal, model)
    versions = queries.versions(session, model, 0, None, archived=True)
    builds = [build for version in versions for build in builds_of(session, version)]
    artefacts = [
        (version.number, artefact)
        for version in versions
        for artefact in queries.artefacts(session, version.id or 0)
    ]
    subjects = [f"model/{model}", *(f"model/{model}/{v.number}" for v in versions)]
    subjects += [f"build/{build.digest}" for build in builds]
    rows = {part.name: part.export_rows(session, model) for part in parts}
    needed = [version.weights_sha256 for version in versions]
    needed += [sha256 for build in builds for sha256 in _bundle(store, build.digest)]
    needed += [artefact.sha256 for _, artefact in artefacts]
    needed += [sha256 for part in parts for sha256 in part.blobs(rows[part.name])]
    # A dataset that this hub never had, behind an imported version, has no manifest here.
    needed += [v.dataset_digest for v in versions if store.has(v.dataset_digest)]
    return Contents(
        model=ArchivedModel(**_only(ArchivedModel, row.model_dump())),
        versions=[ArchivedVersion(**_only(ArchivedVersion, v.model_dump())) for v in versions],
        builds=[ArchivedBuild(**_only(ArchivedBuild, b.model_dump())) for b in builds],
        artefacts=[
            ArchivedArtefact(**_only(ArchivedArtefact, {**a.model_dump(), "number": number}))
            for number, a in artefacts
        ],
        notes=[
            ArchivedNote(**_only(ArchivedNote, note.model_dump()))
            for subject in subjects
            for note in queries.notes(session, subject)
        ],
        parts=rows,
        blobs=[_archived_blob(session, store, sha256) for sha256 in dict.fromkeys(needed)],
    )


def stream(contents: Contents, store: BlobStore) -> Iterator[bytes]:
    """The archive's bytes."""

    def read(blob: ArchivedBlob) -> Iterable[bytes]:
        return store.iterate(blob.sha256, 0, blob.size_bytes)

    return pack(contents, read)


@dataclass(frozen=True)
class ArchiveReader:
    """Takes archives in: the blobs as they come, then every row in one transaction.

    Attributes:
        hooks: told of each admitted build that was not there.
    """

    database: Database
    store: BlobStore
    limits: ArchiveLimits
    hooks: Sequence[OnBuildRegistered] = ()
    parts: Sequence[ArchivePart] = ()

    def take(self, principal: Principal, source: Source) -> Imported:
        """Register what an archive holds; the same archive again changes nothing.

        A blob that came before something was refused stays in the store without a row.

        Raises:
            ForbiddenError: whoever asks is no administrator: builds may hold machine code.
            InvalidError, TooLargeError: it is no archive, or one that is not to be believed.
            ConflictError: the model or a version of it is there with another content.
        """
        require(principal, Role.ADMINISTRATOR)
        refs: dict[str, BlobRef] = {}

        def keep(blob: ArchivedBlob, pieces: Iterator[bytes]) -> None:
            refs[blob.sha256] = self.store.put(pieces, expected_sha256=blob.sha256)

        contents = unpack(source, self.limits, keep)
        manifests = _checked(contents, refs, self.store)
        self._check_parts(contents, refs)
        with self.database.transaction() as session:
            for blob in contents.blobs:
                blobs.record(session, refs[blob.sha256], blob.media_type)
            return self._register(session, principal, contents, manifests, refs)

    def _register(
        self,
        session: Session,
        principal: Principal,
        contents: Contents,
        manifests: Mapping[str, Manifest],
        refs: Mapping[str, BlobRef],
    ) -> Imported:
        model = _model(session, principal, contents.model)
        name = contents.model.name
        use_number(session, model, max((v.number for v in contents.versions), default=0))
        versions = {row.number: _version(session, name, row) for row in contents.versions}
        fresh = tuple(number for number, (_, is_new) in versions.items() if is_new)
        added = []
        for row in contents.builds:
            if session.get(Build, row.digest) is not None:
                continue
            manifest = manifests[row.digest]
            stored = refs[row.digest]
            build = _build(session, versions[row.number][0], row, manifest, stored.size_bytes)
            added.append(build.digest)
            if row.state is not BuildState.REJECTED:
                for hook in self.hooks:
                    hook(session, build, manifest)
        for artefact in contents.artefacts:
            version, is_new = versions[artefact.number]
            kept = add_artefact(
                session, principal, version, artefact.name,
                kind=artefact.kind, media_type=artefact.media_type, blob=refs[artefact.sha256],
            )  # fmt: skip
            if is_new:
                kept.created_at = artefact.created_at
        _notes(session, contents)
        for part in self.parts:
            part.import_rows(session, contents.parts.get(part.name, []))
        if fresh or added:
            access.audit(
                session, principal, "model.import", f"model/{name}",
                versions=list(fresh), builds=len(added),
            )  # fmt: skip
        return Imported(name, fresh, tuple(added))

    def _check_parts(self, contents: Contents, refs: Mapping[str, BlobRef]) -> None:
        """Raises InvalidError where a part is unknown here or names a blob that did not come."""
        known = {part.name: part for part in self.parts}
        for name, rows in contents.parts.items():
            if name not in known:
                if rows:
                    raise InvalidError(
                        f"the archive holds {name[:80]!r}, which is unknown here",
                        "import it with a hub of the version that made it",
                    )
                continue
            try:
                named = known[name].blobs(rows)
            except (KeyError, TypeError, ValueError) as error:
                raise InvalidError(f"rows of {name}: {error!r}", REMEDY) from error
            _check_came(named, refs, name)


def _checked(
    contents: Contents, refs: Mapping[str, BlobRef], store: BlobStore
) -> dict[str, Manifest]:
    """The builds' manifests by digest, once everything that the rows name is known to be there.

    Raises:
        InvalidError: something is missing, or a row and its manifest do not agree.
    """
    numbers = {version.number for version in contents.versions}
    _check_came([v.weights_sha256 for v in contents.versions], refs, "versions")
    _check_came([a.sha256 for a in contents.artefacts], refs, "artefacts")
    _check_came([b.digest for b in contents.builds], refs, "builds")
    owners = {b.number for b in contents.builds} | {a.number for a in contents.artefacts}
    if strays := owners - numbers:
        raise InvalidError(f"a row is of version {min(strays)}, which is not there", REMEDY)
    subjects = {f"model/{contents.model.name}"} | {f"build/{b.digest}" for b in contents.builds}
    subjects |= {f"model/{contents.model.name}/{number}" for number in numbers}
    if strange := {note.subject for note in contents.notes} - subjects:
        raise InvalidError(f"a note is about {min(strange)[:80]!r}", REMEDY)
    return {row.digest: _manifest(contents, row, refs, store) for row in contents.builds}


def _manifest(
    contents: Contents, row: ArchivedBuild, refs: Mapping[str, BlobRef], store: BlobStore
) -> Manifest:
    try:
        if refs[row.digest].size_bytes > bundles.MANIFEST_BYTES_MAX:
            raise InvalidError(f"build {row.digest[:12]} is too large for a manifest", REMEDY)
        manifest = bundles.read_manifest(store.read(row.digest), row.digest)
    except ProtocolError as error:
        raise InvalidError(f"build {row.digest[:12]}: {error}", REMEDY) from error
    wanted = (contents.model.name, row.number, tuple(contents.model.class_names))
    if (manifest.model, manifest.version, manifest.class_names) != wanted:
        raise InvalidError(
            f"build {row.digest[:12]} is of {manifest.model} v{manifest.version}, "
            "or of other classes",
            REMEDY,
        )
    _check_came([file.blob.sha256 for file in manifest.files], refs, f"build {row.digest[:12]}")
    for file in manifest.files:
        if file.blob != refs[file.blob.sha256]:
            raise InvalidError(
                f"build {row.digest[:12]}: the chunks of {file.path} are not those of its bytes",
                REMEDY,
            )
    return manifest


def _check_came(named: Iterable[str], refs: Mapping[str, BlobRef], who: str) -> None:
    for sha256 in named:
        if sha256 not in refs:
            raise InvalidError(f"{who}: blob {str(sha256)[:12]} is not in the archive", REMEDY)


def _model(session: Session, principal: Principal, archived: ArchivedModel) -> DetectorModel:
    """The model, made with the archive's floor and policy where there was none."""
    is_new = session.get(DetectorModel, archived.name) is None
    model = ensure_model(session, principal, archived.name, archived.class_names)
    if is_new:
        model.floor, model.policy = archived.floor, dict(archived.policy)
        session.add(model)
        session.flush()
    return model


def _version(session: Session, model: str, row: ArchivedVersion) -> tuple[ModelVersion, bool]:
    """The version, and whether it was made. Raises ConflictError where it is another."""
    there = queries.version(session, model, row.number)
    if there is None:
        version = ModelVersion(model=model, **row.model_dump())
        session.add(version)
        session.flush()
        return version, True
    if ArchivedVersion(**_only(ArchivedVersion, there.model_dump())) != row:
        raise ConflictError(
            f"{model} has another version {row.number} here",
            "import it into a hub without this model, or delete the version here first",
        )
    return there, False


def _build(
    session: Session,
    version: ModelVersion,
    row: ArchivedBuild,
    manifest: Manifest,
    manifest_bytes: int,
) -> Build:
    build = Build(
        **row.model_dump(mode="json"),
        version_id=version.id or 0,
        model=version.model,
        identity=manifest.build.model_dump(mode="json", exclude_none=True),
        size_bytes=manifest.size_bytes + manifest_bytes,
        manifest_bytes=manifest_bytes,
    )
    session.add(build)
    session.flush()
    return build


def _notes(session: Session, contents: Contents) -> None:
    for row in contents.notes:
        there = [(n.text, n.at, n.by) for n in queries.notes(session, row.subject)]
        if (row.text, row.at, row.by) not in there:
            session.add(Note(**row.model_dump()))
            session.flush()


def _bundle(store: BlobStore, digest: str) -> list[str]:
    """Digests of a build's manifest and files."""
    if not store.has(digest):
        raise StorageError(f"blob {digest[:12]} is not in the store", "restore it from a backup")
    manifest = bundles.read_manifest(store.read(digest), digest)
    return [digest, *(file.blob.sha256 for file in manifest.files)]


def _archived_blob(session: Session, store: BlobStore, sha256: str) -> ArchivedBlob:
    if not store.has(sha256):
        raise StorageError(f"blob {sha256[:12]} is not in the store", "restore it from a backup")
    media_type = blobs.media_type(session, sha256) or blobs.OCTETS
    return ArchivedBlob(sha256=sha256, size_bytes=store.size_bytes(sha256), media_type=media_type)


def _only(shape: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that the shape has."""
    return {name: values[name] for name in shape.model_fields}
