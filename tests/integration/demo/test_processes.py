"""The supervisor with real processes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from simulators.demo.processes import ProcessEnded, Supervisor

pytestmark = pytest.mark.integration

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """One that finds the module `stubborn`."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    made = Supervisor(tmp_path / "logs", {"PYTHONPATH": str(tmp_path)})
    yield made
    made.stop_all(0.1)


def said(log: Path, word: str) -> None:
    deadline = time.monotonic() + 20
    while word not in log.read_text():
        assert time.monotonic() < deadline, f"{word} is not in {log}"
        time.sleep(0.02)


def gone(process: psutil.Process) -> None:
    """What was killed has a moment to die, where every core is busy."""
    deadline = time.monotonic() + 20
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, f"{process} lives on"
            time.sleep(0.02)


def test_a_process_that_should_run_is_missed(supervisor: Supervisor) -> None:
    process = supervisor.start("compile", "compileall", "--help")
    process.popen.wait(20)
    with pytest.raises(ProcessEnded, match="compile ended by itself with status 0"):
        supervisor.check()


def test_one_that_ends_well_gives_its_log(supervisor: Supervisor) -> None:
    supervisor.start("compile", "compileall", "--help", ends=True)
    assert "usage" in supervisor.finish("compile", 20).read_text()
    supervisor.check()


def test_one_that_fails_says_why(supervisor: Supervisor) -> None:
    supervisor.start("broken", "no_such_module", ends=True)
    with pytest.raises(ProcessEnded, match="No module named no_such_module"):
        supervisor.finish("broken", 20)


def test_one_that_takes_too_long_is_stopped(supervisor: Supervisor) -> None:
    process = supervisor.start("stubborn", "stubborn", ends=True)
    said(process.log, "ready")
    with pytest.raises(ProcessEnded, match="stopped after"):
        supervisor.finish("stubborn", 0.1)
    assert not psutil.pid_exists(process.pid)


def test_even_a_stubborn_family_is_gone_in_the_end(supervisor: Supervisor) -> None:
    process = supervisor.start("stubborn", "stubborn")
    said(process.log, "ready")
    (child,) = psutil.Process(process.pid).children()
    supervisor.stop_all(0.2)
    assert not psutil.pid_exists(process.pid)
    gone(child)
