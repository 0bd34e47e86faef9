"""A child process that does what its first argument says, none of which is good."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def quit_badly() -> None:
    raise SystemExit("out of luck")


def babble() -> None:
    while True:
        say("x" * 100_000)


def eat() -> None:
    held = []
    while True:
        held.append(bytearray(os.urandom(1024)) * 16_384)


def count() -> None:
    for number in range(int(sys.argv[2])):
        say(number)
    sys.stdout.write("end")


def leave() -> None:
    say(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)


def wait() -> None:
    say(f"{os.getpid()} {os.nice(0)}")
    time.sleep(60)


def close() -> None:
    for descriptor in (1, 2):
        os.close(descriptor)
    time.sleep(60)


MANNERS: Mapping[str, Callable[[], object]] = {
    "segfault": lambda: ctypes.string_at(0),
    "hello": lambda: say("hello"),
    "quit": quit_badly,
    "hang": lambda: time.sleep(60),
    "babble": babble,
    "eat": eat,
    "write": lambda: Path(sys.argv[2]).write_bytes(bytes(10_000_000)),
    "echo": lambda: sys.stdout.write(sys.stdin.read()),
    "count": count,
    "leave": leave,
    "wait": wait,
    "close": close,
}


if __name__ == "__main__":
    MANNERS[Path(sys.argv[1]).name]()
