"""`argosy promote`: the gate, its evidence, and moving an alias by it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from cloud.cli.client import CommandError, HubClient, JsonOption, connected
from cloud.cli.job import end, follow, leave
from cloud.cli.output import print_fields, print_json, print_table
from cloud.reasons import REASON_HELP

promotion = typer.Typer(
    help="Compare a version with what serves, and let it take over.", no_args_is_help=True
)

ModelArgument = Annotated[str, typer.Argument(help="The model's name.")]
NumberArgument = Annotated[int, typer.Argument(help="The candidate's number.")]
EvidenceArgument = Annotated[str, typer.Argument(help="The evidence's id.")]
AliasOption = Annotated[str, typer.Option(help="The alias that is to move.")]

_COLUMNS = ("name", "finding", "incumbent", "candidate", "reason")
_STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


@promotion.command("check")
@connected
def check(
    client: HubClient,
    model: ModelArgument,
    number: NumberArgument,
    *,
    against: Annotated[
        int | None, typer.Option(help="Compare with this version, not with the alias's.")
    ] = None,
    alias: AliasOption = "production",
    target: Annotated[
        str | None,
        typer.Option(help="Which builds to compare; else onnx-fp32 where both have it."),
    ] = None,
    watch: Annotated[bool, typer.Option(help="Stay and show progress.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Ask the gate whether a version is as good as what serves.

    Exit status 3: it says FAIL or INCONCLUSIVE.
    """
    job = _request(client, model, number, alias=alias, against=against, target=target)
    if not watch:
        print_fields(job, as_json=as_json)
        return
    done = follow(client, job["id"], quiet=as_json)
    if as_json or done["state"] != "SUCCEEDED":
        end(done, as_json=as_json)
        return
    _show(client.get(f"evidence/{done['result']['evidence']}"))
    leave(done)


@promotion.command("start")
@connected
def start(
    client: HubClient,
    model: ModelArgument,
    number: NumberArgument,
    *,
    alias: AliasOption = "production",
    force: Annotated[
        bool, typer.Option("--force", help="Without a PASS; recorded as such.")
    ] = False,
    reason: Annotated[str, typer.Option(help=f"Why, {REASON_HELP}; --force needs it.")] = "",
    watch: Annotated[
        bool, typer.Option(help="Await the gate that is asked; else nothing moves yet.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Point an alias at a version. `production` takes a PASS, asked for here where it lacks."""
    evidence = client.get(f"models/{model}/versions/{number}/evidence", alias=alias)
    if evidence is None and alias == "production" and not force:
        if not watch:
            print_fields(_request(client, model, number, to_promote=True), as_json=as_json)
            return
        evidence = _checked(client, model, number, quiet=as_json)
    body = {
        "number": number,
        "alias": alias,
        "evidence": evidence and evidence["id"],
        "force": force,
        "reason": reason,
    }
    print_fields(client.post(f"models/{model}/promote", body), as_json=as_json)


@promotion.command("show")
@connected
def show(client: HubClient, evidence: EvidenceArgument, as_json: JsonOption = False) -> None:
    """Show what a gate found, figure by figure."""
    record = client.get(f"evidence/{evidence}")
    if as_json:
        print_json(record)
    else:
        _show(record)


@promotion.command("page")
@connected
def page(
    client: HubClient,
    evidence: EvidenceArgument,
    out: Annotated[Path, typer.Option(help="Where the HTML file goes.")],
    as_json: JsonOption = False,
) -> None:
    """Save the page of a gate: plots, and the images that became better and worse."""
    data = client.content(f"evidence/{evidence}/page")
    try:
        out.write_bytes(data)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}", "name another") from error
    print_fields({"file": str(out), "size_bytes": len(data)}, as_json=as_json)


@promotion.command("history")
@connected
def history(client: HubClient, model: ModelArgument, as_json: JsonOption = False) -> None:
    """List what gates found of a model's versions, newest first."""
    columns = ("id", "alias", "version", "against", "verdict")
    rows = list(client.items(f"models/{model}/evidence"))
    print_table(rows if as_json else map(_row, rows), columns, as_json=as_json)


@promotion.command("policy")
@connected
def policy(
    client: HubClient,
    model: ModelArgument,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override one, as name=value; repeat.")
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option(help="Let the default of one hold again; repeat.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the gate demands of a model's candidates, or change it."""
    path = f"models/{model}/policy"
    if settings or unset:
        changes = dict(_setting(text) for text in settings or ())
        found = client.put(path, {"set": changes, "unset": unset or []})
    else:
        found = client.get(path)
    if as_json:
        print_json(found)
        return
    rows = [
        {
            "name": name,
            "value": [escape(v) for v in value] if isinstance(value, list) else value,
            "": "set" if name in found["overrides"] else "default",
        }
        for name, value in found["values"].items()
    ]
    print_table(rows, ("name", "value", ""))


def _row(evidence: dict[str, Any]) -> dict[str, Any]:
    """Evidence as a line of a table."""
    return {**evidence, "version": evidence["candidate"], "against": evidence["incumbent"]}


def _setting(text: str) -> tuple[str, Any]:
    """Name and value; several classes are told apart by commas."""
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"{text!r} sets nothing", "write --set name=value")
    if name == "critical_classes":
        return name, [part for part in map(str.strip, value.split(",")) if part]
    return name, value


def _request(client: HubClient, model: str, number: int, **asked: Any) -> dict[str, Any]:
    body = {key: value for key, value in asked.items() if value is not None}
    job: dict[str, Any] = client.post(f"models/{model}/versions/{number}/gate", body)
    return job


def _checked(client: HubClient, model: str, number: int, *, quiet: bool) -> dict[str, Any]:
    """A gate's evidence. Raises CommandError where it does not end, or does not pass."""
    job = follow(client, _request(client, model, number, to_promote=True)["id"], quiet=quiet)
    if job["state"] != "SUCCEEDED":
        raise CommandError(f"the gate {job['state'].lower()}: {job['error'] or 'canceled'}")
    result = job["result"]
    if result["verdict"] != "PASS":
        raise CommandError(
            f"{model} v{number} does not take over: {result['verdict']}, {result['reason']}",
            f"`argosy promote show {result['evidence']}` tells more; --force with --reason "
            "does it anyway",
        )
    return {"id": result["evidence"]}


def _show(record: dict[str, Any]) -> None:
    console = Console()
    verdict, against = record["verdict"], record["incumbent"]
    than = "fixed bars" if against is None else f"v{against}"
    console.print(verdict, style=_STYLES[verdict])
    said = f"{record['model']} v{record['candidate']} against {than}: {record['reason']}"
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    if record["more_images"]:
        console.print(f"about {record['more_images']} more labelled images would likely tell")
    print_table(record["components"], _COLUMNS)
    console.print(f"`argosy promote page {record['id']} --out FILE` shows plots and images")
