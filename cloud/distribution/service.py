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
        """Make the repository where there is none, name every build of the registry that is
        admitted, and bring the models' floors up to date. What was named stays named."""
        now = time.time()
        self._repository.ensure(now)
        floors = registry.floors(session)
        named = [
            _target(build, floors[build.model])
            for build in registry.all_builds(session)
            if registry.admitted(build)
        ]
        self._repository.add_builds(named, now)
        self._repository.set_floors(floors, now)

    def register_build(self, session: Session, build: Build, manifest: Manifest) -> None:
        """Name a build that is being registered; the registry's hook for admitted ones.

        The metadata is on the disk before the registration is committed. Where that fails
        it names a build that nobody will be told to run.
        """
        floor = registry.floor(session, build.model)
        target = _target(build, floor, manifest.build)
        if self._repository.add_builds([target], time.time()):
            self._publish_after_commit(session)

    def reinstate_build(self, session: Session, build: Build) -> None:
        """Name a build that a person reinstates; the registry's hook."""
        target = _target(build, registry.floor(session, build.model))
        if self._repository.add_builds([target], time.time()):
            self._publish_after_commit(session)

    def set_floor(self, session: Session, model: str, floor: int) -> None:
        """Let every target of the model carry a floor that is being set; the registry's hook.

        The metadata is on the disk before the floor is committed. Where that fails, the next
        `reconcile` takes it back.
        """
        if self._repository.set_floors({model: floor}, time.time()):
            self._publish_after_commit(session)

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

    def _publish_after_commit(self, session: Session) -> None:
        publisher = publisher_of(session)
        if publisher is not None:
            after_commit(session, lambda: self.publish(publisher))

    def standing_messages(self) -> list[tuple[Topic, bytes]]:
        """What a broker must hold: the files of the repository and their index."""
        files = self._repository.files()
        messages = [(Topic(Kind.TRUST, filename=n), data) for n, data in files.items()]
        index = Topic(Kind.TRUST, filename=TRUST_INDEX_FILENAME)
        self._handed_out = set(files)
        return [*messages, (index, encode(index_of(files)))]


def _target(build: Build, floor: int, identity: BuildIdentity | None = None) -> BuildTarget:
    identity = identity or BuildIdentity.model_validate(build.identity)
    return BuildTarget(
        digest=build.digest,
        manifest_bytes=build.manifest_bytes,
        model=build.model,
        version=build.number,
        target=identity.label(),
        floor=floor,
    )
