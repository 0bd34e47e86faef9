"""Whether a model finds room: the machine's memory, its groups' limits, and neither known."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update import memory
from edge_agent.update.memory import available_bytes, give_back, room_for

MIB = 1024**2


@given(needed=st.floats(0, 1e12), available=st.integers(0, 10**12), kept=st.integers(0, 10**10))
def test_there_is_room_where_enough_is_left(needed: float, available: int, kept: int) -> None:
    said = room_for(needed, available, kept)
    assert (said == "") == (available - needed >= kept)
    assert room_for(needed, None, kept) == ""


def test_the_reason_names_the_figures_and_the_limit() -> None:
    said = room_for(300 * MIB, 200 * MIB, 64 * MIB)
    assert "300 MiB" in said and "200 MiB" in said and "memory_free_bytes_min" in said


def test_this_machine_knows_its_room() -> None:
    assert 0 < (available_bytes() or 0) < 2**50


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "groups")
    monkeypatch.setattr(memory, "OWN_CGROUP", tmp_path / "own")
    return tmp_path


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_nothing_is_known_of_a_strange_machine(machine: Path) -> None:
    assert available_bytes() is None
    write(machine / "meminfo", "MemAvailable: many kB")
    write(machine / "own", "nonsense")
    assert available_bytes() is None


def test_the_smallest_of_machine_and_groups_counts(machine: Path) -> None:
    write(machine / "meminfo", "MemTotal: 8000 kB\nMemAvailable:    4000 kB")
    write(machine / "own", "0::/system.slice/argosy.service")
    assert available_bytes() == 4000 * 1024
    group = machine / "groups" / "system.slice"
    write(group / "argosy.service" / "memory.max", "max")
    write(group / "argosy.service" / "memory.current", 1000)
    assert available_bytes() == 4000 * 1024
    write(group / "memory.max", 3_000_000)
    write(group / "memory.current", 2_500_000)
    write(group / "memory.stat", "anon 1\ninactive_file 100000")
    assert available_bytes() == 600_000
    write(group / "argosy.service" / "memory.max", 1500)
    assert available_bytes() == 500


def test_a_container_sees_its_group_as_the_root_and_the_old_version_counts(machine: Path) -> None:
    write(machine / "own", "9:cpu,cpuacct:/elsewhere\n4:memory:/docker/abc\n0::/")
    root = machine / "groups" / "memory"
    write(root / "memory.limit_in_bytes", 2_000_000)
    write(root / "memory.usage_in_bytes", 3_000_000)
    assert available_bytes() == 0
    write(root / "memory.limit_in_bytes", 2**63 - 4096)
    assert available_bytes() is None


def test_freed_memory_goes_back_where_the_c_library_can() -> None:
    assert give_back() is (platform.libc_ver()[0] == "glibc")
