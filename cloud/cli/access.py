"""`argosy token` and `argosy audit`."""

from __future__ import annotations

from typing import Annotated

import typer

from cloud.cli.client import HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_table

tokens = typer.Typer(help="Tokens of people and services.", no_args_is_help=True)


@tokens.command("create")
@connected
def create(
    client: HubClient,
    name: Annotated[str, typer.Argument(help="Whose token it is.")],
    role: Annotated[str, typer.Option(help="viewer, annotator, operator, approver, administrator")],
    service: Annotated[bool, typer.Option("--service", help="It is a program's.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Create a token; it is shown this once."""
    kind = "service" if service else "user"
    row = client.post("tokens", {"name": name, "role": role, "kind": kind})
    print_fields(row, as_json=as_json)


@tokens.command("list")
@connected
def list_tokens(client: HubClient, as_json: JsonOption = False) -> None:
    """List tokens, never their text."""
    columns = ("id", "kind", "name", "role", "created_at", "revoked_at")
    print_table(client.items("tokens"), columns, as_json=as_json)


@tokens.command("revoke")
@connected
def revoke(client: HubClient, token_id: str, as_json: JsonOption = False) -> None:
    """Make a token worthless at once."""
    print_fields(client.delete(f"tokens/{token_id}"), as_json=as_json)


@connected
def audit(
    client: HubClient,
    subject: Annotated[str | None, typer.Option(help="Only of this, e.g. device/line-1.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: JsonOption = False,
) -> None:
    """Who did what, newest first."""
    page = client.get("audit", subject=subject, limit=limit)
    columns = ("at", "principal", "verb", "subject", "detail")
    print_table(page["items"], columns, as_json=as_json)
