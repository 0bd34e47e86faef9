"""`argosy train`: start, watch, list, cancel trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cloud.cli.client import CommandError, HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_json, print_table
from cloud.cli.watching import Look, follow, percent_step, remaining

training = typer.Typer(help="Training jobs.", no_args_is_help=True)

JobArgument = Annotated[str, typer.Argument(help="The job's id, or its first digits.")]


@training.command("start")
@connected
def start(
    client: HubClient,
    *,
    model: Annotated[str, typer.Argument(help="The model that gets a new version.")],
    dataset: Annotated[str, typer.Argument(help="The dataset to train on.")],
    dataset_version: Annotated[int | None, typer.Option(help="Else the newest.")] = None,
    weights: Annotated[
        str, typer.Option(help="scratch, parent, or a .pt on the hub's machine.")
    ] = "scratch",
    parent_version: Annotated[
        int | None, typer.Option(help="With --weights parent; else the newest.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=0, help="0: take the weights as they are.")
    ] = None,
    imgsz: Annotated[int | None, typer.Option(help="Side of the input in px.")] = None,
    batch: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any parameter, as name=value.")
    ] = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Stay and show progress.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Queue a training."""
    named = {"epochs": epochs, "imgsz": imgsz, "batch": batch, "seed": seed}
    parameters = {k: v for k, v in named.items() if v is not None} | _parse(settings or [])
    known = weights in ("scratch", "parent")
    job = client.post(
        "training/jobs",
        {
            "model": model,
            "dataset": dataset,
            "dataset_version": dataset_version,
            "weights": weights if known else str(Path(weights).absolute()),
            "parent_version": parent_version,
            "parameters": parameters,
        },
    )
    if watch_it:
        job = _follow(client, job["id"], quiet=as_json)
    print_fields(job, as_json=as_json)
    _refuse_failed(job)


@training.command("watch")
@connected
def watch(client: HubClient, job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Show a job's progress until it ends."""
    job = _follow(client, job_id, quiet=as_json)
    print_fields(job, as_json=as_json)
    _refuse_failed(job)


@training.command("list")
@connected
def list_jobs(
    client: HubClient,
    state: Annotated[str | None, typer.Option(help="Only those: QUEUED, RUNNING, …")] = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    columns = ("id", "model", "dataset", "state", "version")
    rows = list(client.items("training/jobs", state=state))
    print_table(rows if as_json else map(_row, rows), columns, as_json=as_json)


@training.command("cancel")
@connected
def cancel(client: HubClient, job_id: JobArgument, as_json: JsonOption = False) -> None:
    """End a job; nothing of it stays."""
    print_fields(client.post(f"training/jobs/{job_id}/cancel"), as_json=as_json)


@training.command("log")
@connected
def log(client: HubClient, job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Print the end of what the training wrote."""
    text = client.content(f"training/jobs/{job_id}/log").decode(errors="replace")
    print_json({"job": job_id, "log": text}) if as_json else typer.echo(text)


def _row(job: dict[str, Any]) -> dict[str, Any]:
    """A training as a line of a table."""
    return {
        **job,
        "dataset": f"{job['dataset']} {job['dataset_version']}",
        "version": job["version"] and job["version"]["number"],
    }


def _parse(settings: list[str]) -> dict[str, Any]:
    """Parameters out of name=value, the value as JSON where it is JSON, else as text."""
    parameters = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise CommandError(f"{setting!r} sets nothing", "write --set name=value")
        try:
            parameters[name] = json.loads(text.lower() if text in ("True", "False") else text)
        except (ValueError, RecursionError):
            parameters[name] = text
    return parameters


def _follow(client: HubClient, job_id: str, *, quiet: bool) -> dict[str, Any]:
    goes_on = (
        "the training goes on while the hub runs; where the hub was stopped, a queued one waits "
        "and one that had begun is FAILED, to be started again. "
        f"`argosy train watch {job_id}` shows it"
    )
    return follow(lambda: client.get(f"training/jobs/{job_id}"), look, goes_on=goes_on, quiet=quiet)


def look(job: dict[str, Any]) -> Look:
    """How far a training is."""
    progress = job["progress"]
    elapsed_s, remaining_s = progress.get("elapsed_s"), progress.get("remaining_s")
    # Between two epochs the share of time that is over moves the bar.
    known = elapsed_s is not None and remaining_s is not None and elapsed_s + remaining_s > 0
    return Look(
        what=f"{job['model']} {job['state'].lower()}",
        done=elapsed_s if known else 0,
        total=elapsed_s + remaining_s if known else None,
        figures=figures(progress),
        step=percent_step(progress.get("epoch") or 0, progress.get("epochs"), percent=1),
    )


def figures(progress: dict[str, Any]) -> str:
    """A job's progress in a line: epoch, losses, mAP, remaining time."""
    parts = []
    if progress.get("epochs"):
        parts.append(f"epoch {progress['epoch']}/{progress['epochs']}")
    parts += [f"{name} {value:.3f}" for name, value in (progress.get("losses") or {}).items()]
    if progress.get("map50") is not None:
        parts.append(f"mAP50 {progress['map50']:.3f}")
    if progress.get("map50_95") is not None:
        parts.append(f"mAP50-95 {progress['map50_95']:.3f}")
    return "  ".join([*parts, *remaining(progress)])


def _refuse_failed(job: dict[str, Any]) -> None:
    if job["state"] == "FAILED":
        raise CommandError(f"training job {job['id']} failed: {job['error']}")
