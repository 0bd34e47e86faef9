"""`argosy-agent`: run the agent, look at it, try this box. Imports stay in commands."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

HELP = "The agent of one edge device: sees, is updated, reports."

app = typer.Typer(
    name="argosy-agent",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="agent.toml, as `argosy device enrol` writes it.")
]
SlotOption = Annotated[str | None, typer.Option("--slot", help="One slot; absent, all of them.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines.")]
CONFIG = Path("agent.toml")


QUIET = {"OPENCV_FFMPEG_LOGLEVEL": "-8", "OPENCV_LOG_LEVEL": "SILENT"}
"""FFmpeg and OpenCV write to stderr in the middle of our lines; our errors say it all."""


@app.callback(help=HELP)
def _logs_to_stderr() -> None:
    from edge_agent.logs import set_up_logs

    for name, level in QUIET.items():
        os.environ.setdefault(name, level)
    set_up_logs(json_lines=False, verbose=False)


@app.command()
def run(
    config: ConfigOption = CONFIG,
    json_logs: Annotated[bool, typer.Option(help="One JSON object a line.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v")] = False,
) -> None:
    """Run until SIGTERM or Ctrl-C; systemd is told when it serves, and while it sees."""
    import signal
    from random import Random

    with _refusals():
        from edge_agent.allocator import keep_few_arenas

        keep_few_arenas()

        from edge_agent import faults
        from edge_agent.agent import Agent
        from edge_agent.config import load_config
        from edge_agent.local.systemd import Service
        from edge_agent.logs import set_up_logs

        settings = load_config(config)
        set_up_logs(json_lines=json_logs, verbose=verbose, device=settings.device.id)
        faults.install(os.environ.get("ARGOSY_FAULTS", ""))
        faults.point("agent.start")
        rng = Random()  # noqa: S311 - jitter and sampling
        agent = Agent(settings, faults.clock(), rng, Service.of(os.environ))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        agent.run()


@app.command()
def status(
    config: ConfigOption = CONFIG,
    history: Annotated[
        bool, typer.Option("--history", help="Also what became of earlier updates, and why.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """What runs on this device, in which state, and why.

    Slots and their updates come from the data folder; rates, outputs and load from the
    running agent's own pages, where it runs.
    """
    with _refusals():
        from edge_agent.cli.status import tables
        from edge_agent.clock import Clock
        from edge_agent.config import load_config
        from edge_agent.status import read_status

        found = read_status(load_config(config), Clock().wall(), history=history)
        _show(found, tables, as_json)


@app.command()
def rollback(
    config: ConfigOption = CONFIG,
    slot: SlotOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also to one that was left by hand or failed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Go one step back, at once; without an agent, at its next start.

    An update that has exchanged nothing yet is given up, and what serves stays; else the bundle
    that served before takes over. Works offline. The attempt that is left is not taken up again.
    Ends with 1 where a slot has nothing to go back to.
    """
    with _refusals():
        from edge_agent.cli.asking import table
        from edge_agent.cli.rollback import roll_back
        from edge_agent.clock import Clock
        from edge_agent.config import load_config

        found = roll_back(load_config(config), slot, Clock(), force=force)
    _show(found, table, as_json)
    if not found["ok"]:
        raise typer.Exit(1)


