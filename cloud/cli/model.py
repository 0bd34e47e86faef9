"""`argosy model`: detectors, their versions and builds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from cloud.cli import job as job_cli
from cloud.cli.client import CommandError, HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_json, print_table
from cloud.cli.transfer import download, upload
from cloud.cli.version import row_of, show_notes, show_version
from cloud.reasons import REASON_HELP

models = typer.Typer(help="Detectors, their versions and builds.", no_args_is_help=True)
aliases = typer.Typer(help="Names that point at versions.", no_args_is_help=True)
models.add_typer(aliases, name="alias")

NameArgument = Annotated[str, typer.Argument(help="The model's name.")]


@models.command("create")
@connected
def create(
    client: HubClient,
    name: NameArgument,
    classes: Annotated[str, typer.Option(help="Names in their order: scratch,dent,…")],
    as_json: JsonOption = False,
) -> None:
    """Create a model. `argosy dataset import --model` does it by itself."""
    names = [part.strip() for part in classes.split(",")]
    print_fields(client.post("models", {"name": name, "class_names": names}), as_json=as_json)


@models.command("list")
@connected
def list_models(
    client: HubClient,
    everything: Annotated[bool, typer.Option("--all", help="Archived ones too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List models."""
    columns = ["name", "class_names", "aliases", "floor"]
    if everything:
        columns.append("archived_at")
    rows = client.items("models", archived=everything or None)
    print_table(rows, columns, as_json=as_json)


