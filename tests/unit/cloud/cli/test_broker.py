"""`argosy broker`: what it writes for Mosquitto."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from typer.testing import CliRunner

from cloud.cli.broker import broker, mosquitto_hash
from cloud.cli.client import CommandError


def test_passwords_are_added_and_renewed_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    first = json.loads(CliRunner().invoke(broker, ["passwords", str(file), "hub", "a"]).output)
    before = dict(line.split(":", 1) for line in file.read_text().splitlines())

    second = json.loads(CliRunner().invoke(broker, ["passwords", str(file), "a", "b"]).output)

    after = dict(line.split(":", 1) for line in file.read_text().splitlines())
    assert (sorted(first), sorted(second), sorted(after)) == (
        ["a", "hub"],
        ["a", "b"],
        ["a", "b", "hub"],
    )
    assert after["hub"] == before["hub"]
    assert after["a"] != before["a"]
    assert first["a"] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_names_and_files_that_cannot_be_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    refused = CliRunner().invoke(broker, ["passwords", str(file), "a:b"])
    assert isinstance(refused.exception, CommandError)
    assert not file.exists()

    file.write_text("no entry at all\n")
    refused = CliRunner().invoke(broker, ["passwords", str(file), "a"])
    assert isinstance(refused.exception, CommandError)
    assert file.read_text() == "no entry at all\n"


def test_the_hash_is_that_of_mosquitto_passwd() -> None:
    """Fixed by PBKDF2-HMAC-SHA512; that Mosquitto takes it, the integration tests show."""
    kind, iterations, salt, key = mosquitto_hash("secret", b"twelve bytes").split("$")[1:]
    assert (kind, iterations, salt) == ("7", "25000", "dHdlbHZlIGJ5dGVz")
    assert len(key) == 88


def test_the_rules_name_the_hub_and_the_root() -> None:
    said = CliRunner().invoke(broker, ["acl", "--root", "plant/argosy"]).output
    assert said.startswith("user hub\ntopic readwrite plant/argosy/#\n")
    assert "pattern write plant/argosy/devices/%u/telemetry\n" in said
