"""`argosy version`: what one version of a model is, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from cloud.cli.client import HubClient, JsonOption, connected
from cloud.cli.job import end, follow
from cloud.cli.output import print_fields, print_json, print_table
from cloud.cli.transfer import download
from cloud.registry import verdicts

versions = typer.Typer(help="Versions of models: cards, notes, keeping.", no_args_is_help=True)

ModelArgument = Annotated[str, typer.Argument(help="The model's name.")]
NumberArgument = Annotated[int, typer.Argument(help="The version's number.")]


@versions.command("list")
@connected
def list_versions(
    client: HubClient,
    model: ModelArgument,
    everything: Annotated[bool, typer.Option("--all", help="Archived ones too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the versions of a model."""
    rows = list(client.items(f"models/{model}/versions", archived=everything or None))
    columns = ["v", "state", "aliases", "builds", "map50", "50_95", "dataset", "parent"]
    if everything:
        columns += ["pinned", "archived"]
    print_table(rows if as_json else map(row_of, rows), columns, as_json=as_json)


@versions.command("show")
@connected
def show(
    client: HubClient, model: ModelArgument, number: NumberArgument, as_json: JsonOption = False
) -> None:
    """Show a version with its builds and figures."""
    show_version(client.get(f"models/{model}/versions/{number}"), as_json=as_json)


@versions.command("card")
@connected
def card(
    client: HubClient,
    model: ModelArgument,
    number: NumberArgument,
    out: Annotated[Path | None, typer.Option(help="Where it goes; else printed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the version's model card, as Markdown."""
    text = client.content(f"models/{model}/versions/{number}/card").decode()
    if out is not None:
        out.write_text(text)
    if as_json:
        said = {"card": text} if out is None else {"file": str(out)}
        print_json({"model": model, "number": number, **said})
    elif out is None:
        typer.echo(text)


@versions.command("rebuild")
@connected
def rebuild(
    client: HubClient,
    model: ModelArgument,
    number: NumberArgument,
    watch: Annotated[bool, typer.Option(help="Stay until the result.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Train a version again from what is kept of it, and say how far off the result is.

    Registers nothing.
    """
    job = client.post(f"models/{model}/versions/{number}/rebuild")
    if watch:
        end(follow(client, job["id"], quiet=as_json), as_json=as_json)
    else:
        print_fields(job, as_json=as_json)


@versions.command("pin")
@connected
def pin(
    client: HubClient,
    model: ModelArgument,
    number: NumberArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Let it go again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep a version whatever asks for its deletion."""
    found = client.post(f"models/{model}/versions/{number}/pin", {"on": not undo})
    _print_change(found, "no longer pinned" if undo else "pinned", as_json=as_json)


@versions.command("archive")
@connected
def archive(
    client: HubClient,
    model: ModelArgument,
    number: NumberArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Bring it back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hide a version from lists, builds and rollouts."""
    found = client.post(f"models/{model}/versions/{number}/archived", {"on": not undo})
    _print_change(found, "taken out of the archive" if undo else "archived", as_json=as_json)


@versions.command("delete")
@connected
def delete(
    client: HubClient, model: ModelArgument, number: NumberArgument, as_json: JsonOption = False
) -> None:
    """Delete a version that nothing holds. What history says of it stays."""
    print_fields(client.delete(f"models/{model}/versions/{number}"), as_json=as_json)


@versions.command("artefacts")
@connected
def artefacts(
    client: HubClient,
    *,
    model: ModelArgument,
    number: NumberArgument,
    get: Annotated[str | None, typer.Option(help="Download this one.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where it goes; else its own name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the files that are kept with a version, or download one."""
    path = f"models/{model}/versions/{number}/artefacts"
    if get is not None:
        target = out or Path(Path(get).name)
        size_bytes = download(client, f"{path}/{get}", target, quiet=as_json)
        print_fields({"file": str(target), "size_bytes": size_bytes}, as_json=as_json)
        return
    columns = ("name", "kind", "media_type", "size_bytes", "sha256", "created_at")
    print_table(client.get(path), columns, as_json=as_json)


@versions.command("note")
@connected
def note(
    client: HubClient,
    model: ModelArgument,
    number: NumberArgument,
    text: Annotated[str | None, typer.Argument(help="What to write; else all are shown.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a note about a version, or show what was written."""
    show_notes(client, f"models/{model}/versions/{number}/notes", text, as_json=as_json)


def _print_change(found: dict[str, Any], what: str, *, as_json: bool) -> None:
    """What became of a version, in a line; the whole of it where JSON is asked for."""
    if as_json:
        print_json(found)
    else:
        typer.echo(f"{found['model']} {found['number']}: {what}")


def row_of(version: dict[str, Any]) -> dict[str, Any]:
    """A version as a line of a table."""
    dataset = version["dataset_version"]
    return {
        **version,
        "v": version["number"],
        "map50": _decimals(version["metrics"].get("map50")),
        "50_95": _decimals(version["metrics"].get("map50_95")),
        "pinned": "yes" if version["pinned"] else None,
        "archived": "yes" if version["archived_at"] else None,
        "dataset": f"{dataset['name']} {dataset['number']}",
        "builds": len(version["builds"]),
    }


def _decimals(figure: float | None) -> str | None:
    return None if figure is None else f"{figure:.3f}"


def show_version(found: dict[str, Any], *, as_json: bool) -> None:
    """A version's fields, its builds, and its figures per class."""
    if as_json:
        print_json(found)
        return
    builds = found.pop("builds")
    metrics = found.pop("metrics")
    per_class = metrics.get("per_class", {})
    figures = {k: v for k, v in metrics.items() if isinstance(v, int | float)}
    print_fields({**found, "metrics": figures})
    print_table(
        [_build_row(build) for build in builds],
        ("digest", "target", "state", "map50", "latency_ms", "size_bytes", "reasons"),
    )
    print_table(
        [{"class": c, **s} for c, s in per_class.items()],
        ("class", "map50", "map50_95", "truth_boxes"),
    )


def show_notes(client: HubClient, path: str, text: str | None, *, as_json: bool) -> None:
    """Add `text` where there is one, then show the notes."""
    if text is not None:
        client.post(path, {"text": text})
    rows = client.get(path)
    if not as_json:
        rows = [{**row, "text": escape(row["text"])} for row in rows]
    print_table(rows, ("at", "by", "text"), as_json=as_json)


def _build_row(build: dict[str, Any]) -> dict[str, Any]:
    return {
        **build,
        "map50": build["metrics"].get("map50"),
        "latency_ms": build["metrics"].get("latency_ms_median"),
        "reasons": verdicts.by_hand_in_words(build["verdict"], build["state"])
        or build["verdict"].get("reasons"),
    }
