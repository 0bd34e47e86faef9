"""`argosy device` and `argosy site`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console

from cloud.cli.client import CommandError, HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_json, print_table
from cloud.files import write_private

devices = typer.Typer(help="Devices: enrol, look at, command.", no_args_is_help=True)
sites = typer.Typer(help="Sites of devices.", no_args_is_help=True)

CAMERA = re.compile(r"(?P<id>[A-Za-z0-9][A-Za-z0-9._-]{0,63})=(?P<source>.+)")
SLOT_END = re.compile(r"(?P<source>.+):(?P<slot>[A-Za-z_][A-Za-z0-9._-]{0,63})")

DeviceArgument = Annotated[str, typer.Argument(help="The device's id.")]


@devices.command("enrol")
@connected
def enrol(
    client: HubClient,
    device_id: DeviceArgument,
    *,
    model: Annotated[str, typer.Option(help="Its models, separated by commas.")],
    out: Annotated[Path, typer.Option(help="Where to write its agent.toml.")],
    site: Annotated[str | None, typer.Option(help="The site it stands at.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="key=value; may be repeated.")] = None,
    camera: Annotated[
        list[str] | None, typer.Option(help="ID=SOURCE or ID=SOURCE:MODEL; may be repeated.")
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Play files and folders again and again.")
    ] = False,
    fps_max: Annotated[float | None, typer.Option(min=0.01, help="For every camera.")] = None,
    device_data: Annotated[
        Path | None, typer.Option(help="The agent's data folder; beside agent.toml by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol a device at the hub and write its configuration, its token inside."""
    models = [name.strip() for name in model.split(",") if name.strip()]
    pace = {k: v for k, v in {"loop": loop, "fps_max": fps_max}.items() if v}
    cameras = [{**parse_camera(text, models), **pace} for text in camera or []]
    if out.exists():
        raise CommandError(f"{out} exists already", "remove it or give another --out")
    link = client.get("device/link")
    body = {
        "device_id": device_id,
        "site": site,
        "labels": dict(_label(text) for text in label or []),
        "models": models,
    }
    created = client.post("devices", body)
    config = {
        "device": {"id": device_id, "data_dir": str(device_data or f"{device_id}-data")},
        "hub": {"url": client.url, "token": created["token"]},
        "mqtt": {
            "host": link["mqtt_host"],
            "port": link["mqtt_port"],
            "root": link["root"],
            "tls": link["tls"],
        },
    }
    write_private(out, agent_toml(config, cameras))
    if as_json:
        print_json({"device": created["device"], "config": str(out)})
        return
    Console(highlight=False).print(
        f"Enrolled [bold]{device_id}[/bold]. Its configuration and token are in {out}.\n"
        f"On the device: argosy-agent run --config {out}",
        soft_wrap=True,
    )


@devices.command("list")
@connected
def list_devices(
    client: HubClient,
    site: Annotated[str | None, typer.Option(help="Only of this site.")] = None,
    select: Annotated[str | None, typer.Option(help="Only these: line in (1,2).")] = None,
    as_json: JsonOption = False,
) -> None:
    """List devices, whether they are there, and what they run."""
    columns = ("id", "site", "presence", "last_seen", "models", "running", "desired_generation")
    found = client.items("devices", site=site, selector=select)
    print_table(found, columns, as_json=as_json)


