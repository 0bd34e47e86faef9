"""`argosy-agent status` for people: what `edge_agent.status` read, as tables and lines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table

from edge_agent.update.maintenance import at_words

MIB = 1024 * 1024
FIGURES_SHOWN_MAX = 12
STARTS_TOLD_MIN = 2


def tables(status: dict[str, Any]) -> Group:
    """What `read_status` found, for people."""
    running = "runs" if status["agent_running"] else "does not run"
    parts: list[RenderableType] = [
        f"{status['device']}: the agent {running} ({status['data_dir']})",
        _slot_table(status["slots"]),
        *(line for name, slot in status["slots"].items() for line in _slot_lines(name, slot)),
    ]
    live = status["live"]
    cameras = live["cameras"] if live is not None else status["cameras"]
    if cameras:
        parts.append(_camera_table(cameras))
    if live is not None:
        parts.append(_load(live["health"]))
        problems = live["channel_problems"]
        parts += [
            _output(name, counters, problems.get(name))
            for name, counters in live["channels"].items()
        ]
        parts += [
            f"rule {name} lacks {', '.join(classes)}: no model has it"
            for name, classes in live["lost_classes"].items()
        ]
    parts += [_disk(status["bundles"]), *_outbox(status["outbox"])]
    if "history" in status:
        parts += _history(status["history"])
    return Group(*parts)


def _output(name: str, counters: dict[str, int], problem: str | None) -> str:
    counts = ", ".join(f"{count} {what}" for what, count in counters.items())
    return f"output {name}: {counts}" + (f"; DOWN: {problem}" if problem else "")


def _slot_table(slots: dict[str, Any]) -> Table:
    table = Table("slot", "serves", "last attempt")
    for name, slot in slots.items():
        attempt = slot["attempt"]
        told = "none"
        if attempt is not None:
            # What an open one waits for has a line of its own.
            why = f": {attempt['reason']}" if attempt["reason"] and attempt["over"] else ""
            digest = attempt["bundle_digest"][:12]
            told = f"{attempt['attempt']} of {digest}: {attempt['state']}{why}"
        table.add_row(name, _served(slot), told)
    return table


def _served(slot: dict[str, Any]) -> str:
    serves, committed = slot["serves"], slot["committed"]
    told = serves[:12] if serves else f"committed {committed[:12]}" if committed else "nothing"
    if committed and slot["seen"] and not serves:
        told = f"NOTHING; {told}"
    name = (
        _name(slot["model"], slot["version"])
        if serves
        else _name(slot["committed_model"], slot["committed_version"])
    )
    told = f"{told}, {name}" if name else told
    return f"{told}: {slot['error']}" if slot["error"] else told


def _slot_lines(name: str, slot: dict[str, Any]) -> Iterator[str]:
    """What the table has no room for, a line for each thing that there is to say."""
    if slot["engine"]:
        yield f"{name}: runs an engine compiled here, {slot['engine'][:12]}"
    attempt, boot = slot["attempt"], slot["boot"]
    if slot["served_before"] and slot["served_before"] != slot["serves"]:
        before = _name(slot["before_model"], slot["before_version"])
        yield f"{name}: before it served {slot['served_before'][:12]}" + (
            f", {before}" if before else ""
        )
    as_committed = slot["serves"] in (None, slot["committed"])
    if slot["why"] and as_committed:
        yield f"{name}: this serves because {slot['why']}"
    started = slot["last_start"]
    if started is not None and (started["digest"] == slot["serves"] or not slot["seen"]):
        yield from (f"{name}: at the last start: {why}" for why in started["why"])
    if slot["revoked"]:
        yield f"{name}: the version that serves is revoked; it serves until another can"
    if slot["by_hand"] and as_committed and (attempt is None or attempt["over"]):
        yield f"{name}: somebody went back to this by hand; it stays until another is desired"
    if slot["floor"] is not None and slot["floor"] > 1:
        yield f"{name}: nothing below v{slot['floor']} may serve"
    if slot["veto_until"] is not None:
        zone = "UTC" if attempt is None else attempt["time_zone"]
        yield f'{name}: the line says "not now" until {at_words(slot["veto_until"], zone)}'
    watched = boot is not None and boot["digest"] in (slot["serves"], slot["committed"])
    if watched and boot["starts"] >= STARTS_TOLD_MIN:
        yield (
            f"{name}: {boot['starts']} starts in a row with {boot['digest'][:12]}; it is being "
            "watched until one of them has lasted"
        )
    if attempt is not None:
        yield from _attempt_lines(name, attempt)


def _attempt_lines(name: str, attempt: dict[str, Any]) -> Iterator[str]:
    of = _name(attempt["model"], attempt["version"])
    yield f"{name}: {of} is {attempt['state']} since {_at(attempt['since'])}"
    if attempt["over"]:
        return
    if attempt["waiting"]:
        yield f"{name}: it waits: {attempt['waiting']}"
    if attempt["window"] and attempt["window"] not in (attempt["waiting"] or ""):
        yield f"{name}: {attempt['window']}"
    if attempt["figures"]:
        yield f"{name}: {_figures(attempt['figures'])}"


def _history(history: dict[str, Any]) -> Iterator[RenderableType]:
    """Each attempt under its own line: reasons and figures get the width that there is."""
    for name, attempts in history.items():
        for attempt in attempts:
            model = _name(attempt["model"], attempt["model_version"])
            yield f"{name}: {attempt['attempt']} of {attempt['bundle_digest'][:12]}, {model}"
            grid = Table.grid(padding=(0, 2))
            grid.add_column(no_wrap=True)
            grid.add_column(no_wrap=True)
            grid.add_column(overflow="fold")
            for passage in attempt["passages"]:
                grid.add_row(_at(passage["at"]), passage["state"], passage["reason"])
            yield Padding(grid, (0, 0, 0, 2))
            if attempt["figures"]:
                yield Padding(_figures(attempt["figures"]), (0, 0, 0, 2))


def _disk(bundles: dict[str, Any] | None) -> str:
    if bundles is None:
        return "bundles: none can be read"
    pinned = len(bundles["pinned"])
    told = f"bundles: {bundles['count']} in {bundles['bytes'] / MIB:.1f} MiB, {pinned} must stay"
    damaged = ", ".join(digest[:12] for digest in bundles["damaged"])
    return f"{told}; DAMAGED: {damaged}, to be repaired from the hub" if damaged else told


def _outbox(outbox: dict[str, Any] | None) -> Iterator[str]:
    if outbox is None:
        yield "outbox: none can be read"
        return
    for name, stream in outbox["streams"].items():
        told = f"outbox {name}: {stream['waiting']} wait, {stream['acked']} acknowledged"
        if stream["evicted"]:
            told += f", {stream['evicted']} evicted"
        if stream["oldest_at"] is not None:
            told += f"; the oldest is of {_at(stream['oldest_at'])}"
        yield told


def _figures(figures: dict[str, float]) -> str:
    shown = list(figures.items())[:FIGURES_SHOWN_MAX]
    rest = len(figures) - len(shown)
    told = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown)
    return f"{told} and {rest} more" if rest else told


def _name(model: str | None, version: int | None) -> str:
    return "" if model is None else f"{model} v{version}"


def _at(wall: float) -> str:
    try:
        return f"{datetime.fromtimestamp(wall, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return "a time that no clock shows"


def _camera_table(cameras: dict[str, Any]) -> Table:
    table = Table("camera", "state", "results/s", "inference", "dropped", "why")
    for name, camera in cameras.items():
        dropped = (camera.get("dropped") or {}).items()
        table.add_row(
            name,
            camera["state"] or "unknown",
            _figure(camera.get("results_per_s")),
            _figure(camera.get("latency_ms"), " ms"),
            ", ".join(f"{frames} {cause}" for cause, frames in dropped),
            camera.get("detail") or "",
        )
    return table


def _load(health: dict[str, Any]) -> str:
    rss, gpu_bytes = health["rss_bytes"], health["gpu_memory_used_bytes"]
    told = {
        "processor": _figure(health["cpu_percent"], " %"),
        "memory": _figure(None if rss is None else rss / MIB, " MiB"),
        "temperature": _figure(health["temperature_c"], " C"),
        "GPU": _figure(health["gpu_percent"], " %"),
        "GPU memory": _figure(None if gpu_bytes is None else gpu_bytes / MIB, " MiB"),
        "GPU temperature": _figure(health["gpu_temperature_c"], " C"),
    }
    return ", ".join(f"{name} {figure}" for name, figure in told.items())


def _figure(value: float | None, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:.1f}{unit}"