@models.command("show")
@connected
def show(
    client: HubClient,
    name: NameArgument,
    version: Annotated[int | None, typer.Option(help="This one; else all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the versions of a model, or one of them with its builds and metrics."""
    if version is not None:
        show_version(client.get(f"models/{name}/versions/{version}"), as_json=as_json)
        return
    rows = list(client.items(f"models/{name}/versions"))
    columns = ("v", "state", "map50", "50_95", "dataset", "parent", "created_at")
    print_table(rows if as_json else map(row_of, rows), columns, as_json=as_json)


@models.command("weights")
@connected
def weights(
    client: HubClient,
    name: NameArgument,
    version: Annotated[int, typer.Argument(help="The version's number.")],
    out: Annotated[Path, typer.Option(help="Where the file goes.")],
    as_json: JsonOption = False,
) -> None:
    """Download a version's weights: a checkpoint, or the ONNX file that was brought."""
    size_bytes = out.write_bytes(client.content(f"versions/{name}/{version}/weights"))
    print_fields(
        {"model": name, "number": version, "file": str(out), "size_bytes": size_bytes},
        as_json=as_json,
    )


@models.command("history")
@connected
def history(client: HubClient, name: NameArgument, as_json: JsonOption = False) -> None:
    """Show promotions, deployments and moves of the floor in one line of time."""
    rows = client.get(f"models/{name}/history")
    columns = ("at", "what", "version", "detail", "by")
    print_table(rows if as_json else map(_event, rows), columns, as_json=as_json)


@aliases.command("list")
@connected
def list_aliases(client: HubClient, name: NameArgument, as_json: JsonOption = False) -> None:
    """List where the aliases of a model point."""
    columns = ("alias", "number", "set_at", "set_by")
    print_table(client.get(f"models/{name}/aliases"), columns, as_json=as_json)


@aliases.command("set")
@connected
def set_alias(
    client: HubClient,
    *,
    name: NameArgument,
    alias: Annotated[str, typer.Argument(help="production, candidate, any.")],
    version: Annotated[int | None, typer.Argument(help="Where it points; else nowhere.")] = None,
    reason: Annotated[str, typer.Option(help=f"Why, {REASON_HELP}; needed for production.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Point an alias at a version by hand, without asking the gate.

    Without a version: take it away.
    """
    body = {"number": version, "reason": reason}
    rows = client.put(f"models/{name}/aliases/{alias}", body)
    print_table(rows, ("alias", "number", "set_at", "set_by"), as_json=as_json)


@models.command("floor")
@connected
def floor(
    client: HubClient,
    name: NameArgument,
    version: Annotated[int, typer.Argument(help="The lowest that is not revoked.")],
    reason: Annotated[str, typer.Option(help=f"Why, {REASON_HELP}; needed to lower it.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Revoke every version below one. Devices turn to one that is not, where one served there."""
    body = {"floor": version, "reason": reason}
    print_fields(client.put(f"models/{name}/floor", body), as_json=as_json)


@models.command("note")
@connected
def note(
    client: HubClient,
    name: NameArgument,
    text: Annotated[str | None, typer.Argument(help="What to write; else all are shown.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a note about a model, or show what was written."""
    show_notes(client, f"models/{name}/notes", text, as_json=as_json)


@models.command("archive")
@connected
def archive(
    client: HubClient,
    name: NameArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Bring it back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hide a model from lists, builds and rollouts."""
    found = client.post(f"models/{name}/archived", {"on": not undo})
    if as_json:
        print_json(found)
    else:
        typer.echo(f"{name}: {'taken out of the archive' if undo else 'archived'}")


@models.command("delete")
@connected
def delete(client: HubClient, name: NameArgument, as_json: JsonOption = False) -> None:
    """Delete a model that nothing holds and that was never promoted or deployed."""
    print_fields(client.delete(f"models/{name}"), as_json=as_json)


@models.command("export")
@connected
def export(
    client: HubClient,
    name: NameArgument,
    out: Annotated[Path, typer.Option(help="Where the archive goes.")],
    force: Annotated[bool, typer.Option("--force", help="In place of a file there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a model with all versions, builds and evidence to one file."""
    if out.exists() and not force:
        raise CommandError(
            f"{out} is there already", "name another file, or write over it: --force"
        )
    size_bytes = download(client, f"models/{name}/archive", out, quiet=as_json)
    print_fields({"model": name, "file": str(out), "size_bytes": size_bytes}, as_json=as_json)


@models.command("import-archive")
@connected
def import_archive(
    client: HubClient,
    file: Annotated[Path, typer.Argument(help="What `argosy model export` wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Register the model of an archive. Administrators only."""
    print_fields(upload(client, "models/archive", file, quiet=as_json), as_json=as_json)


def _event(entry: dict[str, Any]) -> dict[str, Any]:
    """A line of the history."""
    if entry["kind"] == "promotion":
        what = f"{entry['alias']} moved"
        parts = [entry["verdict"] or ("by hand" if entry["forced"] else ""), entry["reason"]]
        if entry["previous"] is not None:
            parts.insert(0, f"was v{entry['previous']}")
    elif entry["kind"] == "floor":
        what = "floor moved"
        parts = [f"was v{entry['previous']}", entry["reason"]]
    else:
        what = f"rollout {entry['event']}"
        detail = entry["detail"]
        parts = [f"{entry['devices']} devices", detail.get("outcome"), detail.get("reason")]
    said = escape("; ".join(part for part in parts if part))
    return {**entry, "what": what, "version": entry["number"], "detail": said}


@models.command("import")
@connected
def import_model(
    client: HubClient,
    *,
    name: NameArgument,
    file: Annotated[
        Path, typer.Argument(help="An .onnx, or for administrators a .pt.", exists=True)
    ],
    dataset: Annotated[
        str,
        typer.Option(
            help="The dataset whose classes it tells apart, and on which it is evaluated."
        ),
    ],
    dataset_version: Annotated[int | None, typer.Option(help="Else the newest.")] = None,
    imgsz: Annotated[
        int | None, typer.Option(help="Side in px, where the file leaves it open.")
    ] = None,
    licence: Annotated[str, typer.Option(help="The licence that it came with.")] = "",
    notes: Annotated[str, typer.Option(help="For whoever reads the version.")] = "",
    watch: Annotated[bool, typer.Option(help="Stay until the result.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Import a model from outside as a version, evaluated as it would ship."""
    body = {
        "file": f"sha256:{client.upload(file)}",
        "format": file.suffix.lstrip(".").lower(),
        "name": file.name,
        "dataset": dataset,
        "dataset_version": dataset_version,
        "imgsz": imgsz,
        "licence": licence,
        "notes": notes,
    }
    asked = client.post(f"models/{name}/import", body)
    if not watch:
        print_fields(asked, as_json=as_json)
        return
    job_cli.end(job_cli.follow(client, asked["id"], quiet=as_json), as_json=as_json)
