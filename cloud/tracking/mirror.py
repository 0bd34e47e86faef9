"""The mirror: again and again, what the registry holds is compared with what was pushed.

It follows the state, not events, so nothing that happened while the server was down is missed.
All talk with the server is in a child process, which dies with the hub.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from sqlmodel import Session

from cloud.blobs.store import BlobStore
from cloud.children import ChildCanceled, ChildFailed, ChildLimits, run_child
from cloud.database import Database
from cloud.loops import Loop
from cloud.registry.models import Artefact, Build
from cloud.settings import TrackingSettings
from cloud.tracking import queries
from cloud.tracking.content import Bounds, MirrorContent, MirrorFile, content
from cloud.tracking.environment import environment, redacted, secrets_in
from cloud.tracking.models import TrackedVersion
from cloud.tracking.push import ERROR_CHARACTERS_MAX, Pushed
from cloud.tracking.retrying import Retry, is_due
from protocol.bundles import read_manifest

log = logging.getLogger(__name__)

CHILD = (sys.executable, "-m", "cloud.tracking.push")
PAGE_VERSIONS = 100


@dataclass(frozen=True)
class _Due:
    version_id: int
    content: MirrorContent
    run_id: str | None


class Mirror:
    """Keeps the configured server as the registry is, from `start` to `stop`.

    Without `tracking_uri` it does nothing.

    Args:
        folder: its own; what lies there is removed.
        rng: spreads the tries after failures.
        child: what is started to push; tests give a stand-in.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        folder: Path,
        settings: TrackingSettings,
        *,
        http_proxy: str | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
        child: Sequence[str] = CHILD,
    ) -> None:
        self._database, self._store, self._folder = database, store, folder
        self._settings, self._child, self._clock = settings, child, clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads tries, protects nothing
        self._environment = environment(settings, http_proxy)
        self._secrets = secrets_in({**os.environ, **self._environment})
        self._retry = Retry(settings.retry_delay_first_s, settings.retry_delay_max_s)
        # Lost with the process, on purpose: after a start everything is tried at once.
        self._retry_at: dict[int, float] = {}
        self._files: dict[str, tuple[MirrorFile, ...]] = {}
        self._stopping = threading.Event()
        self._loop = Loop("tracking", settings.period_s, self._take_step)

    @property
    def server(self) -> str | None:
        """Whose rows of `tracked_version` are ours; it holds no password."""
        return self._settings.tracking_uri

    def start(self) -> None:
        if self.server is not None:
            self._loop.start()

    def stop(self) -> None:
        """End the child that may be running, and the loop."""
        self._stopping.set()
        self._loop.stop()

    def wake(self) -> None:
        """Look for news now."""
        self._loop.wake()

    def step(self) -> int:
        """Push what is new, at most `versions_per_push_max` versions; how many were pushed.

        A server that fails is written into the rows and the log, and raises nothing.
        """
        if self.server is None:
            return 0
        with self._database.reading() as session:
            due = list(islice(self._due(session), self._settings.versions_per_push_max))
        if not due:
            return 0
        try:
            outcomes = self._push(due)
        except ChildCanceled:
            return 0
        return self._store_outcomes(due, outcomes)

    def _take_step(self) -> None:
        self.step()

    def _due(self, session: Session) -> Iterator[_Due]:
        rows = {row.version_id: row for row in queries.tracked(session, self.server or "")}
        now = self._clock()
        for version_id, wanted in self._contents(session):
            row = rows.get(version_id)
            if is_due(row, wanted.sha256, self._retry_at.get(version_id), now):
                yield _Due(version_id, wanted, row.run_id if row else None)

    def _contents(self, session: Session) -> Iterator[tuple[int, MirrorContent]]:
        aliases: dict[tuple[str, int], list[str]] = {}
        for alias in queries.aliases(session):
            aliases.setdefault((alias.model, alias.number), []).append(alias.alias)
        settings, after = self._settings, 0
        bounds = Bounds(settings.artifact_bytes_max, settings.version_artifact_bytes_max)
        while page := queries.versions(session, after, PAGE_VERSIONS):
            ids = [version.id or 0 for version in page]
            after = ids[-1]
            builds: dict[int, list[Build]] = {i: [] for i in ids}
            artefacts: dict[int, list[Artefact]] = {i: [] for i in ids}
            for build in queries.builds(session, ids):
                builds[build.version_id].append(build)
            for artefact in queries.artefacts(session, ids):
                artefacts[artefact.version_id].append(artefact)
            for version in page:
                assert version.id is not None  # noqa: S101 - it came from the database
                yield (
                    version.id,
                    content(
                        version,
                        builds[version.id],
                        aliases.get((version.model, version.number), ()),
                        artefacts[version.id],
                        prefix=settings.prefix,
                        bounds=bounds,
                        build_files=self._build_files(builds[version.id]),
                    ),
                )

    def _build_files(self, builds: Sequence[Build]) -> Mapping[str, tuple[MirrorFile, ...]]:
        """The files of each build, where they are wanted; manifests never change."""
        if not self._settings.with_build_files:
            return {}
        for build in builds:
            if build.digest not in self._files and self._store.has(build.digest):
                manifest = read_manifest(self._store.read(build.digest), build.digest)
                self._files[build.digest] = tuple(
                    MirrorFile(file.path, file.blob.sha256, file.blob.size_bytes)
                    for file in manifest.files
                )
        return {b.digest: self._files[b.digest] for b in builds if b.digest in self._files}

    def _push(self, due: Sequence[_Due]) -> dict[str, Pushed]:
        """What the child says of each key. Raises ChildCanceled where the mirror is stopping."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        order, result = self._folder / "order.json", self._folder / "result.jsonl"
        order.write_text(json.dumps(self._order(due)))
        deadline = time.monotonic() + self._settings.push_timeout_s
        why = "the child that pushes ended without a word of it"
        try:
            run_child(
                [*self._child, str(order), str(result)],
                self._folder / "log",
                environment=self._environment,
                canceled=lambda: self._stopping.is_set() or time.monotonic() > deadline,
                limits=ChildLimits(terminate_grace_s=1.0),
            )
        except ChildCanceled:
            if self._stopping.is_set():
                raise
            why = f"not done within {self._settings.push_timeout_s:g} s"
        except ChildFailed as error:
            why = redacted(str(error), self._secrets)[:ERROR_CHARACTERS_MAX]
        lines = result.read_text().splitlines() if result.exists() else []
        said = [Pushed.model_validate_json(line) for line in lines if line.endswith("}")]
        outcomes = {pushed.key: pushed for pushed in said}
        # Those after one that found no server were not tried; what held it holds for them.
        last = said[-1] if said else None
        rest = last.error if last and last.unreachable else why
        for item in due:
            outcomes.setdefault(item.content.key, Pushed(key=item.content.key, error=rest))
        return outcomes

    def _order(self, due: Sequence[_Due]) -> dict[str, object]:
        parts = urlsplit(self.server or "")
        local = parts.scheme == "sqlite"
        return {
            # A database alone keeps no files; they lie in a folder beside it.
            "artifact_folder": f"{parts.path[1:]}.artifacts" if local else None,
            "pushes": [
                {
                    "content": item.content.as_json(),
                    "run_id": item.run_id,
                    "blobs": {
                        f.sha256: str(self._store.path(f.sha256)) for f in item.content.files
                    },
                }
                for item in due
            ],
        }

    def _store_outcomes(self, due: Sequence[_Due], outcomes: Mapping[str, Pushed]) -> int:
        now, failed = self._clock(), 0
        server = self.server or ""
        with self._database.transaction() as session:
            for item in due:
                pushed = outcomes[item.content.key]
                row = session.get(TrackedVersion, (item.version_id, server)) or TrackedVersion(
                    version_id=item.version_id, server=server, at=now
                )
                row.at, row.error = now, pushed.error
                if pushed.error is None:
                    row.run_id, row.model_version = pushed.run_id, pushed.model_version
                    row.content_sha256, row.failures = item.content.sha256, 0
                    self._retry_at.pop(item.version_id, None)
                else:
                    failed += 1
                    row.failures += 1
                    delay_s = self._retry.delay_s(row.failures, self._rng)
                    self._retry_at[item.version_id] = now + delay_s
                session.add(row)
        if failed:
            first = next(p for p in outcomes.values() if p.error is not None)
            log.warning(
                "%d of %d versions were not mirrored to %s; they are tried again. %s: %s",
                failed, len(due), server, first.key, first.error,
            )  # fmt: skip
        else:
            log.info("%d versions mirrored to %s", len(due), server)
        return len(due) - failed
