"""`argosy-agent`: run the agent, look at it, evaluate a bundle. Imports stay in commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="argosy-agent",
    help="The agent of one edge device: sees, is updated, reports.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="agent.toml, as `argosy device enrol` writes it.")
]


@app.command()
def run(
    config: ConfigOption = Path("agent.toml"),
    json_logs: Annotated[bool, typer.Option(help="One JSON object a line.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v")] = False,
) -> None:
    """Run until SIGTERM or Ctrl-C."""
    import signal
    from random import Random

    from edge_agent.logs import set_up_logs

    set_up_logs(json_lines=json_logs, verbose=verbose)
    with _refusals():
        from edge_agent.agent import Agent
        from edge_agent.clock import Clock
        from edge_agent.config import load_config

        agent = Agent(load_config(config), Clock(), Random())  # noqa: S311 - jitter and sampling
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        agent.run()


@app.command()
def status(
    config: ConfigOption = Path("agent.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """What runs on this device, in which state, and why; read from its data folder."""
    with _refusals():
        from edge_agent.config import load_config
        from edge_agent.status import lines, read_status

        found = read_status(load_config(config))
        typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)))


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Option(help="Folder of a bundle.")],
    images: Annotated[Path, typer.Option(help="Text file with one image path a line.")],
    out: Annotated[Path, typer.Option(help="Where the JSON lines go.")],
    floor: Annotated[float, typer.Option(help="Lowest confidence to write.")] = 0.001,
) -> None:
    """Run a bundle over images, as the device would, and write what it sees."""
    with _refusals():
        from edge_agent.evaluate import evaluate as run_bundle

        unreadable = run_bundle(bundle, images, out, floor)
        if unreadable:
            raise typer.Exit(3)


@app.command()
def version() -> None:
    """Which agent this is."""
    from edge_agent.version import agent_version

    typer.echo(agent_version())


class _refusals:  # noqa: N801 - used as a keyword
    """An error of ours ends the command with its text; anything else is a bug and shows."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        from edge_agent.errors import EdgeError
        from protocol.errors import ProtocolError

        if isinstance(error, EdgeError | ProtocolError):
            typer.echo(f"argosy-agent: {error}", err=True)
            raise typer.Exit(2) from error


if __name__ == "__main__":
    app()
