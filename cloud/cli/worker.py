"""`argosy worker`: a GPU's machine makes and runs the builds that the hub cannot."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.cli.client import (
    DATA_DIR_DEFAULT,
    CommandError,
    DataOption,
    HubClient,
    JsonOption,
    UrlOption,
    connected,
    open_client,
    read_token,
)
from cloud.cli.output import print_json, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from cloud.building.worker_loop import OnProgress
    from protocol.builds import Capabilities

PROBE_TIMEOUT_S = 120.0
GIB = 1024**3
NAME_CHARACTERS_MAX = 64
WORKER_COLUMNS = (
    *("name", "gpu_name", "compute_capability", "tensorrt_version", "runtimes"),
    *("silent_s", "task", "unfit"),
)
TASK_COLUMNS = ("id", "kind", "needs", "age_s", "worker", "done", "total")

workers = typer.Typer(help="Machines with a GPU that make and run builds.", no_args_is_help=True)


@workers.command("run")
def run(
    *,
    cache: Annotated[Path, typer.Option(help="A folder of the worker's own, for files.")],
    once: Annotated[bool, typer.Option("--once", help="End after one task.")] = False,
    name: Annotated[str | None, typer.Option(help="Else this machine's name.")] = None,
    agent: Annotated[
        Path | None, typer.Option(help="The `argosy-agent` to run; else this installation's.")
    ] = None,
    cache_gib: Annotated[float, typer.Option(min=0.1, help="What the folder may hold.")] = 20.0,
    data: DataOption = DATA_DIR_DEFAULT,
    url: UrlOption = None,
) -> None:
    """Take tasks from the hub that this machine can do, until Ctrl-C.

    It takes an administrator's token. Where the hub is away, it asks again, later and later.
    """
    import signal

    from rich.console import Console

    from cloud.building.worker_cache import FileCache
    from cloud.building.worker_link import WorkerLink
    from cloud.building.worker_loop import Worker
    from cloud.building.worker_schemas import WorkerHello

    command = (sys.executable, "-m", "edge_agent") if agent is None else (str(agent),)
    console = Console(stderr=True, highlight=False)
    # Ended by systemd, it hands its task back as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hello = WorkerHello(name=name or machine_name(), capabilities=capabilities_of(command))
    console.print(f"worker {hello.name}: {described(hello.capabilities)}", markup=False)
    link = WorkerLink(open_client(data, url).url, read_token(data))
    with alone(cache), _shown(console) as on_progress:
        worker = Worker(
            link=link,
            cache=FileCache(cache / "files", int(cache_gib * GIB)),
            folder=cache,
            hello=hello,
            agent=command,
            log=lambda line: console.print(line, markup=False),
            on_progress=on_progress,
        )
        try:
            worker.run(once=once)
        except KeyboardInterrupt:
            console.print("stopped; a task that was under way was handed back")
        finally:
            link.close()


@workers.command("list")
@connected
def list_workers(client: HubClient, as_json: JsonOption = False) -> None:
    """List workers that were heard of since the hub started, and tasks that wait or run."""
    found = client.get("worker")
    if as_json:
        print_json(found)
        return
    print_table(found["workers"], WORKER_COLUMNS)
    print_table(found["tasks"], TASK_COLUMNS)


def machine_name() -> str:
    """This machine's name, with what a worker's name may not have left out."""
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("-._")
    return text[:NAME_CHARACTERS_MAX] or "worker"


def capabilities_of(agent: Sequence[str]) -> Capabilities:
    """What this machine can run, as its agent says. Raises CommandError where it says nothing."""
    import subprocess

    from pydantic import ValidationError

    from protocol.builds import Capabilities

    command = [*agent, "capabilities"]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        return Capabilities.model_validate_json(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValidationError) as error:
        raise CommandError(
            f"`{' '.join(command)}` does not say what this machine can run: {str(error)[:400]}",
            "install argosy[edge-tensorrt] or argosy[edge-cuda] here, or name it with --agent",
        ) from error


def described(machine: Capabilities) -> str:
    """A machine in a line."""
    gpu = machine.gpu_name or "no GPU"
    capability = f" ({machine.compute_capability})" if machine.compute_capability else ""
    return f"{gpu}{capability}; {', '.join(f'{r.runtime} {r.version}' for r in machine.runtimes)}"


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Hold the folder, and clear what an earlier worker left at work. Raises CommandError."""
    import fcntl
    import os
    import shutil

    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(cache / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CommandError(f"{cache} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CommandError(
                f"another worker uses {cache}", "give each worker a --cache of its own"
            ) from error
        shutil.rmtree(cache / "work", ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _shown(console: Console) -> Iterator[OnProgress]:
    """A bar of the task at work, where somebody watches."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task("waiting", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield show
