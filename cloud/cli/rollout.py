"""`argosy rollout`: plan, start, watch and steer staged changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console

from cloud.cli import rollout_start as ask
from cloud.cli.client import CommandError, HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_json, print_table
from cloud.cli.rollout_plan import EXIT_NOT_ON_ALL, print_plan, warn
from cloud.cli.rollout_report import print_report
from cloud.cli.rollout_watch import open_gate, picture, stay

rollouts = typer.Typer(help="Staged changes of what devices run.", no_args_is_help=True)

RolloutId = Annotated[str, typer.Argument(help="Its id, or the first 6 digits or more.")]
DeviceId = Annotated[str, typer.Argument(help="The device's id.")]
ModelName = Annotated[str, typer.Argument(help="The model, which names the slot.")]
RemarkOption = Annotated[str, typer.Option(help="Why; it stays in the rollout's journal.")]

EXECUTION_COLUMNS = ("device", "wave", "attempt", "state", "updated_at", "diverged", "reason")


@rollouts.command("plan")
@connected
def plan(
    client: HubClient,
    *,
    model: ask.ModelArgument = None,
    version: ask.VersionArgument = None,
    file: ask.FileOption = None,
    build: ask.BuildOption = None,
    wave: ask.WaveOption = None,
    device: ask.DeviceOption = None,
    select: ask.SelectOption = None,
    site_atomic: ask.SiteAtomicOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who would get which build, in which wave, or why none. Nothing is started.

    Exit status 3: not every device would get one.
    """
    meant = ask.meant(model, version, build, wave=wave, device=device, select=select)
    body = ask.asked(file, {**meant, "site_atomic": site_atomic})
    found = client.post("rollouts/preview", body)
    if as_json:
        print_json(found)
    else:
        print_plan(found)
    if found["no_artifact"]:
        raise typer.Exit(EXIT_NOT_ON_ALL)


