"""`argosy job`: builds, imports, gates and other long work of the hub."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from cloud.cli import watching
from cloud.cli.client import CommandError, HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_json
from cloud.plain_text import shown

EXIT_FELL_SHORT = 3
"""A job ended well and its verdict is bad. The same number as of `argosy rollout watch`."""

BAD_OUTCOMES = frozenset({"REJECTED", "FAILED", "REVOKED"})
ID_DIGITS = 8

jobs = typer.Typer(
    help="Long work of the hub: builds, imports, gates, rebuilds.", no_args_is_help=True
)

JobArgument = Annotated[str, typer.Argument(help="The job's id, or its first digits.")]


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
    rows = list(client.items("jobs", kind=kind, state=state))
    if as_json:
        print_json(rows)
        return
    for line in lines(rows):
        typer.echo(line)


@jobs.command("show")
@connected
def show(client: HubClient, job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Show a job: its state, progress, result or error."""
    print_fields(client.get(f"jobs/{job_id}"), as_json=as_json)


@jobs.command("watch")
@connected
def watch(client: HubClient, job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Show a job's progress until it ends.

    Exit status 3: it ended, and a build is rejected or could not be made, or the gate says FAIL
    or INCONCLUSIVE.
    """
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
def log(client: HubClient, job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Print the end of what a job wrote."""
    text = client.content(f"jobs/{job_id}/log").decode(errors="replace")
    print_json({"job": job_id, "log": text}) if as_json else typer.echo(text)


def follow(client: HubClient, job_id: str, *, quiet: bool) -> dict[str, Any]:
    """The job once it has ended; a bar, or lines, with stage and remaining time until then."""
    goes_on = (
        "the job goes on while the hub runs; where the hub was stopped, it is queued again when "
        f"that is back. `argosy job watch {job_id}` shows it"
    )
    return watching.follow(lambda: client.get(f"jobs/{job_id}"), look, goes_on=goes_on, quiet=quiet)


def end(job: dict[str, Any], *, as_json: bool) -> None:
    """Print an ended job's result.

    Raises:
        CommandError: it did not succeed.
        typer.Exit: it did, and its result is not what one hoped for: see `fell_short`.
    """
    if job["state"] != "SUCCEEDED":
        if as_json:
            print_json(job)
        said = f": {job['error']}" if job["error"] else ""
        raise CommandError(f"job {job['id']} {job['state'].lower()}{_at(job)}{said}")
    if as_json:
        print_json(job)
    else:
        print_fields(job["result"] or {})
    leave(job)


def _at(job: dict[str, Any]) -> str:
    """When a job was canceled; of a failure its reason says more."""
    if job["state"] != "CANCELED" or not job.get("ended_at"):
        return ""
    return time.strftime(" at %Y-%m-%d %H:%M:%S", time.localtime(job["ended_at"]))


def leave(job: dict[str, Any]) -> None:
    """End the command with the exit status of a result. Raises typer.Exit where it fell short."""
    if fell_short(job["result"] or {}):
        raise typer.Exit(EXIT_FELL_SHORT)


def fell_short(result: dict[str, Any]) -> bool:
    """Whether a build is rejected or could not be made, or a gate did not PASS."""
    rows = [result, *(result.get("builds") or ())]
    said = {row.get(key) for row in rows for key in ("outcome", "stands")}
    return not said.isdisjoint(BAD_OUTCOMES) or result.get("verdict", "PASS") != "PASS"


def look(job: dict[str, Any]) -> watching.Look:
    """How far a job is."""
    progress = job["progress"]
    done, total = progress.get("done") or 0, progress.get("total") or None
    return watching.Look(
        what=f"{job['kind']} {progress.get('stage') or job['state'].lower()}",
        done=done,
        total=total,
        figures=figures(progress),
        step=watching.percent_step(done, total),
    )


def figures(progress: dict[str, Any]) -> str:
    """How far a stage is, in a line, with the remaining time where it is known."""
    parts = []
    if progress.get("total"):
        parts.append(f"{progress['done']:g}/{progress['total']:g}")
    return "  ".join([*parts, *watching.remaining(progress)])


def lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Jobs as a table whose errors stand whole, below the job that they ended."""
    cells = [tuple(word.upper() for word in ("id", "kind", "subject", "state", "created"))]
    cells += [
        (
            row["id"][:ID_DIGITS],
            row["kind"],
            subject_in_words(row),
            row["state"],
            time.strftime("%Y-%m-%d %H:%M", time.localtime(row["created_at"])),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, cell in enumerate(cells):
        yield "  ".join(
            text.ljust(width) for text, width in zip(cell, widths, strict=True)
        ).rstrip()
        error = rows[number - 1]["error"] if number else None
        yield from (f"    {shown(line)}" for line in (error or "").splitlines())


def subject_in_words(job: dict[str, Any]) -> str:
    """What a job is about: a version, or the file that is imported."""
    kind, _, rest = job["subject"].partition("/")
    if kind != "model":
        return shown(job["subject"])
    model, _, number = rest.partition("/")
    file = job["parameters"].get("name")
    if number:
        return f"{model} v{number}"
    return f"{model} < {shown(str(file))}" if file else model
