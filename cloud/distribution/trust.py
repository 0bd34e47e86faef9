"""The TUF repository that vouches for builds.

Four roles with an ed25519 key each. A build is a target named by its manifest's digest.
New metadata is written in TUF's order, targets, snapshot, timestamp: the timestamp makes
the rest current, so a crash in between leaves the state before.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from cloud.errors import ConfigurationError
from cloud.files import write_private
from protocol.chunks import sha256_hex
from protocol.messages import TrustFile, TrustIndex

ROLES = ("root", "targets", "snapshot", "timestamp")
TIMESTAMP_FILENAME = "timestamp.json"
OFFLINE_EXPIRES_S = 365 * 86_400.0
RENEW_SHARE = 0.5


@dataclass(frozen=True)
class BuildTarget:
    """A build as the metadata names it: manifest digest and bytes, and what it is for.

    Attributes:
        floor: of the model when the build is named: versions below it are revoked.
    """

    digest: str
    manifest_bytes: int
    model: str
    version: int
    target: str
    floor: int = 1


class TrustRepository:
    """Keys and metadata in two folders. Safe to use from many threads.

    Args:
        expires_s: of snapshot and timestamp; they are renewed when half of it has passed.
    """

    def __init__(self, folder: Path, keys: Path, *, expires_s: float) -> None:
        self._folder = folder
        self._expires_s = {
            "root": OFFLINE_EXPIRES_S,
            "targets": OFFLINE_EXPIRES_S,
            "snapshot": expires_s,
            "timestamp": expires_s,
        }
        self._lock = threading.Lock()
        self._signers = {role: _signer(keys / f"{role}.pem") for role in ROLES}

    def ensure(self, now: float) -> None:
        """Make the first metadata where there is none.

        Raises:
            ConfigurationError: there is metadata, and it cannot be read.
        """
        with self._lock:
            if (self._folder / TIMESTAMP_FILENAME).exists():
                self._load()
                return
            roles = {role: Role([self._signers[role].public_key.keyid], 1) for role in ROLES}
            root = Root(roles=roles, consistent_snapshot=True)
            for role in ROLES:
                root.add_key(self._signers[role].public_key, role)
            self._write("root", root, now)
            self._write_current(Targets(), Snapshot(), Timestamp(), now)

    def add_builds(self, builds: Sequence[BuildTarget], now: float) -> bool:
        """Name builds in the metadata; False where all of them are in it already."""
        with self._lock:
            _, targets, snapshot, timestamp = self._load()
            fresh = [b for b in builds if b.digest not in targets.targets]
            for build in fresh:
                targets.targets[build.digest] = _target_file(build)
            if fresh:
                self._publish(targets, snapshot, timestamp, now)
            return bool(fresh)

    def set_floors(self, floors: Mapping[str, int], now: float) -> bool:
        """Let every target of a model carry its floor; False where all of them do already.

        Args:
            floors: model → lowest version that is not revoked; other models stay as they are.
        """
        with self._lock:
            _, targets, snapshot, timestamp = self._load()
            stale = [t for t in targets.targets.values() if _floor_is_stale(t, floors)]
            for target in stale:
                custom = {**target.custom, "floor": floors[target.custom["model"]]}
                target.unrecognized_fields["custom"] = custom
            if stale:
                self._publish(targets, snapshot, timestamp, now)
            return bool(stale)

    def renew(self, now: float) -> bool:
        """Sign anew what has passed half of its time; False where nothing has."""
        with self._lock:
            root, targets, snapshot, timestamp = self._load()
            if self._ages(root, now):
                root.version += 1
                self._write("root", root, now)
            elif not any(self._ages(signed, now) for signed in (targets, snapshot, timestamp)):
                return False
            self._publish(targets, snapshot, timestamp, now)
            return True

    def files(self) -> dict[str, bytes]:
        """What devices must be able to fetch, by file name: every root, the rest's newest."""
        with self._lock:
            _, targets, snapshot, _ = self._load()
            names = [f"{number}.root.json" for number in self._root_versions()]
            names += [f"{targets.version}.targets.json", f"{snapshot.version}.snapshot.json"]
            return {n: (self._folder / n).read_bytes() for n in (*names, TIMESTAMP_FILENAME)}

    def _load(self) -> tuple[Root, Targets, Snapshot, Timestamp]:
        timestamp: Timestamp = self._read(TIMESTAMP_FILENAME)
        snapshot: Snapshot = self._read(f"{timestamp.snapshot_meta.version}.snapshot.json")
        targets: Targets = self._read(f"{snapshot.meta['targets.json'].version}.targets.json")
        root: Root = self._read(f"{self._root_versions()[-1]}.root.json")
        return root, targets, snapshot, timestamp

    def _read(self, name: str) -> Any:
        try:
            return Metadata.from_file(str(self._folder / name)).signed
        except (OSError, DeserializationError, ValueError) as error:
            raise ConfigurationError(
                f"trust metadata {name} cannot be read: {error}",
                f"restore {self._folder} from a backup",
            ) from error

    def _publish(
        self, targets: Targets, snapshot: Snapshot, timestamp: Timestamp, now: float
    ) -> None:
        """Write the next version of each."""
        for signed in (targets, snapshot, timestamp):
            signed.version += 1
        self._write_current(targets, snapshot, timestamp, now)

    def _write_current(
        self, targets: Targets, snapshot: Snapshot, timestamp: Timestamp, now: float
    ) -> None:
        """Write all three, each naming the one before, the timestamp last."""
        self._write("targets", targets, now)
        snapshot.meta["targets.json"] = MetaFile(version=targets.version)
        self._write("snapshot", snapshot, now)
        timestamp.snapshot_meta = MetaFile(version=snapshot.version)
        self._write("timestamp", timestamp, now)

    def _write(self, role: str, signed: Root | Targets | Snapshot | Timestamp, now: float) -> None:
        expires_s = self._expires_s[role]
        moment = datetime.fromtimestamp(now, tz=timezone.utc).replace(microsecond=0)
        signed.expires = moment + timedelta(seconds=expires_s)
        metadata: Metadata[Any] = Metadata(signed)
        metadata.sign(self._signers[role])
        name = f"{role}.json" if role == "timestamp" else f"{signed.version}.{role}.json"
        write_private(self._folder / name, metadata.to_bytes(JSONSerializer()).decode())

    def _ages(self, signed: Signed, now: float) -> bool:
        left_s = signed.expires.timestamp() - now
        return left_s < RENEW_SHARE * self._expires_s[str(signed.type)]

    def _root_versions(self) -> list[int]:
        return sorted(int(p.name.split(".")[0]) for p in self._folder.glob("*.root.json"))


def index_of(files: dict[str, bytes]) -> TrustIndex:
    """The index that names every file, so that "not there" can be told from "not yet heard"."""
    return TrustIndex(
        files=tuple(
            TrustFile(filename=name, sha256=sha256_hex(data), size_bytes=len(data))
            for name, data in sorted(files.items())
        )
    )


def _floor_is_stale(target: TargetFile, floors: Mapping[str, int]) -> bool:
    custom = target.custom or {}
    floor = floors.get(custom.get("model", ""))
    return floor is not None and custom.get("floor") != floor


def _target_file(build: BuildTarget) -> TargetFile:
    custom = {
        "model": build.model,
        "version": build.version,
        "target": build.target,
        "floor": build.floor,
    }
    return TargetFile(
        length=build.manifest_bytes,
        hashes={"sha256": build.digest},
        path=build.digest,
        unrecognized_fields={"custom": custom},
    )


def _signer(path: Path) -> CryptoSigner:
    """The key at `path`, made where there is none. Raises ConfigurationError."""
    if not path.exists():
        write_private(path, CryptoSigner.generate_ed25519().private_bytes.decode())
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), password=None))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the signing key {path} cannot be read: {error}", "restore it from a backup"
        ) from error
