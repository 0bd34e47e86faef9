"""`argosy-agent bench`: how fast a bundle sees on this box, and with how much memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edge_agent.cli.trial import Percentiles, Trial, run_trial
from edge_agent.detect.bundle import load_bundle
from edge_agent.detect.options import LoadOptions, streams_for
from edge_agent.evaluate import folder_digest
from edge_agent.observe.hardware import capabilities
from edge_agent.pipeline import PipelineLimits

MIB = 1024 * 1024


def run_bench(folder: Path, trial: Trial, threads: int) -> dict[str, Any]:
    """Run the bundle in `folder` and say what came of it; progress goes to stderr.

    Raises:
        EdgeError, ProtocolError: the bundle cannot be used here.
    """
    digest = folder_digest(folder)
    streams = streams_for([False] * trial.cameras, PipelineLimits.streams_max)
    bundle = load_bundle(folder, digest, LoadOptions(threads, streams=streams))
    try:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as progress:
            task = progress.add_task(bundle.manifest.model, total=trial.seconds)
            figures = run_trial(
                bundle, trial, lambda seconds: progress.update(task, completed=seconds)
            )
    finally:
        bundle.detector.close()
    build = bundle.manifest.build
    return {
        "bundle": digest,
        "model": bundle.manifest.model,
        "version": bundle.manifest.version,
        "build": build.label(),
        "runtime": build.runtime,
        "runtime_precision": build.runtime_precision.value,
        "frame": f"{trial.width}x{trial.height}",
        "threads": threads,
        "streams": streams,
        **figures.as_json(),
        "machine": capabilities().model_dump(mode="json", exclude={"runtimes"}),
        "failed": figures.reason,
    }


def table(found: dict[str, Any]) -> Table:
    """The same for people."""
    title = f"{found['model']} v{found['version']}, {found['build']} on {found['runtime']}"
    made = Table("", "figure", title=title, title_justify="left")
    by_camera = ", ".join(f"{rate:.1f}" for rate in found["frames_per_s_by_camera"])
    rows = {
        "frames per second": f"{found['frames_per_s']:.1f}",
        "by camera": by_camera,
        "inference": _spread(found["latency_ms"]),
        "capture to result": _spread(found["age_ms"]),
        "resident memory": f"{found['rss_bytes'] / MIB:.0f} MiB",
        "processor": f"{found['cpu_percent']:.0f} % of one core",
        "frames": f"{found['captured']} captured, {found['inferred']} inferred",
        "dropped": ", ".join(f"{n} {cause}" for cause, n in found["dropped"].items()) or "none",
        "measured": f"{found['seconds']:.1f} s, {found['cameras']} cameras of {found['frame']}",
    }
    if found["failed"]:
        rows["failed"] = found["failed"]
    for name, text in rows.items():
        made.add_row(name, text)
    return made


def _spread(found: dict[str, float] | None) -> str:
    if found is None:
        return "unknown"
    spread = Percentiles(**found)
    return f"p50 {spread.p50:.1f}, p95 {spread.p95:.1f}, p99 {spread.p99:.1f} ms"
