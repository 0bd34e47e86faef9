"""What a person sees while the demo runs: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from protocol.windows import WindowStats

HAPPENED_LINES = 9
_PANELS = 3
_TITLE_WIDTH = 46
_BAR_WIDTH = 16
_SPARKS = "▁▂▃▄▅▆▇█"
_MARKS = {"waiting": "[dim]·[/]", "running": "[cyan]▶[/]", "done": "[green]✓[/]"}


@dataclass
class CameraView:
    """The latest telemetry of one camera."""

    camera: str
    device: str
    confidences: deque[float]
    window_end: float = 0.0
    digest: str = ""
    frames: int = 0

    def take(self, row: dict[str, Any]) -> None:
        """Take in one telemetry window as the hub lists it."""
        stats = WindowStats.model_validate(row["stats"])
        self.window_end = float(row["window_end"])
        self.digest = row["bundle_digest"]
        self.frames += stats.frames_inferred
        confidence = stats.mean_confidence()
        if confidence is not None:
            self.confidences.append(confidence)

    @property
    def confidence(self) -> float | None:
        return self.confidences[-1] if self.confidences else None


class Screen(Protocol):
    """Where the story is told."""

    def chapters(self, chapters: Sequence[tuple[str, str]]) -> None:
        """Name all steps, as (key, title), before the first begins."""

    def begin(self, key: str) -> None: ...

    def progress(self, share: float, text: str) -> None:
        """How much of the running step is done (0..1), and what is going on in it."""

    def end(self, key: str, seconds: float, note: str) -> None: ...

    def say(self, where: str, text: str) -> None:
        """Something happened at a device or a camera."""

    def cameras(self, views: Sequence[CameraView]) -> None: ...

    def close(self) -> None: ...


class PlainScreen:
    """Lines with the time since the start, for logs and pipes."""

    def __init__(self, names: dict[str, str] | None = None) -> None:
        self._start = time.monotonic()
        self._titles: dict[str, str] = {}
        self._progressed = 0.0
        self._names = names if names is not None else {}

    def chapters(self, chapters: Sequence[tuple[str, str]]) -> None:
        self._titles = dict(chapters)

    def begin(self, key: str) -> None:
        self._line(f"== {self._titles[key]}")
        self._progressed = time.monotonic()

    def progress(self, share: float, text: str) -> None:
        if time.monotonic() - self._progressed >= 10:
            self._progressed = time.monotonic()
            self._line(f"   {share:4.0%} {text}")

    def end(self, key: str, seconds: float, note: str) -> None:  # noqa: ARG002 - the port's
        self._line(f"   done in {seconds:.1f} s{': ' + note if note else ''}")

    def say(self, where: str, text: str) -> None:
        self._line(f"   {where}: {named(text, self._names)}")

    def cameras(self, views: Sequence[CameraView]) -> None:
        """Confidences stand in the report; a line for each window would bury the rest."""

    def close(self) -> None:
        """Nothing to give back."""

    def _line(self, text: str) -> None:
        sys.stdout.write(f"[{time.monotonic() - self._start:6.1f} s] {text}\n")
        sys.stdout.flush()


@dataclass
class _Chapter:
    title: str
    state: str = "waiting"
    share: float = 0.0
    text: str = ""
    started: float = 0.0
    seconds: float = 0.0


@dataclass
class LiveScreen:
    """A picture that redraws itself: chapters, cameras, what happened last.

    `names` maps a build's digest to a short name such as "factory v2".
    """

    names: dict[str, str] = field(default_factory=dict)
    _chapters: dict[str, _Chapter] = field(default_factory=dict)
    _views: list[CameraView] = field(default_factory=list)
    _happened: deque[tuple[float, str, str]] = field(
        default_factory=lambda: deque(maxlen=HAPPENED_LINES)
    )
    _start: float = field(default_factory=time.monotonic)
    _current: str = ""

    def __post_init__(self) -> None:
        self._console = Console()
        self._live = Live(
            get_renderable=lambda: self.render(self._console.height),
            console=self._console,
            refresh_per_second=4,
        )
        self._live.start()

    def chapters(self, chapters: Sequence[tuple[str, str]]) -> None:
        self._chapters = {key: _Chapter(title) for key, title in chapters}

    def begin(self, key: str) -> None:
        self._current = key
        chapter = self._chapters[key]
        chapter.state, chapter.started = "running", time.monotonic()

    def progress(self, share: float, text: str) -> None:
        chapter = self._chapters[self._current]
        chapter.share, chapter.text = share, text

    def end(self, key: str, seconds: float, note: str) -> None:
        chapter = self._chapters[key]
        chapter.state, chapter.seconds, chapter.text = "done", seconds, note

    def say(self, where: str, text: str) -> None:
        self._happened.append((time.monotonic() - self._start, where, named(text, self.names)))

    def cameras(self, views: Sequence[CameraView]) -> None:
        self._views = list(views)

    def close(self) -> None:
        self._live.stop()

    def render(self, height: int) -> RenderableType:
        """The whole picture as it is now, in at most `height` lines."""
        elapsed = int(time.monotonic() - self._start)
        title = f"[bold]Argosy[/] · the loop closes · {elapsed // 60}:{elapsed % 60:02d}"
        room = height - 2 * _PANELS - 1 - len(self._views)
        lines = max(3, min(HAPPENED_LINES, room - len(self._chapters)))
        return Group(
            Panel(self._chapter_table(max(3, room - lines)), title=title, border_style="cyan"),
            Panel(self._camera_table(), title="cameras", border_style="blue"),
            Panel(self._happened_table(lines), title="what happened where", border_style="dim"),
        )

    def _chapter_table(self, rows: int) -> Table:
        """As many chapters as there is room for, the running one among them."""
        keys = list(self._chapters)
        at = keys.index(self._current) if self._current in keys else 0
        first = max(0, min(at - rows // 2, len(keys) - rows))
        table = Table.grid(padding=(0, 1), expand=True)
        for width in (1, _TITLE_WIDTH, _BAR_WIDTH, 7):
            table.add_column(width=width, no_wrap=True, overflow="ellipsis")
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for key in keys[first : first + rows]:
            table.add_row(*_chapter_row(self._chapters[key]))
        return table

    def _camera_table(self) -> Table:
        table = Table.grid(padding=(0, 2), expand=True)
        for _ in range(5):
            table.add_column(no_wrap=True, overflow="ellipsis")
        for view in self._views:
            latest = view.confidence
            shown = "  -  " if latest is None else f"[{_colour(latest)}]{latest:.3f}[/]"
            table.add_row(
                f"[bold]{view.camera}[/]",
                self.names.get(view.digest, view.digest[:10]),
                f"confidence {shown}",
                spark(view.confidences),
                f"[dim]{view.frames} frames[/]",
            )
        return table

    def _happened_table(self, lines: int) -> Table:
        table = Table.grid(padding=(0, 2))
        latest = list(self._happened)[-lines:]
        for at, where, text in latest:
            table.add_row(f"[dim]{at:6.1f} s[/]", f"[bold]{where}[/]", Text(text))
        for _ in range(lines - len(latest)):
            table.add_row("", "", "")
        return table


def _chapter_row(chapter: _Chapter) -> tuple[RenderableType, ...]:
    bar: RenderableType = ""
    seconds = ""
    if chapter.state == "running":
        bar = ProgressBar(
            total=1.0, completed=chapter.share, width=_BAR_WIDTH, complete_style="cyan"
        )
        seconds = f"{time.monotonic() - chapter.started:.0f} s"
    elif chapter.state == "done":
        seconds = f"{chapter.seconds:.1f} s"
    style = {"waiting": "dim", "running": "bold"}.get(chapter.state, "")
    text = Text(chapter.text, style="" if chapter.state == "running" else "dim")
    return _MARKS[chapter.state], Text(chapter.title, style=style), bar, seconds, text


def named(text: str, names: dict[str, str]) -> str:
    """`text` with the short digests in it replaced by the names of their builds."""
    for digest, name in names.items():
        text = text.replace(digest[:10], name)
    return text


def spark(values: Sequence[float], low: float = 0.3, high: float = 1.0) -> str:
    """Values as a row of small bars between `low` and `high`."""
    top = len(_SPARKS) - 1
    return "".join(_SPARKS[max(0, min(top, round((v - low) / (high - low) * top)))] for v in values)


def _colour(confidence: float) -> str:
    if confidence >= 0.8:
        return "green"
    return "yellow" if confidence >= 0.65 else "red"


def open_screen(names: dict[str, str], *, plain: bool) -> Screen:
    """The live picture on a terminal, lines where there is none or where they were asked for."""
    if plain or not sys.stdout.isatty():
        return PlainScreen(names)
    return LiveScreen(names)