@app.command()
def hold(
    config: ConfigOption = CONFIG,
    for_: Annotated[str | None, typer.Option("--for", help="How long: 30m, 1h30m, 90s.")] = None,
    release: Annotated[bool, typer.Option("--release", help="Take it back.")] = False,
    slot: SlotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say "not now": no update is exchanged for a while. What serves goes on.

    Bounded by limits.veto_s_max, for one hold and for all holds of one update together. Ends
    with 1 where nothing of it is granted.
    """
    if (for_ is None) != release:
        raise typer.BadParameter("give one of --for and --release")
    with _refusals():
        from edge_agent.cli.asking import table
        from edge_agent.cli.hold import hold as hold_back
        from edge_agent.cli.hold import span_s
        from edge_agent.clock import Clock
        from edge_agent.config import load_config

        settings = load_config(config)
        for_s = None if for_ is None else span_s(for_, settings.limits.veto_s_max)
        found = hold_back(settings, slot, for_s, Clock())
    _show(found, table, as_json)
    if not found["ok"]:
        raise typer.Exit(1)


@app.command()
def doctor(
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
    offline: Annotated[bool, typer.Option(help="Leave out cameras, hub and broker.")] = False,
) -> None:
    """What this box can run, what it lacks, and how to install that.

    Works without an agent.toml too. Ends with 1 where something keeps the agent from its work.
    """
    from edge_agent.doctor.examination import examine, table

    found = examine(config, offline=offline)
    _show(found, table, as_json)
    if not found["healthy"]:
        raise typer.Exit(1)


@app.command()
def preview(
    config: ConfigOption = CONFIG,
    camera: Annotated[str | None, typer.Option(help="The camera to save a picture of.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the JPEG goes.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Where the running agent shows its cameras; or save one annotated picture.

    Without options it prints the addresses; `--camera` and `--out` go together. Ends with 1
    where there is no picture of the camera yet.
    """
    if (camera is None) != (out is None):
        raise typer.BadParameter("give --camera and --out together")
    with _refusals():
        from edge_agent.cli.preview import NoPictureError, save, table, urls
        from edge_agent.config import load_config

        data_dir = load_config(config).device.data_dir
        if camera is None or out is None:
            _show(urls(data_dir), table, as_json)
            return
        try:
            saved = {"camera": camera, "out": str(out), "bytes": save(data_dir, camera, out)}
        except NoPictureError as error:
            typer.echo(f"argosy-agent: {error}", err=True)
            raise typer.Exit(1) from error
        typer.echo(json.dumps(saved) if as_json else f"{out}: {saved['bytes']} bytes")


@app.command()
def selftest(
    config: ConfigOption = CONFIG,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of a bundle; absent, those of all slots.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="In the pipeline.")] = 3.0,
    as_json: JsonOption = False,
) -> None:
    """Whether this box sees in golden frames what it should, and keeps up with a camera.

    Each bundle runs its golden frames in a child process, and then a synthetic camera in the
    real pipeline. Ends with 1 where one fails.
    """
    with _refusals():
        from edge_agent.cli.selftest import committed, engines, one_folder, run_selftest, table
        from edge_agent.config import Limits, load_config

        if bundle is not None:
            found = run_selftest(one_folder(bundle), seconds, Limits())
        else:
            settings = load_config(config)
            found = run_selftest(committed(settings), seconds, settings.limits, engines(settings))
    _show(found, table, as_json)
    if not found["passed"]:
        raise typer.Exit(1)


