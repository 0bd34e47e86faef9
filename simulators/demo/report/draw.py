"""From the measures to the report folder: figures, frames, summary.json, report.html."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from simulators.checkers.confusion import confusion
from simulators.checkers.records import Pair
from simulators.demo.learning import FIRST_FACTORY, RETRAINED
from simulators.demo.measure import Measures
from simulators.demo.plan import LINE_2
from simulators.demo.record import Record
from simulators.demo.replay import Replay
from simulators.demo.report import figures
from simulators.demo.report.frames import choose, columns_of, compare
from simulators.demo.report.page import Figure, write_page
from simulators.demo.report.themes import DARK, LIGHT, Theme
from simulators.scenes import SCENES, Drift

FRAMES_SHOWN = 3


def draw_figures(
    record: Record,
    summary: Mapping[str, Any],
    measures: Measures,
    replays: Mapping[str, Replay],
) -> list[Figure]:
    """All plots and frames of the page."""
    return [*_plots(record, summary, measures), *_frames(record, measures, replays)]


def write_report(
    folder: Path, record: Record, summary: Mapping[str, Any], drawn: Sequence[Figure]
) -> Path:
    """Write figures, summary.json and report.html into `folder`; the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    for figure in drawn:
        figure.write(folder)
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    page = folder / "report.html"
    write_page(page, record, summary, drawn)
    return page


def _plots(record: Record, summary: Mapping[str, Any], measures: Measures) -> list[Figure]:
    names = record.watched(LINE_2).class_names
    old, new = (_confusion(measures.kept[w][LINE_2], len(names)) for w in ("under", "after"))
    cameras = [w.camera for w in record.cameras]
    return [
        _both(
            "over-time",
            "Accuracy and confidence over time",
            "Accuracy needs the truth, which a real fleet does not have; confidence is what the "
            "hub watches. It falls less than accuracy does: a model can be sure and wrong.",
            lambda theme: figures.over_time(
                measures.series, record.marks, record.windows, record.started_at, theme
            ),
        ),
        _both(
            "accuracy",
            "Before, under drift, after",
            "The control had the same parent, as many images and epochs as the new version, "
            "but none of the harvested images: it is those that help, not the training.",
            lambda theme: figures.bars(summary, cameras, theme),
        ),
        _both(
            "confusion",
            f"What {LINE_2} takes for what",
            "Shares of what really is there, with counts. The last column is what was missed, the "
            "last row what was seen where nothing is.",
            lambda theme: figures.confusions(old, new, names, theme),
        ),
    ]


def _frames(record: Record, measures: Measures, replays: Mapping[str, Replay]) -> list[Figure]:
    watched = record.watched(LINE_2)
    scene = SCENES[watched.scene](watched.seed)
    pairs = measures.kept["after"][LINE_2]
    old, new = replays[FIRST_FACTORY], replays[RETRAINED]
    titles = {
        f"v{record.version(role).number} ({words})": replays[role]
        for role, words in ((FIRST_FACTORY, "old"), (RETRAINED, "new"))
    }
    chosen = choose(pairs, old, new, len(watched.class_names), FRAMES_SHOWN)
    shown = []
    for number, found in enumerate(chosen, start=1):
        image, _ = scene.render(found.truth.frame_number, Drift(**found.truth.drift))
        png = compare(image, columns_of(found, titles), watched.class_names)
        shown.append(Figure(f"frames-{number}", f"frame {found.truth.frame_number}", "", png, png))
    return shown


def _both(name: str, title: str, caption: str, draw: Callable[[Theme], bytes]) -> Figure:
    return Figure(name, title, caption, draw(LIGHT), draw(DARK))


def _confusion(pairs: Sequence[Pair], classes: int) -> Any:
    return confusion(((p.truth.boxes, p.output.detections) for p in pairs), classes)
