"""The `argosy` command: sub-commands by explicit list."""

from __future__ import annotations

import sys

import typer

from cloud.cli import (
    access,
    annotate,
    broker,
    build,
    dataset,
    device,
    group,
    job,
    model,
    promote,
    rollout,
    score,
    serve,
    tracking,
    train,
    version,
    worker,
)
from cloud.cli.client import CommandError, show_error

commands = typer.Typer(
    name="argosy",
    help="Fleet management for AI cameras: retrain, version, publish and hot-swap detectors.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for _name, _group in (
    ("device", device.devices),
    ("site", device.sites),
    ("group", group.groups),
    ("token", access.tokens),
    ("dataset", dataset.datasets),
    ("model", model.models),
    ("version", version.versions),
    ("build", build.builds),
    ("promote", promote.promotion),
    ("train", train.training),
    ("job", job.jobs),
    ("annotate", annotate.annotation),
    ("rollout", rollout.rollouts),
    ("tracking", tracking.tracking),
    ("worker", worker.workers),
    ("broker", broker.broker),
):
    commands.add_typer(_group, name=_name)
for _command in (serve.serve, serve.init, access.audit, score.score):
    commands.command()(_command)


def app() -> None:
    """Run the command line; an error that was foreseen is one line and its remedy."""
    try:
        commands()
    except CommandError as error:
        show_error(error)
        sys.exit(1)


if __name__ == "__main__":
    app()
