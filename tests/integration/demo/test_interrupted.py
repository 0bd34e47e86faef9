"""The demo is interrupted in mid-run: nothing that it started stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

START_DEADLINE_S = 150.0
END_DEADLINE_S = 40.0


@contextmanager
def running_demo(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A fast demo with its folders under `folder`, in a session of its own."""
    command = [sys.executable, "-m", "simulators", "demo", "--fast", "--plain"]
    command += ["--work", str(folder / "work"), "--out", str(folder / "out")]
    # A shell's background job ignores SIGINT, and so would what is started from there.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (folder / "demo.log").open("wb") as log:
            demo = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield demo
    finally:
        for left in [demo.pid, *started_by(folder)]:
            if psutil.pid_exists(left):
                os.kill(left, signal.SIGKILL)
        demo.wait(10)


def started_by(folder: Path) -> set[int]:
    """Processes that have `folder` in their command line, whoever their parent is."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and str(folder) in " ".join(process.cmdline()):
                found.add(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait_for(condition: Callable[[], bool], what: str, deadline_s: float, log: Path) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not there; the log: {log.read_text()[-2000:]}"
        time.sleep(0.1)


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def is_rendering(folder: Path) -> bool:
    return len(list((folder / "work" / "datasets").glob("*/labels/train/*.txt"))) > 20


def is_training(folder: Path) -> bool:
    return any("epoch" in p.read_text() for p in (folder / "work" / "hub").rglob("progress.jsonl"))


@pytest.mark.parametrize(
    ("moment", "number", "status"),
    [
        pytest.param(is_rendering, signal.SIGINT, 130, id="ctrl-c-while-rendering"),
        pytest.param(is_training, signal.SIGTERM, 130, id="sigterm-while-training"),
        pytest.param(is_training, signal.SIGKILL, -9, id="sigkill-while-training"),
    ],
)
def test_nothing_is_left(
    tmp_path: Path, moment: Callable[[Path], bool], number: signal.Signals, status: int
) -> None:
    log = tmp_path / "demo.log"
    with running_demo(tmp_path) as demo:
        wait_for(lambda: moment(tmp_path), "the moment", START_DEADLINE_S, log)
        family = descendants(demo.pid)
        assert len(family) >= 3, "hub, broker and one more should be running"
        demo.send_signal(number)
        assert demo.wait(END_DEADLINE_S) == status, log.read_text()[-2000:]
        gone: Callable[[], bool] = lambda: not any(p.is_running() for p in family)  # noqa: E731
        wait_for(gone, "the end of all children", 15.0, log)
        assert started_by(tmp_path) == set()


def test_a_folder_with_other_things_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    precious = tmp_path / "work" / "precious"
    precious.write_text("mine")
    with running_demo(tmp_path) as demo:
        assert demo.wait(START_DEADLINE_S) == 2
    assert precious.read_text() == "mine"
    assert "holds other things" in (tmp_path / "demo.log").read_text()
