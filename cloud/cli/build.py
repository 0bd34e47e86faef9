"""`argosy build`: builds of a version, each evaluated as it ships."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cloud.cli import build_files
from cloud.cli import job as job_cli
from cloud.cli.client import CommandError, HubClient, JsonOption, connected
from cloud.cli.output import print_fields, print_json, print_table
from cloud.evaluation.tolerance import accuracy_warnings
from cloud.reasons import REASON_HELP
from cloud.registry import verdicts
from protocol.builds import Format
from protocol.bundles import MODEL_FILES

builds = typer.Typer(help="Builds of a version, each evaluated as it ships.", no_args_is_help=True)

ModelArgument = Annotated[str, typer.Argument(help="The model's name.")]
NumberArgument = Annotated[int, typer.Argument(help="The version's number.")]
ReasonOption = Annotated[str, typer.Option(help=f"Why, {REASON_HELP}.")]
DigestArgument = Annotated[str, typer.Argument(help="The build's digest, or its first digits.")]

MATRIX = ("onnx-fp32", "onnx-int8", "openvino-fp32", "openvino-bf16", "openvino-int8")
FIGURES = (("map50", "mAP50", 3), ("map50_95", "mAP50-95", 3), ("latency_ms_median", "ms", 1),
           ("fps", "fps", 1), ("size_mb", "MB", 1))  # fmt: skip
"""Of a build's row: the key, what stands above it, and how many decimals."""
DIGEST_DIGITS = 12


@builds.command("targets")
@connected
def list_targets(client: HubClient, as_json: JsonOption = False) -> None:
    """List what can be built for."""
    names = client.get("targets")
    print_json(names) if as_json else print_table([{"target": n} for n in names], ("target",))


