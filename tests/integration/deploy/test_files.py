"""What deploy/ ships besides the broker, as far as it can be checked without Docker."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, lacking

pytestmark = pytest.mark.integration
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted(DEPLOY.glob("Dockerfile.*"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SCRIPTS = sorted((DEPLOY / "trial").glob("*.sh"))
ENDS = {"service_started", "service_healthy", "service_completed_successfully"}


def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return parsed


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        lacking("systemd-analyze is not installed (apt-get install systemd)")
    there = tmp_path / unit.name
    there.write_text(re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/bin/true", unit.read_text()))

    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(there)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (said.returncode, said.stderr) == (0, "")


def test_the_hubs_unit_lets_its_child_leave_the_network() -> None:
    """What `cloud.isolation` asks of the kernel: seccomp must not stand in its way."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / "argosy-hub.service")
    service = unit["Service"]
    assert set(service["RestrictNamespaces"].split()) == {"user", "net"}
    if shutil.which("systemd-analyze") is None:
        lacking("systemd-analyze is not installed (apt-get install systemd)")
    calls: set[str] = set()
    groups = service["SystemCallFilter"].split()
    while groups:
        listed = subprocess.run(
            ["systemd-analyze", "syscall-filter", groups.pop()],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout  # fmt: skip
        names = [line.strip() for line in listed.splitlines()[1:] if line.startswith("    ")]
        calls |= set(names)
        groups += [name for name in names if name.startswith("@")]
    assert {"unshare", "prctl", "capset", "prlimit64", "execve"} <= calls


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True, timeout=10)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_images_copy_is_there_and_not_ignored(dockerfile: Path) -> None:
    lines = dockerfile.read_text().splitlines()
    sources = [
        word
        for line in lines
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
        if not word.startswith("--")
    ]
    admitted = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }

    assert all(s in admitted or s.split("/")[0] in admitted for s in sources)
    assert [s for s in sources if not (ROOT / s).exists()] == []
    assert any(line.startswith("USER argosy") for line in lines)


def test_compose_names_what_exists() -> None:
    parsed = compose()
    services: dict[str, Any] = parsed["services"]
    for name, service in services.items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in services, f"{name} waits for {other}"
            assert condition["condition"] in ENDS
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            known = (DEPLOY / source).exists() if source[0] == "." else source in parsed["volumes"]
            assert known, f"{name} mounts {source}"
        if "build" in service:
            dockerfile = service["build"]["dockerfile"]
            assert (ROOT / dockerfile).exists()
        assert (
            "build" in service
            or any(
                service["image"] == other.get("image") and "build" in other
                for other in services.values()
            )
            or service["image"] == "eclipse-mosquitto:2.0"
        )


def test_nothing_of_the_trial_is_reachable_from_outside() -> None:
    ports = [
        port for service in compose()["services"].values() for port in service.get("ports", [])
    ]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