@app.command()
def bench(
    *,
    bundle: Annotated[Path, typer.Option(help="Folder of a bundle.")],
    cameras: Annotated[int, typer.Option(min=1, max=256, help="Synthetic cameras.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600)] = 10.0,
    width: Annotated[int, typer.Option(min=32, max=8192, help="Of a frame (px).")] = 1280,
    height: Annotated[int, typer.Option(min=32, max=8192, help="Of a frame (px).")] = 720,
    threads: Annotated[int, typer.Option(min=0, max=256, help="0: the runtime's own.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """How many frames per second a bundle sees on this box, how fast, in how much memory.

    Synthetic cameras are read in order, as fast as the box answers, with statistics on.
    """
    with _refusals():
        from edge_agent.cli.bench import run_bench, table
        from edge_agent.cli.trial import Trial

        found = run_bench(bundle, Trial(cameras, seconds, width, height), threads)
    _show(found, table, as_json)
    if found["failed"]:
        raise typer.Exit(1)


@app.command()
def evaluate(
    *,
    bundle: Annotated[Path, typer.Option(help="Folder of a bundle.")],
    images: Annotated[Path, typer.Option(help="Text file with one image path a line.")],
    out: Annotated[Path, typer.Option(help="Where the JSON lines go.")],
    floor: Annotated[float, typer.Option(min=0, max=1, help="Lowest confidence to write.")] = 0.001,
    threads: Annotated[int, typer.Option(min=0, max=256, help="0: all cores.")] = 0,
    summary: Annotated[Path | None, typer.Option(help="JSON: speed, memory, machine.")] = None,
    stats: Annotated[
        Path | None, typer.Option(help="JSON: the statistics that a device would report.")
    ] = None,
    progress: Annotated[Path | None, typer.Option(help="JSON lines: done, total.")] = None,
    latency_frames: Annotated[
        int, typer.Option(min=0, max=100_000, help="Time so many one at a time, for --summary.")
    ] = 0,
) -> None:
    """Run a bundle over images, as the device would, and write what it sees.

    Ends with 3 where an image could not be read; it is named and left out. Ended early, by
    Ctrl-C or SIGTERM, it leaves no file of answers.
    """
    import signal

    with _refusals():
        from edge_agent.evaluate import Beside
        from edge_agent.evaluate import evaluate as run_bundle

        # The hub cancels with SIGTERM; unwound as Ctrl-C is, nothing half written stays.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        beside = Beside(summary, stats, progress, latency_frames)
        try:
            unreadable = run_bundle(bundle, images, out, floor, threads, beside=beside)
        except KeyboardInterrupt:
            typer.echo("argosy-agent: interrupted; nothing was written", err=True)
            raise typer.Exit(130) from None
        if unreadable:
            raise typer.Exit(3)


@app.command(name="build-engine")
def build_engine(
    *,
    onnx: Annotated[Path, typer.Option(help="The ONNX file, weights within.")],
    out: Annotated[Path, typer.Option(help="Where the .engine file goes.")],
    precision: Annotated[str, typer.Option(help="That the plan computes in: fp32, fp16, bf16.")],
    file_precision: Annotated[str, typer.Option(help="Of the ONNX file.")] = "fp32",
    batch: Annotated[int, typer.Option(min=1, max=256, help="Frames at once, at most.")] = 1,
    names: Annotated[Path | None, typer.Option(help="JSON file: the class names.")] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="Timings of an earlier build here; written anew.")
    ] = None,
    summary: Annotated[Path | None, typer.Option(help="JSON: what it is bound to.")] = None,
    progress: Annotated[Path | None, typer.Option(help="JSON lines: done, total.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Build a TensorRT plan of an ONNX file; it runs on this machine's GPU and TensorRT alone."""
    import signal

    with _refusals():
        from edge_agent.cli.build_engine import EngineFiles, class_names, known_precision, run_build
        from edge_agent.detect.tensorrt.build import BuildOrder

        # A worker cancels with SIGTERM; unwound as Ctrl-C is, nothing half written stays.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        files = EngineFiles(onnx, out, names, timing_cache, summary, progress)
        order = BuildOrder(
            known_precision(file_precision),
            known_precision(precision),
            batch,
            class_names=class_names(names),
        )
        try:
            found = run_build(files, order)
        except KeyboardInterrupt:
            typer.echo("argosy-agent: interrupted; nothing was written", err=True)
            raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo(f"{out}: {found['size_bytes']} bytes in {found['build_s']} s")


@app.command()
def capabilities() -> None:
    """What this machine can run, as JSON: what an agent reports to its hub."""
    from edge_agent.observe.hardware import capabilities as found

    typer.echo(found().model_dump_json(indent=2))


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Which agent this is."""
    from edge_agent.version import agent_version

    found = agent_version()
    typer.echo(json.dumps({"version": found}) if as_json else found)


def _show(found: Any, table: Callable[[Any], RenderableType], as_json: bool) -> None:
    """To stdout: JSON, or a table that also a narrow terminal or a pipe can take."""
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
        return
    from rich.console import Console

    Console(soft_wrap=False, highlight=False, markup=False, emoji=False).print(table(found))


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
