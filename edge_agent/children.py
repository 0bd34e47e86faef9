"""Child processes of the agent: what is long, heavy or not to be trusted runs in one.

`python -m edge_agent.children …` restrains itself and then becomes the module that it was
started for: the lowest priority for processor and disk, the first to go where memory runs
out, limits on memory and files, and dead when the thread that started it is gone. Whatever a
child does (crash, hang, eat, babble), its end comes back in words, and nothing of it is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import runpy
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

POLL_S = 0.1
OUTPUT_BYTES_MAX = 1024 * 1024
"""Of one line where lines are read, of the whole output where they are not."""
STDERR_TAIL_BYTES = 1000
READ_BYTES = 64 * 1024
NOT_STARTED = 127
"""The code of a child that the machine could not start, for want of memory or processes."""
NO_LIMIT = -1

_PR_SET_PDEATHSIG = 1
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "armv7l": 314}
_IOPRIO_WHO_PROCESS, _IOPRIO_IDLE = 1, 3 << 13


@dataclass(frozen=True)
class ChildLimits:
    """What a child may take.

    Attributes:
        timeout_s: its whole life.
        memory_bytes: resident memory, and address space too unless `reserves` says otherwise.
        file_bytes: the size of any file that it writes; None: no limit.
        nice: added to this process's own.
        reserves: it reserves far more address space than it uses, as CUDA does, so that only
            what is resident counts.
    """

    timeout_s: float
    memory_bytes: int
    file_bytes: int | None = None
    nice: int = 19
    reserves: bool = False


@dataclass(frozen=True)
class ChildEnded:
    """How a child ended.

    Attributes:
        code: exit status, minus a signal's number where one ended it.
        output: what it printed; where lines were read, what came after the last of them.
        errors: the end of what it printed to stderr, in one line.
        reason: "" where it ended well, else why in words that follow the thing's name.
    """

    code: int
    output: bytes
    errors: str
    reason: str


def run_child(
    module: str,
    arguments: Sequence[str],
    limits: ChildLimits,
    *,
    cancel: threading.Event,
    stdin: bytes = b"",
    on_line: Callable[[bytes], None] | None = None,
) -> ChildEnded:
    """Run `python -m module arguments…` to its end; never raises for what the child does.

    The calling thread must live until then: the child is tied to it.

    Args:
        cancel: ends it when set.
        stdin: what it may read; not seen in any list of processes, and on no disk.
        on_line: gets each line of its output as it comes; what this raises ends the child
            and comes through.
    """
    leash = ["-m", "edge_agent.children", str(os.getpid()), str(limits.nice)]
    leash.append(str(NO_LIMIT if limits.reserves else limits.memory_bytes))
    leash.append(str(NO_LIMIT if limits.file_bytes is None else limits.file_bytes))
    try:
        with _memory_file(stdin) as given:
            process = subprocess.Popen(
                [sys.executable, *leash, module, *arguments],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,
            )
    except OSError as error:
        return ChildEnded(NOT_STARTED, b"", "", f"could not be started: {error}")
    heard = _Heard(on_line)
    try:
        stopped = _attend(process, limits, cancel, heard)
    finally:
        # The whole group, also where the child ended by itself: it may have started others.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    errors = heard.errors
    return ChildEnded(
        process.returncode,
        bytes(heard.output),
        errors,
        stopped or _reason(process.returncode, errors),
    )


@dataclass
class _Heard:
    """What a child has said so far."""

    on_line: Callable[[bytes], None] | None
    output: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)

    def take_output(self, data: bytes) -> None:
        self.output += data
        if self.on_line is not None:
            *lines, rest = bytes(self.output).split(b"\n")
            self.output = bytearray(rest)
            for line in lines:
                self.on_line(line)

    def take_errors(self, data: bytes) -> None:
        self.tail += data
        del self.tail[:-STDERR_TAIL_BYTES]

    @property
    def errors(self) -> str:
        return " ".join(self.tail.decode(errors="replace").split())


def _attend(
    process: subprocess.Popen[bytes], limits: ChildLimits, cancel: threading.Event, heard: _Heard
) -> str:
    """Listen until the child has ended, or must; why it must, or ""."""
    deadline = time.monotonic() + limits.timeout_s
    with selectors.DefaultSelector() as selector:
        for stream, take in (
            (process.stdout, heard.take_output),
            (process.stderr, heard.take_errors),
        ):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, take)
        while True:
            over = process.poll() is not None
            _listen(selector, 0.0 if over else POLL_S, heard)
            if len(heard.output) > OUTPUT_BYTES_MAX:
                return f"printed more than {OUTPUT_BYTES_MAX} bytes"
            if over:
                return ""
            if cancel.is_set():
                return "was cancelled"
            if time.monotonic() > deadline:
                return f"took longer than {limits.timeout_s:g} s"
            if (_resident_bytes(process.pid) or 0) > limits.memory_bytes:
                return f"used more than {limits.memory_bytes} bytes of memory"
            if not selector.get_map():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)


def _listen(selector: selectors.BaseSelector, timeout_s: float, heard: _Heard) -> None:
    """Take what there is to read: one piece, or where nobody waits all that is left."""
    while ready := selector.select(timeout_s) if selector.get_map() else []:
        for key, _ in ready:
            data = os.read(key.fd, READ_BYTES)
            if data:
                key.data(data)
            else:
                selector.unregister(key.fileobj)
        if timeout_s or len(heard.output) > OUTPUT_BYTES_MAX:
            return


def _reason(code: int, errors: str) -> str:
    if code == 0:
        return ""
    if code < 0:
        names = {int(number): number.name for number in signal.Signals}
        return f"was killed by {names.get(-code, f'signal {-code}')}"
    return f"ended with code {code}: {errors or 'no word'}"


def _resident_bytes(pid: int) -> int | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize()


def _memory_file(data: bytes) -> IO[bytes]:
    """A file of `data` that never touches a disk, at its beginning."""
    file = os.fdopen(os.memfd_create("stdin"), "w+b")
    file.write(data)
    file.flush()
    file.seek(0)
    return file


def _environment() -> dict[str, str]:
    """This process's, with the folder that this package was imported from on the path."""
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}


# ---- the child -----------------------------------------------------------------------


def restrain(memory_bytes: int, file_bytes: int | None, parent: int, nice: int = 19) -> None:
    """Tie this process to `parent` and take away from it what it may not have.

    Args:
        memory_bytes: of address space; NO_LIMIT: as much as there is.
        file_bytes: of any file that it writes; None or NO_LIMIT: as large as the disk takes.
        parent: the process id of who started it.

    Raises SystemExit where the parent is gone already.
    """
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the parent is gone")
    # Not by so much below the agent, which may itself stand above others.
    os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        libc.syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    for limit, value in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_FSIZE, file_bytes)):
        if value is not None and value != NO_LIMIT:
            hard = resource.getrlimit(limit)[1]
            lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (lower, lower))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: Sequence[str]) -> None:
    """PARENT NICE MEMORY_BYTES FILE_BYTES MODULE [ARGUMENT…]"""
    parent, nice, memory_bytes, file_bytes, module, *its = arguments
    restrain(int(memory_bytes), int(file_bytes), int(parent), int(nice))
    sys.argv = [module, *its]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
