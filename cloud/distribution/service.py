"""Verbs of distribution: builds become trusted, and devices hear of it."""

from __future__ import annotations

import time

from sqlmodel import Session

from cloud.database import Publisher, after_commit, publisher_of
from cloud.distribution.trust import BuildTarget, TrustRepository, index_of
from cloud.registry import service as registry
from cloud.registry.models import Build
from protocol.builds import BuildIdentity
from protocol.bundles import Manifest
from protocol.messages import encode
from protocol.topics import TRUST_INDEX_FILENAME, Kind, Topic


class TrustService:
    """The repository, tied to the registry on one side and to the broker on the other."""

    def __init__(self, repository: TrustRepository) -> None:
        self._repository = repository
        self._handed_out: set[str] = set()

    def reconcile(self, session: Session) -> None:
        """Make the repository where there is none, and name every build of the registry."""
        now = time.time()
        self._repository.ensure(now)
        self._repository.add_builds([_target(b) for b in registry.all_builds(session)], now)

    def register_build(self, session: Session, build: Build, manifest: Manifest) -> None:
        """Name a build that is being registered; the registry's hook.

        The metadata is on the disk before the registration is committed. Where that fails
        it names a build that nobody will be told to run.
        """
        if self._repository.add_builds([_target(build, manifest.build)], time.time()):
            publisher = publisher_of(session)
            if publisher is not None:
                after_commit(session, lambda: self.publish(publisher))

    def renew(self, publisher: Publisher) -> None:
        """Sign anew what would expire, and publish it."""
        if self._repository.renew(time.time()):
            self.publish(publisher)

    def publish(self, publisher: Publisher) -> None:
        """Publish every file, the index last, and clear the ones that are no more."""
        before = self._handed_out
        for topic, payload in self.standing_messages():
            publisher.publish(topic, payload)
        for gone in sorted(before - self._handed_out):
            publisher.publish(Topic(Kind.TRUST, filename=gone), b"")

    def standing_messages(self) -> list[tuple[Topic, bytes]]:
        """What a broker must hold: the files of the repository and their index."""
        files = self._repository.files()
        messages = [(Topic(Kind.TRUST, filename=n), data) for n, data in files.items()]
        index = Topic(Kind.TRUST, filename=TRUST_INDEX_FILENAME)
        self._handed_out = set(files)
        return [*messages, (index, encode(index_of(files)))]


def _target(build: Build, identity: BuildIdentity | None = None) -> BuildTarget:
    identity = identity or BuildIdentity.model_validate(build.identity)
    return BuildTarget(
        digest=build.digest,
        manifest_bytes=build.manifest_bytes,
        model=build.model,
        version=build.number,
        target=identity.label(),
    )
