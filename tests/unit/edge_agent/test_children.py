"""Children: real processes that crash, hang, eat and babble, and nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge_agent.children import ChildEnded, ChildLimits, _environment, run_child

MODULE = "tests.unit.edge_agent.misbehaving_child"
MIB = 1024**2
SOME = ChildLimits(timeout_s=30, memory_bytes=512 * MIB)


def child(*arguments: str, limits: ChildLimits = SOME, stdin: bytes = b"") -> ChildEnded:
    return run_child(MODULE, arguments, limits, cancel=threading.Event(), stdin=stdin)


def test_what_it_reads_and_prints() -> None:
    ended = child("echo", stdin=b"a secret")
    assert ended == ChildEnded(0, b"a secret", "", "")


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("segfault", "was killed by SIGSEGV"),
        ("quit", "ended with code 1: out of luck"),
        ("babble", "printed more than 1048576 bytes"),
        ("eat", "MemoryError"),
    ],
)
def test_its_end_comes_back_in_words(manner: str, reason: str) -> None:
    assert reason in child(manner).reason


@pytest.mark.parametrize("manner", ["hang", "close"])
def test_one_that_hangs_is_ended(manner: str) -> None:
    began = time.monotonic()
    ended = child(manner, limits=ChildLimits(timeout_s=1, memory_bytes=512 * MIB))
    assert ended.reason == "took longer than 1 s"
    assert time.monotonic() - began < 20


def test_one_that_reserves_is_held_to_what_is_resident() -> None:
    ended = child("eat", limits=ChildLimits(30, 200 * MIB, reserves=True))
    assert ended.reason == f"used more than {200 * MIB} bytes of memory"


def test_no_file_grows_over_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "f"
    ended = child("write", str(path), limits=ChildLimits(30, 512 * MIB, file_bytes=MIB))
    assert "File too large" in ended.reason
    assert path.stat().st_size == MIB


def test_lines_come_as_they_are_printed_and_the_rest_is_output() -> None:
    lines: list[bytes] = []
    ended = run_child(
        MODULE, ["count", "20000"], SOME, cancel=threading.Event(), on_line=lines.append
    )
    assert lines == [str(number).encode() for number in range(20_000)]
    assert (ended.output, ended.reason) == (b"end", "")


def test_an_error_of_who_hears_ends_the_child_and_comes_through() -> None:
    pids: list[int] = []

    def hear(line: bytes) -> None:
        pids.append(int(line.split()[0]))
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        run_child(MODULE, ["wait"], SOME, cancel=threading.Event(), on_line=hear)
    assert not _alive(pids[0])


def test_a_cancelled_one_ends_at_once() -> None:
    cancel = threading.Event()
    said: list[bytes] = []

    def hear(line: bytes) -> None:
        said.append(line)
        cancel.set()

    ended = run_child(MODULE, ["wait"], SOME, cancel=cancel, on_line=hear)
    pid, nice = map(int, said[0].split())
    assert ended.reason == "was cancelled" and nice == 19
    assert not _alive(pid)


def test_what_it_started_goes_with_it() -> None:
    ended = child("leave")
    assert ended.reason == ""
    _wait_gone(int(ended.output))


def test_a_module_that_is_not_there_is_an_end_in_words() -> None:
    ended = run_child("no.such.module", [], SOME, cancel=threading.Event())
    assert ended.code == 1 and "No module named" in ended.errors


def test_it_dies_with_its_parent() -> None:
    parent = (
        "import sys, threading\n"
        "from edge_agent.children import ChildLimits, run_child\n"
        "def hear(line): print(line.decode(), flush=True)\n"
        "limits = ChildLimits(60, 1 << 29)\n"
        f"run_child({MODULE!r}, ['wait'], limits, cancel=threading.Event(), on_line=hear)\n"
    )
    command = [sys.executable, "-c", parent]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment())
    assert process.stdout is not None
    pid = int(process.stdout.readline().split()[0])
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    _wait_gone(pid)


def _wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and _alive(pid):
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
