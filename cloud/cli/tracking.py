"""`argosy tracking`: the mirror of versions on an MLflow server."""

from __future__ import annotations

import typer

from cloud.cli.client import HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_json, print_table

tracking = typer.Typer(help="The mirror on an MLflow server.", no_args_is_help=True)

COLUMNS = ("model", "number", "state", "model_version", "run_id", "failures", "error", "at")


@tracking.command("show")
@connected
def show(client: HubClient, as_json: JsonOption = False) -> None:
    """Show what is mirrored where, and what failed."""
    whole = client.get("tracking")
    items = list(client.items("tracking"))
    if as_json:
        print_json({**whole, "items": items, "next": None})
        return
    if whole["server"] is None:
        typer.echo("No MLflow server is configured: set tracking.tracking_uri in hub.toml")
        return
    print_fields({key: whole[key] for key in ("server", "versions", "mirrored", "failing")})
    print_table(items, COLUMNS)
