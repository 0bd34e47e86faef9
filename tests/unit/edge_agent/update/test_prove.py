"""Proof in a child process: whatever the child does, an outcome comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge_agent.update import prove
from edge_agent.update.prove import run_proof
from protocol.bundles import GoldenOutcome
from tests.fixtures.models import write_bundle

GIB = 1024**3


def proof(
    folder: Path, digest: str, *, timeout_s: float = 60, memory_bytes: int = 8 * GIB
) -> GoldenOutcome:
    return run_proof(
        folder,
        digest,
        timeout_s=timeout_s,
        memory_bytes=memory_bytes,
        cancel=threading.Event(),
    )


def test_a_good_build_passes_and_a_wrong_expectation_does_not(tmp_path: Path) -> None:
    digest, _ = write_bundle(tmp_path / "good")
    outcome = proof(tmp_path / "good", digest)
    assert (outcome.passed, outcome.frames, outcome.reason) == (True, 3, "")
    digest, _ = write_bundle(tmp_path / "wrong", golden_error=0.1)
    assert "is seen at" in proof(tmp_path / "wrong", digest).reason


def test_a_file_that_is_no_model_fails_with_its_reason(tmp_path: Path) -> None:
    digest, _ = write_bundle(tmp_path / "b", model_data=b"nonsense")
    outcome = proof(tmp_path / "b", digest)
    assert not outcome.passed and "model.onnx" in outcome.reason


def child_that_runs(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put other code into the child's place."""
    start = subprocess.Popen

    def popen(_command: list[str], **options: object) -> subprocess.Popen[bytes]:
        return start([sys.executable, "-c", code], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(subprocess, "Popen", popen)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("print('hello')", "ended with code 0"),
        ("raise SystemExit('out of luck')", "out of luck"),
        ("import time; time.sleep(60)", "took longer"),
        ("print('{\"passed\": true, \"frames\": 1}' + 'x' * 100000)", "ended with code 0"),
    ],
)
def test_a_child_that_misbehaves_is_a_failed_proof(
    code: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_that_runs(code, monkeypatch)
    outcome = proof(tmp_path, "0" * 64, timeout_s=1.5)
    assert not outcome.passed and reason in outcome.reason


def test_a_cancelled_proof_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child_that_runs("import time; time.sleep(60)", monkeypatch)
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    started = time.monotonic()
    outcome = run_proof(tmp_path, "0" * 64, timeout_s=50, memory_bytes=GIB, cancel=cancel)
    assert "cancelled" in outcome.reason
    assert time.monotonic() - started < 20


def test_the_child_is_held_to_its_memory_and_dies_with_its_parent() -> None:
    held = (
        "import os, resource, sys\n"
        "from edge_agent.update.prove import _restrain\n"
        "_restrain(1 << 33, os.getppid())\n"
        "assert resource.getrlimit(resource.RLIMIT_AS)[0] == 1 << 33\n"
        "assert os.nice(0) == 19\n"
        "print(os.getpid(), flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {held!r}], stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode(), flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    env = prove._environment()
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, env=env)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and _alive(child):
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
