"""`argosy-sim demo`: runs the story and says by its exit status whether it came out well."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import psutil
import typer

from simulators.demo.chapters import STEPS
from simulators.demo.opening import start_hub
from simulators.demo.plan import FAST, FULL, Plan
from simulators.demo.processes import ProcessEnded, Supervisor
from simulators.demo.record import Record
from simulators.demo.screen import Screen, open_screen
from simulators.demo.signals import Interrupted, interruptible, undisturbed
from simulators.demo.story import Folders, Story, StoryFailed, run
from simulators.demo.watcher import Watcher
from simulators.hub import HubError

GOAL_MISSED = 1
FAILED = 2
ENVIRONMENT = {
    "YOLO_OFFLINE": "true",
    "PYTHONUNBUFFERED": "1",
}
WORK_MARKER = ".argosy-demo"


def demo(
    *,
    fast: Annotated[bool, typer.Option("--fast", help="Less data, shorter windows.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("demo-report"),
    work: Annotated[Path, typer.Option(help="Folder for the run's data; made anew.")] = Path(
        ".demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of data and training.")] = 0,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a picture.")] = False,
) -> None:
    """The whole loop: train, publish, drift, harvest, label, retrain, roll out, recover."""
    plan = replace(FAST if fast else FULL, seed=seed)
    with interruptible():
        try:
            summary = tell(plan, Folders(work.absolute(), out.absolute()), plain=plain)
        except (StoryFailed, ProcessEnded, HubError) as error:
            stop(FAILED, f"The demo failed: {error}\nLogs: {work / 'logs'}")
        except (Interrupted, KeyboardInterrupt):
            stop(130, "Interrupted; everything that was started has been stopped.")
    missed = [goal for goal in summary["goals"] if not goal["holds"]]
    typer.echo(closing_words(summary, out))
    if missed:
        names = "; ".join(f"{g['name']}: {g['value']}, wanted {g['wanted']}" for g in missed)
        stop(GOAL_MISSED, f"Missed: {names}")


def tell(plan: Plan, folders: Folders, *, plain: bool = False) -> dict[str, Any]:
    """Run the story, write the report; the summary. Whatever was started is stopped."""
    renew(folders.work)
    names: dict[str, str] = {}
    processes = Supervisor(folders.logs, ENVIRONMENT)
    screen = open_screen(names, plain=plain)
    try:
        story = _open(plan, folders, processes, screen, names)
        run(story, STEPS)
        return story.summary
    finally:
        with undisturbed():
            processes.stop_all()
            screen.close()


def _open(
    plan: Plan, folders: Folders, processes: Supervisor, screen: Screen, names: dict[str, str]
) -> Story:
    record = Record(plan.name, plan.seed, time.time(), machine=machine())
    screen.say("hub", "starts, with its broker")
    address, hub = start_hub(processes, folders.hub)
    watcher = Watcher(hub, screen, {}, record.started_at)
    return Story(plan, folders, processes, screen, record, names, address, hub, watcher)


def renew(work: Path) -> None:
    """An empty `work` folder; refused where it holds something that no run of ours made."""
    if work.exists():
        if any(work.iterdir()) and not (work / WORK_MARKER).exists():
            raise StoryFailed(f"{work} holds other things; name a folder that may be emptied")
        shutil.rmtree(work)
    work.mkdir(parents=True)
    (work / WORK_MARKER).touch()


def machine() -> dict[str, Any]:
    """What the run ran on."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_at_start": os.getloadavg()[0],
    }


def closing_words(summary: dict[str, Any], out: Path) -> str:
    """The run in a few lines, for the end of the terminal's output."""
    before, under, after = (
        f"{summary[f'map50_{name}']:.3f}"
        for name in ("before_drift", "under_drift", "after_update")
    )
    return (
        f"mAP50 {before} → {under} under drift → {after} after the update "
        f"(control {summary['map50_control']:.3f}); "
        f"{summary['frames_processed']} frames, "
        f"{summary['frames_dropped_in_swap']} dropped in swaps; {summary['total_s']:.0f} s\n"
        f"Report: {out / 'report.html'}"
    )


def stop(status: int, text: str) -> NoReturn:
    """End with `status` and say why."""
    typer.echo(text, err=True)
    raise typer.Exit(status)


def _cpu_name() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
