"""`argosy group`: names for the devices that a selector names at the moment it is used."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from cloud.cli.client import HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_table

groups = typer.Typer(
    help="Names for devices by a selector; a selector uses one as group=NAME.",
    no_args_is_help=True,
)

GroupName = Annotated[str, typer.Argument(help="The group's name.")]


@groups.command("create")
@connected
def create(
    client: HubClient,
    name: GroupName,
    selector: Annotated[str, typer.Argument(help="site=osaka,line in (a,b),!maintenance")],
    as_json: JsonOption = False,
) -> None:
    """Name the devices that a selector names, now and whenever the group is used."""
    made = client.post("groups", {"name": name, "selector": selector})
    print_fields(made, as_json=as_json)


@groups.command("list")
@connected
def list_groups(client: HubClient, as_json: JsonOption = False) -> None:
    """List the groups."""
    columns = ("name", "selector", "devices", "created_at", "created_by")
    print_table(client.items("groups"), columns, as_json=as_json)


@groups.command("show")
@connected
def show(client: HubClient, name: GroupName, as_json: JsonOption = False) -> None:
    """Show a group, with how many devices it names now."""
    print_fields(client.get(f"groups/{quote(name, safe='')}"), as_json=as_json)


@groups.command("delete")
@connected
def delete(client: HubClient, name: GroupName, as_json: JsonOption = False) -> None:
    """Forget a group. One that a rollout hangs on is kept."""
    client.delete(f"groups/{quote(name, safe='')}")
    print_fields({"deleted": name}, as_json=as_json)
