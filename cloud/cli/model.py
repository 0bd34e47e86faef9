"""`argosy model`: detectors, their versions and builds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cloud.cli.client import HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_json, print_table

models = typer.Typer(help="Detectors, their versions and builds.", no_args_is_help=True)

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
def list_models(client: HubClient, as_json: JsonOption = False) -> None:
    """List models."""
    columns = ("name", "class_names", "created_at", "created_by")
    print_table(client.items("models"), columns, as_json=as_json)


@models.command("show")
@connected
def show(
    client: HubClient,
    name: NameArgument,
    version: Annotated[int | None, typer.Option(help="This one; else all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the versions of a model, or one of them with its builds and metrics."""
    if version is None:
        rows = list(client.items(f"models/{name}/versions"))
        columns = ("number", "state", "map50", "map50_95", "dataset", "parent", "created_at")
        print_table(rows if as_json else map(_row, rows), columns, as_json=as_json)
        return
    found = client.get(f"models/{name}/versions/{version}")
    if as_json:
        print_json(found)
        return
    builds = found.pop("builds")
    per_class = found["metrics"].pop("per_class", {})
    print_fields(found)
    print_table(builds, ("digest", "identity", "state", "size_bytes"))
    print_table(
        [{"class": c, **s} for c, s in per_class.items()],
        ("class", "map50", "map50_95", "truth_boxes"),
    )


@models.command("weights")
@connected
def weights(
    client: HubClient,
    name: NameArgument,
    version: Annotated[int, typer.Argument(help="The version's number.")],
    out: Annotated[Path, typer.Option(help="Where the .pt goes.")],
) -> None:
    """Download a version's PyTorch checkpoint."""
    out.write_bytes(client.content(f"versions/{name}/{version}/weights"))


def _row(version: dict[str, Any]) -> dict[str, Any]:
    dataset = version["dataset_version"]
    return {
        **version,
        "map50": version["metrics"]["map50"],
        "map50_95": version["metrics"]["map50_95"],
        "dataset": f"{dataset['name']} {dataset['number']}",
    }
