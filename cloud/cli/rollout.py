"""`argosy rollout`: start, watch and steer staged changes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cloud.cli.client import CommandError, HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_table
from cloud.cli.watching import left

POLL_S = 0.5
BAR_CELLS = 40
WARNED_MAX = 10
EXIT_NOT_ON_ALL = 3
MOVING = frozenset({"CREATING", "READY", "RUNNING", "STOPPING"})
BAD_WORDS = frozenset({"FAILED", "ROLLED_BACK", "TIMED_OUT", "REJECTED"})
PASSED_OVER_WORDS = frozenset({"NO_ARTIFACT", "SUPERSEDED", "CANCELED"})

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
WINDOW = re.compile(
    r"(?P<cron>\S+(?:\s+\S+){4})\s+for\s+(?P<count>\d+(?:\.\d+)?)(?P<unit>[smhd])"
    r"(?:\s+(?P<zone>\S+))?"
)

rollouts = typer.Typer(help="Staged changes of what devices run.", no_args_is_help=True)

RolloutId = Annotated[str, typer.Argument(help="As `argosy rollout list` shows it.")]


def parse_wave(text: str) -> dict[str, Any]:
    """A wave as it is typed: `10%`, `5` (devices) or `line=a,hall in (1,2)` (a selector)."""
    if not text.endswith("%"):
        return {"count": int(text)} if text.isdecimal() else {"selector": text}
    try:
        return {"percent": float(text[:-1])}
    except ValueError as error:
        raise CommandError(f"{text!r} is no wave", "write 10%, 5 or line=a") from error


def parse_shadow(text: str) -> dict[str, float]:
    """A shadow as it is typed: `on`, or the policy's numbers that differ, `share=0.1,…`."""
    if text == "on":
        return {}
    found = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        try:
            found[key.strip()] = float(value)
        except ValueError as error:
            raise CommandError(
                f"{part!r} says nothing of a shadow", "write on, or share=0.1,frames_min=500"
            ) from error
    return found


def parse_window(text: str) -> dict[str, Any]:
    """A window as it is typed: `CRON for 2h`, and a time zone where not each site's own."""
    match = WINDOW.fullmatch(text.strip())
    if match is None:
        raise CommandError(
            f"{text!r} is no window", 'write five fields of cron: "0 2 * * * for 2h Europe/Berlin"'
        )
    seconds = float(match["count"]) * SECONDS[match["unit"]]
    return _given(cron=match["cron"], duration_s=seconds, time_zone=match["zone"])