@devices.command("change")
@connected
def change(
    client: HubClient,
    device_id: DeviceArgument,
    *,
    site: Annotated[str | None, typer.Option(help='Where it stands; "" is nowhere.')] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="key=value, or key= to take it away; repeat.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="All its models, with commas.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Change where a device stands, its labels or its models; what is not given stays."""
    body: dict[str, Any] = {}
    if site is not None:
        body["site"] = site or None
    if label:
        body["labels"] = {key: value or None for key, value in map(_label, label)}
    if model is not None:
        body["models"] = [name.strip() for name in model.split(",") if name.strip()]
    if not body:
        raise CommandError("nothing is to change", "give --site, --label or --model")
    row = client.request("PATCH", f"devices/{quote(device_id)}", body=body)
    shown = ("id", "site", "labels", "models")
    print_fields({name: row[name] for name in shown}, as_json=as_json)


@devices.command("show")
@connected
def show(client: HubClient, device_id: DeviceArgument, as_json: JsonOption = False) -> None:
    """Show all that is known of a device."""
    row = client.get(f"devices/{quote(device_id)}")
    if not as_json:
        row = {
            **row,
            "reported": reported_fields(row["reported"]),
            "desired": _desired(row["desired"]),
        }
    print_fields(row, as_json=as_json)


@devices.command("rotate-token")
@connected
def rotate_token(client: HubClient, device_id: DeviceArgument, as_json: JsonOption = False) -> None:
    """Give a device a new token; the old one is worthless at once."""
    print_fields(client.post(f"devices/{quote(device_id)}/token"), as_json=as_json)


@devices.command("command")
@connected
def command(
    client: HubClient,
    device_id: DeviceArgument,
    name: Annotated[str, typer.Argument(help="report or snapshot")],
    as_json: JsonOption = False,
) -> None:
    """Send a one-off request to a device."""
    row = client.post(f"devices/{quote(device_id)}/commands", {"name": name})
    print_fields(row, as_json=as_json)


@devices.command("harvest")
@connected
def harvest(
    client: HubClient,
    device_id: DeviceArgument,
    *,
    images_per_hour: Annotated[float | None, typer.Option(min=0)] = None,
    images_burst: Annotated[int | None, typer.Option(min=0, help="At once at the most.")] = None,
    random_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of the budget, for frames by chance.")
    ] = None,
    uncertainty_min: Annotated[
        float | None, typer.Option(min=0, max=1, help="From which a frame is doubtful.")
    ] = None,
    enabled: Annotated[bool | None, typer.Option("--on/--off")] = None,
    as_json: JsonOption = False,
) -> None:
    """Set what a device sends back, and how much; what is not given stays."""
    asked = {
        "images_per_hour": images_per_hour,
        "images_burst": images_burst,
        "random_share": random_share,
        "uncertainty_min": uncertainty_min,
        "enabled": enabled,
    }
    path = f"devices/{quote(device_id)}"
    before = (client.get(path)["desired"] or {}).get("harvest", {})
    policy = {**before, **{k: v for k, v in asked.items() if v is not None}}
    client.put(f"{path}/desired", {"harvest": policy})
    print_fields(client.get(path)["desired"]["harvest"], as_json=as_json)


@sites.command("create")
@connected
def create_site(
    client: HubClient,
    name: str,
    time_zone: Annotated[str, typer.Option(help="Like Europe/Berlin.")] = "UTC",
    as_json: JsonOption = False,
) -> None:
    """Create a site."""
    print_fields(client.post("sites", {"name": name, "time_zone": time_zone}), as_json=as_json)


@sites.command("list")
@connected
def list_sites(client: HubClient, as_json: JsonOption = False) -> None:
    """List sites."""
    print_table(client.items("sites"), ("name", "time_zone", "created_at"), as_json=as_json)


def parse_camera(text: str, models: list[str]) -> dict[str, str]:
    """A camera as it is typed, ID=SOURCE or ID=SOURCE:MODEL; the first model by default.

    A source may hold colons itself, so what follows the last one is a model only where it
    is one of the device's. Raises CommandError.
    """
    match = CAMERA.fullmatch(text)
    if match is None or not models:
        raise CommandError(
            f"{text!r} is no camera of models {models}", "write --camera ID=SOURCE[:MODEL]"
        )
    source, slot = match["source"], models[0]
    end = SLOT_END.fullmatch(source)
    if end is not None and end["slot"] in models:
        source, slot = end["source"], end["slot"]
    if "://" not in source and not source.startswith(("usb:", "csi:", "gst:")):
        source = str(Path(source).absolute())
    return {"id": match["id"], "source": source, "slot": slot}


def agent_toml(sections: dict[str, dict[str, Any]], cameras: list[dict[str, Any]]) -> str:
    """The text of an agent.toml. JSON's texts, numbers and booleans are TOML's too."""
    lines = []
    for header, values in [
        *((f"[{name}]", section) for name, section in sections.items()),
        *(("[[cameras]]", camera) for camera in cameras),
    ]:
        lines.append(header)
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        lines.append("")
    return "\n".join(lines)


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise CommandError(f"{text!r} is no label", "write --label key=value")
    return key, value


def reported_fields(reported: dict[str, Any] | None) -> dict[str, Any] | None:
    """Of a device's report, what a person wants to see at a glance."""
    if reported is None:
        return None
    kept = ("agent_version", "desired_generation", "health")
    cameras = {name: camera["state"] for name, camera in reported.get("cameras", {}).items()}
    slots = {name: _slot(slot) for name, slot in reported.get("slots", {}).items()}
    return {**{key: reported.get(key) for key in kept}, "slots": slots, "cameras": cameras}


def _slot(slot: dict[str, Any]) -> dict[str, Any]:
    """What a slot runs, the engine that the device compiled of it, until when the line says
    "not now", and where its update stands."""
    execution = slot.get("execution")
    shown = {
        "running": slot.get("running_digest"),
        "engine": slot.get("engine"),
        "veto_until_at": slot.get("veto_until"),
        "update": execution and execution["state"],
    }
    return {name: value for name, value in shown.items() if value is not None}


def _desired(desired: dict[str, Any] | None) -> dict[str, Any] | None:
    if desired is None:
        return None
    return {n: f"{s['model']} v{s['version']}" for n, s in desired["slots"].items()}
