"""`argosy annotate`: what waits for labels, and what was labelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cloud.cli.client import HubClient, JsonOption, connected
from cloud.cli.output import print_json, print_table

annotation = typer.Typer(help="Images that came back, and their labels.", no_args_is_help=True)

StateOption = Annotated[str | None, typer.Option(help="pending, done or skipped.")]
CameraOption = Annotated[str | None, typer.Option(help="Only of this camera.")]


@annotation.command("list")
@connected
def list_tasks(
    client: HubClient,
    state: StateOption = "pending",
    camera: CameraOption = None,
    as_json: JsonOption = False,
) -> None:
    """List annotation tasks, oldest first."""
    columns = ("id", "device_id", "camera", "reason", "state", "annotated_by", "updated_at")
    rows = client.items("annotation/tasks", state=state, camera=camera)
    print_table(rows, columns, as_json=as_json)


@annotation.command("export")
@connected
def export(
    client: HubClient,
    folder: Annotated[Path, typer.Argument(help="Made where it is missing.")],
    state: StateOption = "done",
    camera: CameraOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write tasks to FOLDER/tasks.jsonl and their images beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with (folder / "tasks.jsonl").open("w") as lines:
        for task in client.items("annotation/tasks", state=state, camera=camera):
            image = f"{task['id']}.jpg"
            (folder / image).write_bytes(client.content(f"annotation/tasks/{task['id']}/image"))
            lines.write(json.dumps({**task, "image": image}) + "\n")
            count += 1
    if as_json:
        print_json({"folder": str(folder), "tasks": count})
    else:
        Console().print(f"{count} tasks in {folder}")
