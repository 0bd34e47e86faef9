"""Staying with long work of the hub until it ends: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cloud.cli.client import CommandError, HubAwayError

POLL_S = 0.5
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED"})
STEP_PERCENT = 10
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Look:
    """How far work is.

    Attributes:
        what: the work and its stage; a new one begins a line.
        done, total: of the bar; no total while nothing is known.
        figures: what else there is to say, with the remaining time.
        step: of a stage, counted up; a line is written where it has grown.
    """

    what: str
    done: float
    total: float | None
    figures: str
    step: int


def percent_step(done: float, total: float | None, percent: int = STEP_PERCENT) -> int:
    """How many whole steps of `percent` are done."""
    return int(done * 100 / total // percent) if total else 0


def remaining(progress: dict[str, Any]) -> list[str]:
    """The remaining time in words, where it is known."""
    if progress.get("remaining_s") is None:
        return []
    minutes, seconds = divmod(round(progress["remaining_s"]), 60)
    return [f"{minutes}:{seconds:02d} left"]


def follow(
    read: Callable[[], dict[str, Any]],
    look: Callable[[dict[str, Any]], Look],
    *,
    goes_on: str,
    quiet: bool,
) -> dict[str, Any]:
    """The job once it has ended.

    Args:
        goes_on: what becomes of it where the watching ends before, and how to watch again.

    Raises:
        CommandError: the hub does not answer any more.
        typer.Exit: somebody pressed Ctrl-C.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
    console = Console(stderr=True)
    lines = Lines(quiet=quiet or (sys.stdout.isatty() and console.is_terminal))
    with (
        left(goes_on),
        Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar,
    ):
        task = bar.add_task("waiting", total=None, figures="")
        while True:
            job = read()
            seen = look(job)
            bar.update(
                task,
                description=seen.what,
                completed=seen.done,
                total=seen.total,
                figures=seen.figures,
            )
            lines.say(seen)
            if job["state"] in ENDED:
                return job
            time.sleep(POLL_S)


class Lines:
    """A line for each stage and step, for what is no terminal: a file, a pipe, a CI log."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._last: tuple[str, int] | None = None

    def say(self, seen: Look) -> None:
        here = (seen.what, seen.step)
        if self._quiet or here == self._last:
            return
        self._last = here
        typer.echo(f"{time.strftime('%H:%M:%S')} {seen.what}  {seen.figures}".rstrip())


@contextmanager
def left(goes_on: str) -> Iterator[None]:
    """Say what becomes of the work where the hub dies, or Ctrl-C ends the watching."""
    try:
        yield
    except HubAwayError as error:
        raise CommandError(error.message, goes_on) from error
    except KeyboardInterrupt as error:
        typer.echo(f"not watched any more: {goes_on}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from error
