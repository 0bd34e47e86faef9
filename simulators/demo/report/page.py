"""report.html: one file with everything in it, no address outside of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.demo.learning import FIRST_FACTORY
from simulators.demo.plan import LINE_2
from simulators.demo.record import Record
from simulators.demo.summary import drifted_map50

TEMPLATE_FILE = "report.html"
_TOLD_STATES = ("DOWNLOADING", "VERIFIED", "PROVING", "SWAPPING", "PROBATION", "SUCCEEDED")


@dataclass(frozen=True)
class Figure:
    """A picture of the page in both themes, with the words beside it."""

    name: str
    title: str
    caption: str
    light: bytes
    dark: bytes

    def write(self, folder: Path) -> None:
        (folder / f"{self.name}.png").write_bytes(self.light)
        if self.dark != self.light:
            (folder / f"{self.name}-dark.png").write_bytes(self.dark)


def write_page(
    path: Path, record: Record, summary: Mapping[str, Any], figures: Sequence[Figure]
) -> None:
    """Write the page to `path`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = _data_address
    environment.filters["figure"] = _figure_text
    page = environment.get_template(TEMPLATE_FILE).render(
        summary=summary,
        record=record,
        figures={figure.name: figure for figure in figures},
        frames=[f for f in figures if f.name.startswith("frames-")],
        drifted={
            name: drifted_map50(dict(summary), name)
            for name in ("before_drift", "under_drift", "after_update", "control")
        },
        stages=_stages(record),
        passages=_passages(record),
        old_version=record.version(FIRST_FACTORY).number,
        drifted_camera=LINE_2,
    )
    path.write_text(page)


def _data_address(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _figure_text(value: float | str | None, digits: int = 2) -> str:
    if value is None:
        return "unknown"
    return value if isinstance(value, str) else f"{value:.{digits}f}"


def _stages(record: Record) -> list[dict[str, Any]]:
    """The chapters as bars: where each begins and how wide it is, in percent of the run."""
    ended = [s for s in record.stages if s.ended_at is not None]
    start = ended[0].started_at
    total = max(1e-9, (ended[-1].ended_at or start) - start)
    return [
        {
            "title": stage.title,
            "note": stage.note,
            "seconds": (stage.ended_at or start) - stage.started_at,
            "left": 100 * (stage.started_at - start) / total,
            "width": max(0.4, 100 * ((stage.ended_at or start) - stage.started_at) / total),
        }
        for stage in ended
    ]


def _passages(record: Record) -> list[dict[str, Any]]:
    """Each device's way through each rollout: its states with the seconds since the first."""
    names = {made.digest: f"{made.model} v{made.number}" for made in record.versions}
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for event in record.events:
        if event["kind"] == "execution":
            detail = event["detail"]
            key = (names.get(detail["bundle_digest"], "?"), event["device_id"])
            found.setdefault(key, []).append((event["at"], detail["state"]))
    return [
        {
            "build": build,
            "device": device,
            "steps": [(s, at - steps[0][0]) for at, s in steps if s in _TOLD_STATES],
            "seconds": steps[-1][0] - steps[0][0],
        }
        for (build, device), steps in found.items()
    ]
