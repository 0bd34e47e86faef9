"""Imports in the background: read the folder, store its images, register the version."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlmodel import Session

from cloud.access.principal import Principal, service_principal
from cloud.blobs import service as blobs
from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.datasets import manifest as manifests
from cloud.datasets import service
from cloud.datasets.folder import FolderContent, FolderImage, FolderLimits, read_folder
from cloud.datasets.manifest import DatasetManifest, Item
from cloud.datasets.models import DatasetImport
from cloud.datasets.splits import Candidate, LeftOut, Split, SplitRules, plan_import
from cloud.datasets.states import ImportEvent
from cloud.errors import HubError, InvalidError
from protocol.chunks import BlobRef

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 1.0
RECORD_BATCH_ROWS = 500
ERROR_CHARACTERS_MAX = 20_000
MEDIA_TYPES = {
    ".jpg": "image/jpeg", ".png": "image/png", ".bmp": "image/bmp", ".webp": "image/webp",
}  # fmt: skip

OnImported = Callable[[Session, Principal, str, Sequence[str]], object]
"""Given the model that the import names and the classes, in the registering transaction."""


class _Stopped(Exception):  # noqa: N818 - no error: the hub stops
    pass


class Importer:
    """One import at a time, each in a thread of its own making.

    Args:
        on_imported: called for an import that names a model; raising undoes the import.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        *,
        limits: FolderLimits | None = None,
        rules: SplitRules | None = None,
        on_imported: OnImported | None = None,
    ) -> None:
        self._database, self._store = database, store
        self._limits, self._rules = limits or FolderLimits(), rules or SplitRules()
        self._on_imported = on_imported
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="importer")
        self._stopping = False

    def start(self) -> None:
        """Settle what an earlier run of the hub left."""
        with self._database.transaction() as session:
            service.fail_unfinished_imports(session)

    def submit(self, import_id: str) -> None:
        """Run an import that is in the database."""
        self._threads.submit(self._run, import_id)

    def stop(self) -> None:
        """Stop at the next image; what is unfinished is settled at the next start."""
        self._stopping = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, import_id: str) -> None:
        try:
            row = self._update(import_id, ImportEvent.STARTED)
            self._import(row)
        except _Stopped:
            return
        except HubError as error:
            self._fail(import_id, str(error))
        except Exception as error:
            log.exception("import %s failed", import_id)
            self._fail(import_id, f"the hub failed at it: {error}; see the hub's log")

    def _import(self, row: DatasetImport) -> None:
        content = read_folder(Path(row.folder), self._limits, self._progress(row.id))
        manifest, left_out, files = _plan(content, self._rules)
        self._store_images(manifest, files)
        self._store.put([manifests.canonical(manifest)])
        principal = service_principal("importer")
        with self._database.transaction() as session:
            version = service.register_version(
                session,
                principal,
                row.dataset,
                manifest,
                left_out,
                golden_frames_released=row.golden_frames_released,
            )
            if row.model is not None and self._on_imported is not None:
                self._on_imported(session, principal, row.model, manifest.class_names)
            done = service.get_import(session, principal, row.id)
            service.move_import(done, ImportEvent.REGISTERED)
            done.version = version.number
            session.add(done)

    def _store_images(self, manifest: DatasetManifest, files: dict[str, FolderImage]) -> None:
        stored: list[tuple[BlobRef, str]] = []
        for item in manifest.items:
            self._check_stop()
            # The digest is expected, so a file that changed meanwhile is refused.
            with files[item.image].path.open("rb") as file:
                ref = self._store.put(iter(lambda: file.read(1 << 20), b""),
                                      expected_sha256=item.image)  # fmt: skip
            stored.append((ref, MEDIA_TYPES[item.suffix]))
        for start in range(0, len(stored), RECORD_BATCH_ROWS):
            # Short transactions: others write too.
            with self._database.transaction() as session:
                for ref, media_type in stored[start : start + RECORD_BATCH_ROWS]:
                    blobs.record(session, ref, media_type)

    def _progress(self, import_id: str) -> Callable[[int, int], None]:
        written_at = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal written_at
            self._check_stop()
            now = time.monotonic()
            if done == total or now - written_at >= PROGRESS_EVERY_S:
                written_at = now
                self._update(import_id, done=done, total=total)

        return progress

    def _update(
        self, import_id: str, event: ImportEvent | None = None, done: int = 0, total: int = 0
    ) -> DatasetImport:
        with self._database.transaction() as session:
            row = service.get_import(session, service_principal("importer"), import_id)
            if event is not None:
                service.move_import(row, event)
            row.images_done, row.images_total = done, total
            session.add(row)
        return row

    def _fail(self, import_id: str, why: str) -> None:
        with self._database.transaction() as session:
            row = service.get_import(session, service_principal("importer"), import_id)
            service.move_import(row, ImportEvent.ERROR)
            row.error = why[:ERROR_CHARACTERS_MAX]
            session.add(row)

    def _check_stop(self) -> None:
        if self._stopping:
            raise _Stopped


def _plan(
    content: FolderContent, rules: SplitRules
) -> tuple[DatasetManifest, list[LeftOut], dict[str, FolderImage]]:
    """The manifest, who is left out of it, and the files behind it by digest."""
    train, train_copies = distinct(content.train)
    golden, golden_copies = distinct(content.val)
    try:
        plan = plan_import(_candidates(train), _candidates(golden), rules)
    except ValueError as error:
        raise InvalidError(str(error), "nothing was registered") from error
    chosen = [(train[index], split) for index, split in plan.splits.items()]
    chosen += [(image, Split.GOLDEN) for image in golden]
    manifest = manifests.build(
        content.class_names, [_item(image, split) for image, split in chosen]
    )
    left_out = [*train_copies, *golden_copies, *plan.left_out]
    return manifest, left_out, {image.facts.sha256: image for image, _split in chosen}


def distinct(images: Sequence[FolderImage]) -> tuple[list[FolderImage], list[LeftOut]]:
    """The images of one split, of several with the same bytes the first; the others listed."""
    first: dict[str, FolderImage] = {}
    copies = []
    for image in images:
        kept = first.setdefault(image.facts.sha256, image)
        if kept is not image:
            labels = "labelled alike" if kept.boxes == image.boxes else "labelled otherwise"
            copies.append(LeftOut(image.name, kept.name, 0, f"the same file, {labels}"))
    return list(first.values()), copies


def _candidates(images: Sequence[FolderImage]) -> list[Candidate]:
    return [
        Candidate(i.name, i.facts.difference_hash, i.tags.camera, i.tags.captured_at)
        for i in images
    ]


def _item(image: FolderImage, split: Split) -> Item:
    facts = image.facts
    return Item(
        image=facts.sha256,
        size_bytes=facts.size_bytes,
        width=facts.width,
        height=facts.height,
        suffix=facts.suffix,
        split=split,
        boxes=image.boxes,
        difference_hash=facts.difference_hash.hex(),
        source=f"import:{image.name}",
        camera=image.tags.camera,
        captured_at=image.tags.captured_at,
        tags=image.tags.tags,
    )
