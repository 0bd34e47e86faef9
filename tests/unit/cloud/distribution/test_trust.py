"""The TUF repository, read as a device does: with python-tuf's own rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from tuf.api.exceptions import ExpiredMetadataError
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from cloud.distribution.service import TrustService
from cloud.distribution.trust import BuildTarget, TrustRepository, index_of
from cloud.errors import ConfigurationError
from protocol.chunks import sha256_hex
from protocol.topics import Kind, Topic
from tests.unit.cloud.conftest import Heard

DAY_S = 86_400.0
NOW = datetime.now(tz=timezone.utc).timestamp()
BUILD = BuildTarget("ab" * 32, 900, "factory", 3, "onnx-fp32-320x320")
OTHER = BuildTarget("cd" * 32, 800, "factory", 4, "onnx-fp32-320x320")


@pytest.fixture
def repository(tmp_path: Path) -> TrustRepository:
    made = TrustRepository(tmp_path / "trust", tmp_path / "keys", expires_s=7 * DAY_S)
    made.ensure(NOW)
    return made


def trusted(files: dict[str, bytes]) -> TrustedMetadataSet:
    """The files loaded in TUF's order, each verified against the one before."""
    roots = sorted(
        (name for name in files if name.endswith(".root.json")),
        key=lambda name: int(name.split(".")[0]),
    )
    loaded = TrustedMetadataSet(files[roots[0]], EnvelopeType.METADATA)
    for name in roots[1:]:
        loaded.update_root(files[name])
    timestamp = loaded.update_timestamp(files["timestamp.json"])
    snapshot = loaded.update_snapshot(files[f"{timestamp.snapshot_meta.version}.snapshot.json"])
    version = snapshot.meta["targets.json"].version
    loaded.update_targets(files[f"{version}.targets.json"])
    return loaded


def test_a_build_is_a_target_with_what_it_is_for(repository: TrustRepository) -> None:
    assert repository.add_builds([BUILD], NOW) is True
    target = trusted(repository.files()).targets.targets[BUILD.digest]
    assert (target.length, target.hashes) == (900, {"sha256": BUILD.digest})
    assert target.custom == {
        "model": "factory",
        "version": 3,
        "target": "onnx-fp32-320x320",
        "floor": 1,
    }


def test_a_floor_is_carried_by_every_target_of_its_model(repository: TrustRepository) -> None:
    repository.add_builds([BUILD, OTHER, replace(BUILD, digest="ef" * 32, model="shop")], NOW)
    assert repository.set_floors({"factory": 4}, NOW) is True
    named = trusted(repository.files()).targets.targets
    assert {d[:2]: t.custom["floor"] for d, t in named.items()} == {"ab": 4, "cd": 4, "ef": 1}
    assert repository.set_floors({"factory": 4, "shop": 1, "none": 3}, NOW) is False
    assert repository.set_floors({"factory": 3}, NOW) is True
    assert trusted(repository.files()).targets.targets[BUILD.digest].custom["floor"] == 3


def test_the_same_build_again_changes_nothing(repository: TrustRepository) -> None:
    repository.add_builds([BUILD], NOW)
    before = repository.files()
    assert repository.add_builds([BUILD], NOW) is False
    assert repository.files() == before


def test_keys_and_builds_survive_a_restart(repository: TrustRepository, tmp_path: Path) -> None:
    repository.add_builds([BUILD], NOW)
    again = TrustRepository(tmp_path / "trust", tmp_path / "keys", expires_s=7 * DAY_S)
    again.ensure(NOW)
    again.add_builds([OTHER], NOW)
    assert set(trusted(again.files()).targets.targets) == {BUILD.digest, OTHER.digest}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_a_crash_before_the_timestamp_leaves_the_state_before(
    repository: TrustRepository, tmp_path: Path
) -> None:
    repository.add_builds([BUILD], NOW)
    timestamp = tmp_path / "trust" / "timestamp.json"
    before = timestamp.read_bytes()
    repository.add_builds([OTHER], NOW)
    timestamp.write_bytes(before)
    assert set(trusted(repository.files()).targets.targets) == {BUILD.digest}
    repository.add_builds([OTHER], NOW)
    assert OTHER.digest in trusted(repository.files()).targets.targets


def test_metadata_is_renewed_before_it_expires(repository: TrustRepository) -> None:
    assert repository.renew(NOW + DAY_S) is False
    assert repository.renew(NOW + 4 * DAY_S) is True
    assert repository.renew(NOW + 4 * DAY_S) is False
    assert trusted(repository.files()).timestamp.version == 2


def test_a_root_is_renewed_by_a_root(repository: TrustRepository) -> None:
    assert repository.renew(NOW + 200 * DAY_S) is True
    assert {"1.root.json", "2.root.json"} <= set(repository.files())
    assert trusted(repository.files()).root.version == 2


def test_what_is_not_renewed_expires(tmp_path: Path) -> None:
    stale = TrustRepository(tmp_path / "trust", tmp_path / "keys", expires_s=60)
    stale.ensure(NOW - 3600)
    with pytest.raises(ExpiredMetadataError):
        trusted(stale.files())


def test_broken_metadata_is_named(repository: TrustRepository, tmp_path: Path) -> None:
    (tmp_path / "trust" / "timestamp.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"timestamp\.json"):
        repository.ensure(NOW)


def test_the_index_names_every_file_and_old_ones_are_cleared(repository: TrustRepository) -> None:
    service, heard = TrustService(repository), Heard()
    service.publish(heard)
    repository.add_builds([BUILD], NOW)
    heard.messages.clear()
    service.publish(heard)
    sent = {topic.filename: data for topic, data in heard.messages}
    cleared = {name for name, data in sent.items() if not data}
    assert cleared == {"1.targets.json", "1.snapshot.json"}
    files = repository.files()
    assert (
        {f.filename for f in index_of(files).files} == set(files) == set(sent) - cleared - {"index"}
    )
    assert all(f.sha256 == sha256_hex(files[f.filename]) for f in index_of(files).files)
    assert Topic(Kind.TRUST, filename="index") in {topic for topic, _ in heard.messages}
