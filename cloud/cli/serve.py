"""`argosy serve` and `argosy init`."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cloud.cli.client import DATA_DIR_DEFAULT, CommandError, DataOption, JsonOption
from cloud.cli.output import print_json


def serve(
    *,
    data: DataOption = DATA_DIR_DEFAULT,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="HTTP port; 0: any free one.")] = None,
    mqtt_url: Annotated[
        str | None, typer.Option(help="embedded, mqtt://host:port or mqtts://host:port")
    ] = None,
    mqtt_port: Annotated[
        int | None, typer.Option(help="Port of the embedded broker; 0: any free one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the hub until it is stopped by SIGTERM or Ctrl-C."""
    logging.basicConfig(
        level=os.environ.get("ARGOSY_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from cloud import serving, settings
    from cloud.errors import HubError

    mqtt = {k: v for k, v in {"url": mqtt_url, "port": mqtt_port}.items() if v is not None}
    given: dict[str, Any] = {"host": host, "port": port, "mqtt": mqtt or None}
    try:
        loaded = settings.load(data, **{k: v for k, v in given.items() if v is not None})
        serving.serve(loaded, lambda place: _announce(place, as_json))
    except HubError as error:
        raise CommandError(error.message, error.remedy) from error


def init(data: DataOption = DATA_DIR_DEFAULT) -> None:
    """Prepare a data folder: database, signing keys, an administrator's token."""
    from cloud import serving, settings
    from cloud.errors import HubError

    try:
        loaded = settings.load(data)
        serving.initialise(loaded).stop()
    except HubError as error:
        raise CommandError(error.message, error.remedy) from error
    Console().print(f"{data} is ready; the administrator's token is in {_token_file(data)}")


def _token_file(data: Path) -> Path:
    return data / "admin.token"


def _announce(place: dict[str, object], as_json: bool) -> None:
    if as_json:
        print_json(place)
        return
    console = Console(highlight=False)
    console.print(f"The hub listens on [bold]{place['url']}[/bold]", soft_wrap=True)
    console.print(f"Devices reach MQTT at {place['mqtt_host']}:{place['mqtt_port']}")