@builds.command("start")
@connected
def start(
    client: HubClient,
    *,
    model: ModelArgument,
    number: NumberArgument,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target", help="onnx-int8, openvino-bf16@320, …; repeat; else five for CPUs."
        ),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(
            help="An artifact that was made elsewhere, for the one target: a single .onnx, or "
            "model.xml and model.bin; repeat. It is evaluated whatever is there already."
        ),
    ] = None,
    robustness: Annotated[bool, typer.Option(help="Look at spoiled images too.")] = True,
    again: Annotated[bool, typer.Option("--again", help="Also what is there already.")] = False,
    watch: Annotated[bool, typer.Option(help="Stay and show progress.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Make builds of a version, evaluate each as it ships, admit or reject it.

    Exit status 3: one is rejected or could not be made.
    """
    wanted = targets or list(MATRIX)
    body = {
        "targets": wanted,
        "robustness": robustness,
        "again": again,
        "files": None if not file else {_path_of(p, file): client.upload(p) for p in file},
    }
    job = client.post(f"models/{model}/versions/{number}/builds", body)
    if job["progress"].get("stage"):
        typer.echo(f"{', '.join(wanted)}: {job['progress']['stage']}", err=True)
    if not watch:
        print_fields(job, as_json=as_json)
        return
    ended = job_cli.follow(client, job["id"], quiet=as_json)
    if as_json or ended["state"] != "SUCCEEDED":
        job_cli.end(ended, as_json=as_json)
        return
    _print_rows(ended["result"]["builds"])
    job_cli.leave(ended)


@builds.command("list")
@connected
def list_builds(
    client: HubClient, model: ModelArgument, number: NumberArgument, as_json: JsonOption = False
) -> None:
    """List the builds of a version with their figures and verdicts."""
    found = client.get(f"models/{model}/versions/{number}")["builds"]
    if as_json:
        print_json(found)
        return
    _print_rows([_row(build) for build in found])


@builds.command("show")
@connected
def show(client: HubClient, digest: DigestArgument, as_json: JsonOption = False) -> None:
    """Show a build: its figures by class and slice, its verdict, how it was made."""
    found = client.get(f"builds/{digest}")
    if as_json:
        print_json({**found, "evaluations": client.get(f"builds/{digest}/evaluations")})
        return
    metrics = found.pop("metrics")
    metrics.pop("curves", None)
    tables = {key: metrics.pop(key, None) or {} for key in ("per_class", "per_slice")}
    metrics.pop("per_camera", None)
    verdict = found.pop("verdict", {})
    fit = found["notes"].pop("fit", None)
    print_fields({**found, "fit": _fit_in_words(fit)})
    print_fields(metrics)
    for line in _said(verdict, found["state"]):
        typer.echo(f"  {line}")
    figures = ("map50", "map50_95", "truth_boxes", "threshold", "precision", "recall", "f1")
    rows = [{"class": name, **entry} for name, entry in tables["per_class"].items()]
    print_table(rows, ("class", *figures))
    for kind, values in tables["per_slice"].items():
        rows = [{kind: value, **entry} for value, entry in values.items()]
        print_table(rows, (kind, "images", "truth_boxes", "map50", "map50_95"))


@builds.command("files")
@connected
def files(
    client: HubClient,
    *,
    subject: Annotated[str, typer.Argument(metavar="MODEL|DIGEST", help="A model, or a build.")],
    number: Annotated[int | None, typer.Argument(help="The version's number.")] = None,
    build: Annotated[
        str | None, typer.Argument(help="onnx-int8, onnx-int8-640x640, or first digits.")
    ] = None,
    out: Annotated[Path, typer.Option(help="A folder, new or empty.")],
    as_json: JsonOption = False,
) -> None:
    """Download a build's files, as they ship: MODEL VERSION BUILD, or its digest alone."""
    if number is None:
        found = client.get(f"builds/{subject}")
    elif build is None:
        raise CommandError("which build is not said", f"name it: {subject} {number} onnx-fp32")
    else:
        version = client.get(f"models/{subject}/versions/{number}")
        found = build_files.named(version["builds"], build)
    written = build_files.fetch(client, found["digest"], out, quiet=as_json)
    said = {"build": found["digest"], "target": found["target"], "folder": str(out)}
    print_fields({**said, "files": written}, as_json=as_json)


@builds.command("resolve")
@connected
def resolve(
    client: HubClient,
    model: ModelArgument,
    number: NumberArgument,
    device: Annotated[str, typer.Option(help="The device's id.")],
    as_json: JsonOption = False,
) -> None:
    """Which build of a version a device would get, and why not the others."""
    found = client.get(f"models/{model}/versions/{number}/resolve", device=device)
    print_fields(found, as_json=as_json)


@builds.command("reject")
@connected
def reject(
    client: HubClient,
    digest: DigestArgument,
    reason: ReasonOption,
    as_json: JsonOption = False,
) -> None:
    """Bar a build: it goes to no further device."""
    print_fields(client.post(f"builds/{digest}/reject", {"reason": reason}), as_json=as_json)


@builds.command("reinstate")
@connected
def reinstate(
    client: HubClient,
    digest: DigestArgument,
    reason: ReasonOption,
    as_json: JsonOption = False,
) -> None:
    """Take a rejection back."""
    print_fields(client.post(f"builds/{digest}/reinstate", {"reason": reason}), as_json=as_json)


def _path_of(file: Path, brought: list[Path]) -> str:
    """A brought file's path in the bundle; a single .onnx may have any name."""
    single = len(brought) == 1 and file.suffix.lower() == ".onnx"
    return MODEL_FILES[Format.ONNX][0] if single else file.name


def _print_rows(rows: list[dict[str, Any]]) -> None:
    # Without lines between them the columns fit into a terminal of 80.
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("target", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for _, head, _ in FIGURES:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("digest", no_wrap=True)
    for row in rows:
        size_bytes = row.get("size_bytes")
        known = {**row, "size_mb": None if size_bytes is None else size_bytes / 1e6}
        figures = [_rounded(known.get(key), decimals) for key, _, decimals in FIGURES]
        digest = (row.get("digest") or "-")[:DIGEST_DIGITS]
        table.add_row(row["target"], row["outcome"], *figures, digest)
    Console().print(table)
    for row in rows:
        for reason in _row_said(row):
            typer.echo(f"{row['target']}: {reason}")
    if rows and all(row["outcome"] == "FAILED" for row in rows):
        raise CommandError("no build could be made", "see the reasons above")


def _rounded(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _row(build: dict[str, Any]) -> dict[str, Any]:
    metrics = build["metrics"]
    return {
        **{key: metrics.get(key) for key in ("map50", "map50_95", "latency_ms_median", "fps")},
        "target": build["target"],
        "outcome": verdicts.outcome(build["state"]),
        "digest": build["digest"],
        "size_bytes": build["size_bytes"],
        "reasons": _said(build.get("verdict", {}), build["state"]),
    }


def _said(verdict: dict[str, Any], state: str) -> list[str]:
    """Why a build stands or not: a person's decision, else the evaluation's reasons."""
    by_hand = verdicts.by_hand_in_words(verdict, state)
    return [*(by_hand or verdict.get("reasons", [])), *accuracy_warnings(verdict)]


def _row_said(row: dict[str, Any]) -> list[str]:
    """The same of a row of a job's result, which holds no verdict."""
    decided = row.get("by_hand")
    there = [f"is there already, {row['stands']}"] if row["outcome"] == "THERE" else []
    by_hand = [verdicts.decision_in_words(decided)] if decided else []
    reasons = by_hand or row.get("reasons", [])
    return [*there, *reasons, *row.get("warnings", [])]


def _fit_in_words(fit: dict[str, Any] | None) -> str:
    """How thresholds and calibration were found; `--json` has the whole."""
    if not fit:
        return "-"
    method = (fit.get("calibration") or {}).get("method", "identity")
    named = "none" if method == "identity" else method
    return f"calibration {named}, on {fit.get('images', 0)} images"
