"""`argosy job`: builds, imports, gates and other long work of the hub."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from cloud.cli.client import CommandError, HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_json, print_table

POLL_S = 0.5
ENDED = ("SUCCEEDED", "FAILED", "CANCELED")

jobs = typer.Typer(
    help="Long work of the hub: builds, imports, gates, rebuilds.", no_args_is_help=True
)

JobArgument = Annotated[str, typer.Argument(help="The job's id.")]


@jobs.command("list")
@connected
def list_jobs(
    client: HubClient,
    kind: Annotated[
        str | None, typer.Option(help="Only those: build, build-gpu, import, gate, rebuild.")
    ] = None,
    state: Annotated[str | None, typer.Option(help="Only those: QUEUED, RUNNING, …")] = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    columns = ("id", "kind", "subject", "state", "error")
    rows = list(client.items("jobs", kind=kind, state=state))
    print_table(rows if as_json else map(_row, rows), columns, as_json=as_json)


@jobs.command("show")
@connected
def show(client: HubClient, job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Show a job: its state, progress, result or error."""
    print_fields(client.get(f"jobs/{job_id}"), as_json=as_json)


@jobs.command("watch")
@connected
def watch(client: HubClient, job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Show a job's progress until it ends."""
    end(follow(client, job_id, quiet=as_json), as_json=as_json)


@jobs.command("cancel")
@connected
def cancel(client: HubClient, job_id: JobArgument, as_json: JsonOption = False) -> None:
    """End a job. Builds that were registered already stay."""
    print_fields(client.post(f"jobs/{job_id}/cancel"), as_json=as_json)


@jobs.command("retry")
@connected
def retry(client: HubClient, job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Queue a failed or canceled job again."""
    print_fields(client.post(f"jobs/{job_id}/retry"), as_json=as_json)


@jobs.command("log")
@connected
def log(client: HubClient, job_id: JobArgument) -> None:
    """Print the end of what a job wrote."""
    typer.echo(client.content(f"jobs/{job_id}/log").decode(errors="replace"))


def follow(client: HubClient, job_id: str, *, quiet: bool) -> dict[str, Any]:
    """The job once it has ended; a bar with stage and remaining time until then."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("waiting", total=None, figures="")
        while True:
            job: dict[str, Any] = client.get(f"jobs/{job_id}")
            _draw(bar, task, job)
            if job["state"] in ENDED:
                return job
            time.sleep(POLL_S)


def end(job: dict[str, Any], *, as_json: bool) -> None:
    """Print an ended job's result. Raises CommandError where it did not succeed."""
    if job["state"] != "SUCCEEDED":
        if as_json:
            print_json(job)
        said = job["error"] or "it was canceled"
        raise CommandError(f"job {job['id']} {job['state'].lower()}: {said}")
    if as_json:
        print_json(job)
    else:
        print_fields(job["result"] or {})


def _row(job: dict[str, Any]) -> dict[str, Any]:
    """A job as a line of a table, with the first line of its error."""
    lines = (job["error"] or "").splitlines()
    return {**job, "error": lines[0] if lines else None}


def _draw(bar: Progress, task: TaskID, job: dict[str, Any]) -> None:
    progress = job["progress"]
    total = progress.get("total") or None
    bar.update(
        task,
        description=f"{job['kind']} {progress.get('stage') or job['state'].lower()}",
        completed=progress.get("done") or 0,
        total=total,
        figures=figures(progress),
    )


def figures(progress: dict[str, Any]) -> str:
    """How far a stage is, in a line, with the remaining time where it is known."""
    parts = []
    if progress.get("total"):
        parts.append(f"{progress['done']:g}/{progress['total']:g}")
    if progress.get("remaining_s") is not None:
        minutes, seconds = divmod(round(progress["remaining_s"]), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return "  ".join(parts)
