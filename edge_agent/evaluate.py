"""`argosy-agent evaluate`: a bundle over a list of images, answers as JSON lines.

Several threads decode, prepare and infer side by side, as for cameras that are read in order,
so that the evaluation takes little longer than the inference alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle, load_bundle
from edge_agent.detect.options import LoadOptions, cores, streams_for
from edge_agent.errors import BadImageError, EdgeError
from edge_agent.evaluation.answers import Evaluator
from edge_agent.evaluation.files import ProgressFile, listed, whole_file
from edge_agent.evaluation.ordered import in_order
from edge_agent.evaluation.speed import latencies_ms, machine_and_runtime, peak_rss_bytes, spread
from edge_agent.observe.counting import WindowCounts
from protocol.bundles import MANIFEST_PATH
from protocol.chunks import sha256_hex
from protocol.windows import CONFIDENCE_FLOOR

FLOOR_FOR_SCORING = 0.001
STREAMS_MAX = 4
AHEAD_PER_STREAM = 2

Tell = Callable[[int], None]
"""Told how many images are done."""


@dataclass(frozen=True)
class Beside:
    """What is written beside the answers; None is not.

    Attributes:
        summary: speed, memory, runtime and machine, JSON.
        stats: the statistics that a device would report of these images, JSON.
        progress: a line now and then, JSON lines.
        latency_frames: so many of the first images are timed one at a time, apart.
    """

    summary: Path | None = None
    stats: Path | None = None
    progress: Path | None = None
    latency_frames: int = 0


@dataclass
class _Run:
    """What was counted of one run over the images."""

    counts: WindowCounts
    unreadable: int = 0
    wall_s: float = 0.0


def evaluate(
    bundle: Path,
    images: Path,
    out: Path,
    floor: float = FLOOR_FOR_SCORING,
    threads: int = 0,
    *,
    streams: int = 0,
    beside: Beside = Beside(),
    clock: Clock | None = None,
) -> int:
    """Run the bundle in folder `bundle` over the images that `images` lists, one path a line.

    Relative paths are relative to the list's folder. Writes one JSON line an image to `out`,
    whole or not at all, in the list's order. Images that cannot be read are named on stderr
    and left out; returns their number.

    Args:
        floor: the lowest confidence that is written.
        threads: that the runtime computes with, on all streams together; 0 takes all cores.
        streams: inferences side by side; 0 takes one a thread, up to STREAMS_MAX. The answers
            do not depend on it.

    Raises:
        EdgeError, ProtocolError: the bundle or the list cannot be used.
    """
    clock, console = clock or Clock(), Console(stderr=True)
    paths, digest = listed(images), folder_digest(bundle)
    options = _options(threads, floor, streams)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with ProgressFile(beside.progress, len(paths), clock.monotonic) as told:
        began_s = clock.monotonic()
        loaded = load_bundle(bundle, digest, options)
        load_s = clock.monotonic() - began_s
        with closing(loaded.detector), whole_file(out) as lines:
            with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
                task = bar.add_task(loaded.manifest.model, total=len(paths))

                def tell(done: int) -> None:
                    told.tell(done)
                    bar.update(task, completed=done)

                run = _run(
                    Evaluator(loaded, floor, clock),
                    loaded,
                    paths,
                    streams=options.streams,
                    lines=lines,
                    tell=tell,
                    console=console,
                    clock=clock,
                )
            summary = _summary(run, load_s, options, loaded)
            latency = _latency(bundle, loaded, options, paths[: beside.latency_frames], clock)
            _write(beside.summary, json.dumps(summary | {"latency_ms": latency}, indent=2))
            stats = run.counts.stats(run.counts.inferred, {})
            _write(beside.stats, stats.model_dump_json())
    return run.unreadable


def folder_digest(bundle: Path) -> str:
    """The bundle's name, from its own manifest: here the user vouches for the folder."""
    try:
        return sha256_hex((bundle / MANIFEST_PATH).read_bytes())
    except OSError as error:
        raise EdgeError(f"no bundle in {bundle}: {error.strerror}") from error


def _options(threads: int, floor: float, streams: int) -> LoadOptions:
    """Loaded as for cameras that are read in order; telemetry's floor is always reached."""
    shared = streams or min(streams_for([False], STREAMS_MAX), threads or STREAMS_MAX)
    return LoadOptions(threads, min(floor, CONFIDENCE_FLOOR), streams=shared)


def _run(
    evaluator: Evaluator,
    loaded: LoadedBundle,
    paths: Sequence[Path],
    *,
    streams: int,
    lines: TextIO,
    tell: Tell,
    console: Console,
    clock: Clock,
) -> _Run:
    """Answer all images, in order; a thread takes as many at once as the model does."""
    batch = loaded.detector.batch_max
    batches = (paths[at : at + batch] for at in range(0, len(paths), batch))
    run, done = _Run(WindowCounts(len(loaded.manifest.class_names))), 0
    began_s = clock.monotonic()
    with closing(in_order(evaluator, batches, streams, streams * AHEAD_PER_STREAM)) as answers:
        for answered in answers:
            for answer in answered:
                if isinstance(answer, BadImageError):
                    run.unreadable += 1
                    console.print(f"left out: {answer}", markup=False)
                    continue
                lines.write(answer.line + "\n")
                run.counts.add(answer.result)
                run.counts.add_quality(answer.luminance, answer.sharpness)
            run.wall_s = clock.monotonic() - began_s
            done += len(answered)
            tell(done)
    return run


def _summary(
    run: _Run, load_s: float, options: LoadOptions, loaded: LoadedBundle
) -> dict[str, Any]:
    images = run.counts.inferred
    return {
        "images": images,
        "unreadable": run.unreadable,
        "wall_s": round(run.wall_s, 4),
        "load_s": round(load_s, 4),
        "fps": round(images / run.wall_s, 3) if run.wall_s else None,
        "peak_rss_bytes": peak_rss_bytes(),
        **machine_and_runtime(loaded),
        "threads": options.threads or cores(),
        "streams": options.streams,
    }


def _latency(
    bundle: Path, loaded: LoadedBundle, options: LoadOptions, paths: Sequence[Path], clock: Clock
) -> dict[str, Any] | None:
    """Of one image at a time, loaded as for one live camera; the other detector is let go."""
    if not paths:
        return None
    loaded.detector.close()
    alone = replace(options, streams=streams_for([True], STREAMS_MAX))
    with closing(load_bundle(bundle, loaded.digest, alone).detector) as detector:
        return spread(latencies_ms(detector, paths, clock))


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        with whole_file(path) as file:
            file.write(text + "\n")
