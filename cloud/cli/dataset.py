"""`argosy dataset`: import folders, look at versions, make new ones from annotations."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cloud.cli.client import CommandError, HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_json, print_table

POLL_S = 0.3

datasets = typer.Typer(help="Datasets and their immutable versions.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The dataset's name.")]


@datasets.command("import")
@connected
def import_folder(
    client: HubClient,
    *,
    name: NameArgument,
    folder: Annotated[Path, typer.Argument(help="YOLO layout, on the hub's machine.")],
    model: Annotated[
        str | None, typer.Option(help="Make this model with the folder's classes.")
    ] = None,
    released: Annotated[
        bool,
        typer.Option(
            "--golden-frames-released",
            help="Images of val may travel to every site inside of bundles.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Import a folder: its val becomes golden, selection and calibration come from train.

    A `tags.csv` beside data.yaml may say where the images were taken: its columns are
    `image` (path from the folder) and any of camera, captured_at, site, line and others.
    Evaluations are told apart by these; cameras and times also decide what is held out.
    """
    body = {"folder": str(folder.absolute()), "model": model, "golden_frames_released": released}
    started = client.post(f"datasets/{name}/import", body)
    done = _follow(client, started, quiet=as_json)
    if done["state"] != "SUCCEEDED":
        raise CommandError(done["error"])
    _show(client, client.get(f"datasets/{name}/versions/{done['version']}"), as_json=as_json)


@datasets.command("list")
@connected
def list_datasets(client: HubClient, as_json: JsonOption = False) -> None:
    """List datasets."""
    columns = ("name", "golden_frames_released", "created_at", "created_by")
    print_table(client.items("datasets"), columns, as_json=as_json)


@datasets.command("show")
@connected
def show(
    client: HubClient,
    name: NameArgument,
    version: Annotated[int | None, typer.Option(help="This one; else all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the versions of a dataset, or one of them with its tags and what was left out."""
    if version is not None:
        _show(client, client.get(f"datasets/{name}/versions/{version}"), as_json=as_json)
        return
    columns = ("number", "counts", "parent", "digest", "created_at", "created_by")
    print_table(client.items(f"datasets/{name}/versions"), columns, as_json=as_json)


@datasets.command("extend")
@connected
def extend(
    client: HubClient,
    *,
    name: NameArgument,
    parent: Annotated[int | None, typer.Option(help="Version to start from; else newest.")] = None,
    camera: Annotated[list[str] | None, typer.Option(help="Samples of this camera only.")] = None,
    repeat: Annotated[int, typer.Option(help="How often an epoch shows a joining image.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Make a new version of the parent and the annotated samples."""
    body = {"parent": parent, "cameras": camera or [], "repeat": repeat}
    _show(client, client.post(f"datasets/{name}/versions", body), as_json=as_json)


def _follow(client: HubClient, started: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("reading images", total=None)
        while True:
            row: dict[str, Any] = client.get(f"imports/{started['id']}")
            total = row["images_total"] or None
            progress.update(task, completed=row["images_done"], total=total)
            if row["state"] not in ("QUEUED", "RUNNING"):
                return row
            time.sleep(POLL_S)


def _show(client: HubClient, version: dict[str, Any], *, as_json: bool) -> None:
    tags = list(client.items(f"datasets/{version['name']}/versions/{version['number']}/tags"))
    if as_json:
        print_json({**version, "tags": tags})
        return
    left_out = version.pop("left_out")
    print_fields({**version, "left_out": len(left_out)})
    # Names come from outside: a bracket in one is no markup.
    if tags:
        print_table([_escaped(row) for row in tags], ("tag", "images", "values", "counts"))
    if left_out:
        columns = ("image", "near", "distance", "reason")
        print_table([_escaped(row) for row in left_out], columns)


def _escaped(row: dict[str, Any]) -> dict[str, Any]:
    escaped = {k: escape(v) if isinstance(v, str) else v for k, v in row.items()}
    if "counts" in row:
        escaped["counts"] = {escape(value): images for value, images in row["counts"].items()}
    return escaped
