"""The fence around what opens hostile files."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cloud import isolation

PROBE = """
import os, socket, sys
def tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "reached"
print(tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)))
print(tried(lambda: socket.getaddrinfo("example.com", 80)))
print(sorted(os.environ))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print({k: status[k].strip() for k in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs")})
"""


def behind(tmp_path: Path, *program: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        isolation.command(tmp_path, [sys.executable, *program]),
        capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/bin:/bin", "SECRET_TOKEN": "x", "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    if done.returncode == isolation.NO_FENCE:
        pytest.skip(f"this machine allows no namespaces: {done.stderr.strip()}")
    return done


def test_neither_a_listener_beside_it_nor_a_name_is_reached(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), 2).close()
        done = behind(tmp_path, "-c", PROBE, str(port))
    connected, resolved, environment, status = done.stdout.splitlines()
    assert (connected, resolved) == ("OSError", "gaierror")
    assert "SECRET_TOKEN" not in environment
    assert "'CapEff': '0000000000000000'" in status
    assert "'CapPrm': '0000000000000000'" in status
    assert "'NoNewPrivs': '1'" in status


def test_memory_and_files_are_bounded(tmp_path: Path) -> None:
    huge = f"x = bytearray({2 * isolation.MEMORY_BYTES})"
    assert "MemoryError" in behind(tmp_path, "-c", huge).stderr
    limits = "import resource as r; print(r.getrlimit(r.RLIMIT_CPU), r.getrlimit(r.RLIMIT_CORE))"
    assert (
        behind(tmp_path, "-c", limits).stdout.strip()
        == f"({isolation.CPU_S}, {isolation.CPU_S}) (0, 0)"
    )


def test_without_a_fence_the_program_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that forbids both namespaces, by a stand-in for its C library."""

    class Forbidding:
        def prctl(self, *_: int) -> int:
            return 0

        def unshare(self, *_: int) -> int:
            return -1

    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: Forbidding())
    monkeypatch.setattr("os.execvpe", lambda *_: pytest.fail("it was started"))
    with pytest.raises(SystemExit) as ended:
        isolation.main([str(tmp_path), "true"])
    assert ended.value.code == isolation.NO_FENCE