@rollouts.command("start")
@connected
def start(
    client: HubClient,
    *,
    model: ask.ModelArgument = None,
    version: ask.VersionArgument = None,
    file: ask.FileOption = None,
    build: ask.BuildOption = None,
    wave: ask.WaveOption = None,
    device: ask.DeviceOption = None,
    select: ask.SelectOption = None,
    name: ask.NameOption = None,
    remark: ask.RemarkOption = None,
    soak_s: ask.SoakOption = None,
    success_percent: ask.SuccessOption = None,
    failed_max: ask.FailedOption = None,
    error: ask.ErrorOption = None,
    retries: ask.RetriesOption = None,
    retry_after_s: ask.RetryAfterOption = None,
    probation_s: ask.ProbationOption = None,
    step_timeout_s: ask.StepTimeoutOption = None,
    total_timeout_s: ask.TotalTimeoutOption = None,
    timeout_s: ask.TimeoutOption = None,
    attempts_max: ask.AttemptsOption = None,
    needs_approval: ask.ApprovalOption = None,
    shadow: ask.ShadowOption = None,
    window: ask.WindowOption = None,
    gates: ask.GatesOption = None,
    on_fail: ask.OnFailOption = None,
    pace: ask.PaceOption = None,
    in_flight_max: ask.InFlightOption = None,
    site_atomic: ask.SiteAtomicOption = None,
    priority: ask.PriorityOption = None,
    continuous: ask.ContinuousOption = None,
    follow: Annotated[bool, typer.Option("--watch", help="Then watch it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a version to the model's devices, in waves; without waves to all at once.

    Options override the file.
    """
    rules = ask.rules(
        shadow=shadow, window=window, gates=gates, on_fail=on_fail, pace=pace, error=error,
        retries=retries, retry_after_s=retry_after_s,
    )  # fmt: skip
    plain = ask.given(
        name=name, remark=remark, soak_s=soak_s, success_percent=success_percent,
        failed_max=failed_max,
        probation_s=probation_s, step_timeout_s=step_timeout_s, total_timeout_s=total_timeout_s,
        timeout_s=timeout_s, attempts_max=attempts_max, needs_approval=needs_approval,
        in_flight_max=in_flight_max, site_atomic=site_atomic, priority=priority,
        continuous=continuous,
    )  # fmt: skip
    meant = ask.meant(model, version, build, wave=wave, device=device, select=select)
    _begin(client, ask.asked(file, {**meant, **rules, **plain}), follow=follow, as_json=as_json)


def _begin(client: HubClient, body: dict[str, Any], *, follow: bool, as_json: bool) -> None:
    rollout = client.post("rollouts", body)
    if not as_json:
        warn(rollout["plan"])
    if follow:
        stay(client, rollout["id"], as_json=as_json)
    else:
        _print(client, rollout, as_json=as_json)


@rollouts.command("template")
def template(
    out: Annotated[Path | None, typer.Option(help="Where it goes; else it is printed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a YAML file with every field that a rollout has, and what it means."""
    from cloud.rollouts.request.spec import template as text

    if out is None:
        print_json({"yaml": text()}) if as_json else typer.echo(text(), nl=False)
        return
    _write(out, text().encode())
    print_fields({"file": str(out)}, as_json=as_json)


@rollouts.command("list")
@connected
def list_rollouts(
    client: HubClient,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List rollouts, newest first."""
    columns = ("id", "name", "state", "outcome", "wave", "created_at", "created_by", "reason")
    found = client.items("rollouts", model=model)
    first = 0 if as_json else 1  # people count waves from 1
    rows = ({**rollout, "wave": rollout["wave"] + first} for rollout in found)
    print_table(rows, columns, as_json=as_json)


@rollouts.command("show")
@connected
def show(client: HubClient, rollout_id: RolloutId, as_json: JsonOption = False) -> None:
    """Show one rollout with its devices' attempts, the first thousand."""
    _print(client, client.get(f"rollouts/{rollout_id}"), as_json=as_json)


@rollouts.command("watch")
@connected
def watch(client: HubClient, rollout_id: RolloutId, as_json: JsonOption = False) -> None:
    """Watch until it moves no more. Exit status 3: not every device got the build."""
    stay(client, rollout_id, as_json=as_json)


def _verb(name: str, says: str) -> None:
    """Make a command that posts its remark to the rollout's verb of the same name."""

    def command(
        client: HubClient,
        rollout_id: RolloutId,
        *,
        remark: RemarkOption = "",
        as_json: JsonOption = False,
    ) -> None:
        answer = client.post(f"rollouts/{rollout_id}/{name}", {"remark": remark})
        _print(client, answer, as_json=as_json)

    command.__doc__ = says
    rollouts.command(name)(connected(command))


_verb("approve", "Answer what it asks: let it, its next wave, or an unsure gate go on. Approvers.")
_verb("pause", "Start nothing more; what is under way goes on.")
_verb("resume", "Go on, and acknowledge the failures so far.")
_verb("cancel", "Give up what has not been exchanged; devices that have the build keep it.")


@rollouts.command("force")
@connected
def force(
    client: HubClient,
    rollout_id: RolloutId,
    *,
    wave: Annotated[
        int | None,
        typer.Option(min=1, help="The wave to go past, from 1; nothing is done where it is past."),
    ] = None,
    remark: RemarkOption = "",
    as_json: JsonOption = False,
) -> None:
    """Open the next wave, or let the last one finish, whatever its gate says. Approvers.

    Without --wave it goes past the open one; not past one that a force has just opened.
    """
    if not remark.strip():
        raise CommandError("force needs a remark", "say why, --remark …")
    body = ask.given(remark=remark, wave=None if wave is None else wave - 1)
    _print(client, client.post(f"rollouts/{rollout_id}/force", body), as_json=as_json)


@rollouts.command("abort")
@connected
def abort(
    client: HubClient,
    rollout_id: RolloutId,
    *,
    revert: Annotated[
        bool | None,
        typer.Option("--revert/--keep", help="Bring back what was before, or keep the build."),
    ] = None,
    remark: RemarkOption = "",
    as_json: JsonOption = False,
) -> None:
    """Give the rollout up, and say what becomes of the devices that have its build."""
    if revert is None:
        raise CommandError(
            "abort: what becomes of the devices that have the build is not said",
            "--revert brings back what they had before, --keep leaves them as they are",
        )
    answer = client.post(f"rollouts/{rollout_id}/abort", {"revert": revert, "remark": remark})
    _print(client, answer, as_json=as_json)


@rollouts.command("accept")
@connected
def accept(
    client: HubClient,
    rollout_id: RolloutId,
    *,
    device: Annotated[str, typer.Option(help="The one that asks.")],
    remark: RemarkOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let a device go on whose shadow ended INCONCLUSIVE. Approvers."""
    path = f"rollouts/{rollout_id}/devices/{quote(device, safe='')}/accept"
    _print(client, client.post(path, {"remark": remark}), as_json=as_json)


@rollouts.command("report")
@connected
def report(
    client: HubClient,
    rollout_id: RolloutId,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Save the page, HTML with its plots inside, there.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a rollout's evidence: who decided what, what the gates saw, what went otherwise."""
    if out is not None:
        data = client.content(f"rollouts/{rollout_id}/evidence.html")
        _write(out, data)
        print_fields({"file": str(out), "size_bytes": len(data)}, as_json=as_json)
        return
    record = client.get(f"rollouts/{rollout_id}/evidence")
    if as_json:
        print_json(record)
    else:
        print_report(record)


@rollouts.command("pin")
@connected
def pin(
    client: HubClient,
    device: DeviceId,
    model: ModelName,
    version: Annotated[int | None, typer.Argument(help="The version to hold it at.")] = None,
    *,
    build: ask.BuildOption = None,
    remark: RemarkOption = "",
    as_json: JsonOption = False,
) -> None:
    """Hold one device at one build: no rollout touches it until it is unpinned."""
    body = ask.given(version=version, bundle_digest=build, remark=remark)
    print_fields(client.put(_pin_path(device, model), body), as_json=as_json)


@rollouts.command("unpin")
@connected
def unpin(
    client: HubClient,
    device: DeviceId,
    model: ModelName,
    *,
    remark: RemarkOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let rollouts have the device again, and bring back what it had before the pin."""
    query = {"remark": remark or None}
    print_fields(client.request("DELETE", _pin_path(device, model), query=query), as_json=as_json)


@rollouts.command("pins")
@connected
def pins(
    client: HubClient,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    device: Annotated[str | None, typer.Option(help="Only of this device.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the devices that people hold at a build."""
    columns = ("device", "model", "version", "digest", "running", "by", "at", "remark")
    print_table(client.items("pins", model=model, device=device), columns, as_json=as_json)


def _pin_path(device: str, model: str) -> str:
    return f"devices/{quote(device, safe='')}/pins/{quote(model, safe='')}"


def _print(client: HubClient, rollout: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_fields(rollout, as_json=True)
        return
    Console().print(picture(rollout, open_gate(client, rollout)))
    print_table(map(_execution_row, rollout["executions"]), EXECUTION_COLUMNS)


def _execution_row(execution: dict[str, Any]) -> dict[str, Any]:
    waits = execution["waits_for"] and f"waits for {execution['waits_for']}"
    said = [words for words in (waits, execution["reason"]) if words]
    # People count waves from 1, as the bars above do; REST and --json from 0.
    return {**execution, "wave": execution["wave"] + 1, "reason": "; ".join(said)}


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}", "name another") from error
