"""Children of the hub: how they end, and that they end when the hub does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cloud.children import ChildCanceled, ChildFailed, ChildLimits, run_child

SLEEP = "import time; time.sleep(600)"
FAST = ChildLimits(poll_s=0.02, terminate_grace_s=0.2)


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_output_goes_to_the_log_and_polls_see_the_end(tmp_path: Path) -> None:
    polls: list[int] = []
    text = "import os; print(os.environ['NAME'], os.nice(0))"
    run_child(
        python(text),
        tmp_path / "log",
        environment={"NAME": "ada"},
        on_poll=lambda: polls.append(1),
        limits=ChildLimits(nice=5),
    )
    assert (tmp_path / "log").read_text() == "ada 5\n"
    assert polls


def test_a_failure_tells_status_and_last_words(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match=r"status 3.*last words: good bye"):
        run_child(python("import sys; print('good bye'); sys.exit(3)"), tmp_path / "log")
    with pytest.raises(ChildFailed, match="SIGKILL"):
        run_child(python("import os; os.kill(os.getpid(), 9)"), tmp_path / "log")


def test_cancel_ends_the_group_also_where_it_does_not_listen(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    child = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])"
    text = f"{stubborn}\n{child}\nprint(p.pid, flush=True)\n{SLEEP}"
    log = tmp_path / "log"
    with pytest.raises(ChildCanceled):
        run_child(python(text), log, canceled=lambda: log.read_text() != "", limits=FAST)
    wait_until_gone(int(log.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_a_child_dies_with_a_killed_hub(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = f"import os, pathlib; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))"
    hub = (
        "import pathlib, sys\nfrom cloud.children import run_child\n"
        f"run_child([sys.executable, '-c', {child + '; ' + SLEEP!r}], "
        f"pathlib.Path({str(tmp_path / 'log')!r}))"
    )
    process = subprocess.Popen(python(hub))
    try:
        deadline = time.monotonic() + 30
        while not (pid_file.exists() and pid_file.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    wait_until_gone(int(pid_file.read_text()))