@rollouts.command("start")
@connected
def start(
    client: HubClient,
    *,
    model: Annotated[str, typer.Argument(help="The model whose devices are meant.")],
    version: Annotated[int | None, typer.Argument(help="The version to bring.")] = None,
    build: Annotated[str | None, typer.Option(help="One build by digest, not a version.")] = None,
    wave: Annotated[list[str] | None, typer.Option(help="10%, 5 or line=a; repeat.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="Only these; repeat.")] = None,
    select: Annotated[str | None, typer.Option(help="Only these: site=a,line in (1,2).")] = None,
    soak_s: Annotated[float | None, typer.Option(help="After a wave's last success.")] = None,
    success_percent: Annotated[float | None, typer.Option(help="For the next wave.")] = None,
    failed_max: Annotated[int | None, typer.Option(help="More failures pause.")] = None,
    probation_s: Annotated[float | None, typer.Option(help="Watched after a swap.")] = None,
    step_timeout_s: Annotated[float | None, typer.Option(help="Without any progress.")] = None,
    total_timeout_s: Annotated[float | None, typer.Option(help="For one device.")] = None,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    needs_approval: Annotated[bool, typer.Option("--needs-approval")] = False,
    shadow: Annotated[
        str | None, typer.Option(help="Compare first: `on`, or share=0.1,frames_min=500.")
    ] = None,
    window: Annotated[
        str | None, typer.Option(help='Exchange only then: "0 2 * * * for 2h [Europe/Berlin]".')
    ] = None,
    site_atomic: Annotated[
        bool, typer.Option("--site-atomic", help="All of a site at one word.")
    ] = False,
    timeout_s: Annotated[float | None, typer.Option(help="What a device gives itself.")] = None,
    follow: Annotated[bool, typer.Option("--watch", help="Then watch it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a version to the model's devices, in waves; without waves to all at once."""
    asked = {
        **_meant(model, version, build, wave=wave, device=device, select=select),
        "name": name,
        "soak_s": soak_s,
        "success_percent": success_percent,
        "failed_max": failed_max,
        "probation_s": probation_s,
        "step_timeout_s": step_timeout_s,
        "total_timeout_s": total_timeout_s,
        "needs_approval": needs_approval,
        "shadow": None if shadow is None else parse_shadow(shadow),
        "window": None if window is None else parse_window(window),
        "site_atomic": site_atomic,
        "timeout_s": timeout_s,
    }
    rollout = client.post("rollouts", _given(**asked))
    if not as_json:
        _warn(rollout["plan"])
    if follow:
        _watch(client, rollout["id"], as_json=as_json)
    else:
        _print(rollout, as_json=as_json)


@rollouts.command("preview")
@connected
def preview(
    client: HubClient,
    *,
    model: Annotated[str, typer.Argument(help="The model whose devices are meant.")],
    version: Annotated[int | None, typer.Argument(help="The version to bring.")] = None,
    build: Annotated[str | None, typer.Option(help="One build by digest, not a version.")] = None,
    wave: Annotated[list[str] | None, typer.Option(help="10%, 5 or line=a; repeat.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="Only these; repeat.")] = None,
    select: Annotated[str | None, typer.Option(help="Only these: site=a,line in (1,2).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which build each device would get, or why none. Exit status 3: not every device."""
    meant = _meant(model, version, build, wave=wave, device=device, select=select)
    plan = client.post("rollouts/preview", _given(**meant))
    if as_json:
        print_fields(plan, as_json=True)
    else:
        columns = ("device", "wave", "target", "digest", "fallbacks", "reason")
        print_table(map(_plan_row, plan["devices"]), columns)
        _warn(plan)
    if plan["no_artifact"]:
        raise typer.Exit(EXIT_NOT_ON_ALL)


def _plan_row(device: dict[str, Any]) -> dict[str, Any]:
    heard = "" if device["heard"] else " (it never said what it can run)"
    return {
        **device,
        "target": device["target"] or "NO_ARTIFACT",
        "fallbacks": len(device["fallbacks"]),
        "reason": device["reason"] + heard,
    }


def _warn(plan: dict[str, Any]) -> None:
    """Say on standard error which devices will get nothing."""
    without = [device for device in plan["devices"] if device["digest"] is None]
    console = Console(stderr=True)
    for device in without[:WARNED_MAX]:
        text = f"NO_ARTIFACT for {device['device']}: {device['reason']}"
        console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if len(without) > WARNED_MAX:
        console.print(f"… and for {len(without) - WARNED_MAX} more", style="yellow")


def _meant(
    model: str,
    version: int | None,
    build: str | None,
    *,
    wave: list[str] | None,
    device: list[str] | None,
    select: str | None,
) -> dict[str, Any]:
    """What is to go where, as the hub wants it said."""
    return {
        "model": model,
        "version": version,
        "bundle_digest": build,
        "waves": [parse_wave(text) for text in wave or ()],
        "devices": device,
        "selector": select,
    }


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@rollouts.command("list")
@connected
def list_rollouts(
    client: HubClient,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List rollouts, newest first."""
    columns = ("id", "name", "state", "outcome", "wave", "created_at", "created_by", "reason")
    print_table(client.items("rollouts", model=model), columns, as_json=as_json)


@rollouts.command("show")
@connected
def show(client: HubClient, rollout_id: RolloutId, as_json: JsonOption = False) -> None:
    """Show one rollout with every device's attempts."""
    _print(client.get(f"rollouts/{rollout_id}"), as_json=as_json)


@rollouts.command("watch")
@connected
def watch(client: HubClient, rollout_id: RolloutId, as_json: JsonOption = False) -> None:
    """Watch until it moves no more. Exit status 3: not every device got the build."""
    _watch(client, rollout_id, as_json=as_json)


@rollouts.command("approve")
@connected
def approve(client: HubClient, rollout_id: RolloutId, as_json: JsonOption = False) -> None:
    """Let a rollout that waits for approval run."""
    _print(client.post(f"rollouts/{rollout_id}/approve"), as_json=as_json)


@rollouts.command("accept")
@connected
def accept(
    client: HubClient,
    rollout_id: RolloutId,
    *,
    device: Annotated[str, typer.Option(help="The one that asks.")],
    as_json: JsonOption = False,
) -> None:
    """Let a device go on whose shadow ended INCONCLUSIVE. Approvers."""
    rollout = client.post(f"rollouts/{rollout_id}/devices/{quote(device)}/accept")
    _print(rollout, as_json=as_json)


@rollouts.command("pause")
@connected
def pause(client: HubClient, rollout_id: RolloutId, as_json: JsonOption = False) -> None:
    """Start nothing more; what is under way goes on."""
    _print(client.post(f"rollouts/{rollout_id}/pause"), as_json=as_json)


@rollouts.command("resume")
@connected
def resume(client: HubClient, rollout_id: RolloutId, as_json: JsonOption = False) -> None:
    """Go on, and acknowledge the failures so far."""
    _print(client.post(f"rollouts/{rollout_id}/resume"), as_json=as_json)


@rollouts.command("cancel")
@connected
def cancel(client: HubClient, rollout_id: RolloutId, as_json: JsonOption = False) -> None:
    """Give up what has not been exchanged; devices that have the build keep it."""
    _print(client.post(f"rollouts/{rollout_id}/cancel"), as_json=as_json)


def _print(rollout: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_fields(rollout, as_json=True)
        return
    Console().print(picture(rollout))
    columns = ("device", "wave", "attempt", "state", "updated_at", "diverged", "reason")
    print_table(map(_execution_row, rollout["executions"]), columns)


def _execution_row(execution: dict[str, Any]) -> dict[str, Any]:
    waits = execution["waits_for"] and f"waits for {execution['waits_for']}"
    said = [words for words in (waits, execution["reason"]) if words]
    return {**execution, "reason": "; ".join(said)}


def _watch(client: HubClient, rollout_id: str, *, as_json: bool) -> None:
    rollout: dict[str, Any] = {}
    with left(f"the rollout goes on; `argosy rollout watch {rollout_id}` shows it"):
        if as_json:
            for rollout in _changes(client, rollout_id):
                typer.echo(json.dumps(rollout))
        else:
            with Live(console=Console(), auto_refresh=False) as live:
                for rollout in _changes(client, rollout_id):
                    live.update(picture(rollout), refresh=True)
    if rollout["outcome"] != "SUCCEEDED":
        raise typer.Exit(EXIT_NOT_ON_ALL)


def _changes(client: HubClient, rollout_id: str) -> Iterator[dict[str, Any]]:
    """The rollout now and after each change, until it moves no more by itself."""
    last: dict[str, Any] = {}
    while not last or last["state"] in MOVING:
        if last:
            time.sleep(POLL_S)
        rollout = client.get(f"rollouts/{rollout_id}")
        if rollout != last:
            yield rollout
        last = rollout


def picture(rollout: dict[str, Any]) -> Group:
    """The rollout as a headline and a bar for each wave."""
    outcome = f" · {rollout['outcome']}" if rollout["outcome"] else ""
    headline = Text(f"{rollout['name']}  {rollout['state']}{outcome}", style="bold")
    if rollout["reason"]:
        headline.append(f"  {rollout['reason']}", style="not bold yellow")
    waves = Table(show_header=False, box=None)
    for number, wave in enumerate(rollout["waves"]):
        opened = "▸" if number == rollout["wave"] and rollout["state"] in MOVING else " "
        words = ", ".join(f"{count} {word}" for word, count in sorted(wave["counts"].items()))
        waves.add_row(opened, f"wave {number + 1}", _bar(wave), f"{wave['devices']}", words)
    return Group(headline, waves, *_asking(rollout))


def _asking(rollout: dict[str, Any]) -> list[Text]:
    """A line for each device that asks a person, with the command that answers."""
    asking = [e for e in rollout["executions"] if e["waits_for"] and e["shadow"] == "INCONCLUSIVE"]
    return [
        Text(
            f"{e['device']} waits for {e['waits_for']}; "
            f"`argosy rollout accept {rollout['id']} --device {e['device']}` lets it go on",
            style="yellow",
        )
        for e in asking[:WARNED_MAX]
    ]


def _bar(wave: dict[str, Any]) -> Text:
    """Green: have it; red: failed; grey: passed over; yellow: under way; dots: waiting."""
    shares = {"green": 0, "red": 0, "bright_black": 0, "yellow": 0}
    for word, count in wave["counts"].items():
        if word != "QUEUED":
            shares[_colour(word)] += count
    bar, reached, drawn = Text(), 0, 0
    for colour, count in shares.items():
        reached += count
        upto = round(BAR_CELLS * reached / max(1, wave["devices"]))
        bar.append("█" * (upto - drawn), style=colour)
        drawn = upto
    return bar.append("·" * (BAR_CELLS - drawn), style="bright_black")


def _colour(word: str) -> str:
    if word == "SUCCEEDED":
        return "green"
    if word in BAD_WORDS:
        return "red"
    return "bright_black" if word in PASSED_OVER_WORDS else "yellow"
