"""The story so far: what runs, what happened, and how a step waits for what comes next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulators.demo.plan import Plan
from simulators.demo.processes import Supervisor
from simulators.demo.record import Record, Stage
from simulators.demo.screen import Screen
from simulators.demo.watcher import Watcher
from simulators.hub import Hub, HubAddress

POLL_S = 0.4


class StoryFailed(Exception):  # noqa: N818 - says how it ended
    """A step did not come to its end; the text says which and why."""


@dataclass(frozen=True)
class Folders:
    """Where a run keeps its things: `work` is made anew by each run, `out` holds the report."""

    work: Path
    out: Path

    @property
    def hub(self) -> Path:
        return self.work / "hub"

    @property
    def logs(self) -> Path:
        return self.work / "logs"

    def dataset(self, scene: str) -> Path:
        return self.work / "datasets" / scene

    def truth(self, camera: str) -> Path:
        return self.work / "truth" / f"{camera}.jsonl"

    def device(self, device: str) -> Path:
        return self.work / "devices" / device

    def output(self, device: str) -> Path:
        return self.work / "devices" / device / "detections.jsonl"


@dataclass
class Story:
    """The context that every step gets."""

    plan: Plan
    folders: Folders
    processes: Supervisor
    screen: Screen
    record: Record
    names: dict[str, str]
    """Short names of builds by digest, for the screen."""
    address: HubAddress
    hub: Hub
    watcher: Watcher
    clock: Callable[[], float] = time.time
    camera_urls: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, int | str] = field(default_factory=dict)
    """Training jobs by the role of the version that they make."""
    summary: dict[str, Any] = field(default_factory=dict)
    """summary.json, once the last chapter is told."""

    def wait(
        self,
        what: str,
        done: Callable[[], bool],
        timeout_s: float,
        progress: Callable[[], tuple[float, str]] | None = None,
    ) -> None:
        """Wait until `done()`, showing progress and what happens meanwhile.

        `progress` gives the share that is done (0..1) and a text.

        Raises:
            StoryFailed: `timeout_s` passed; the text names `what`.
            ProcessEnded: a process that the story needs has ended.
        """
        deadline = time.monotonic() + timeout_s
        while not done():
            self.processes.check()
            if time.monotonic() > deadline:
                raise StoryFailed(f"{what}: not there after {timeout_s:.0f} s")
            self.watcher.look()
            if progress is not None:
                self.screen.progress(*progress())
            time.sleep(POLL_S)

    def span(self, name: str, seconds: float) -> None:
        """Let the world go on for `seconds` and remember it as the window `name`."""
        start = self.clock()
        self.pause(name, seconds)
        self.record.windows[name] = (start, self.clock())

    def pause(self, what: str, seconds: float) -> None:
        """Let the world go on for `seconds`."""
        start = time.monotonic()

        def passed() -> float:
            return time.monotonic() - start

        self.wait(
            what,
            lambda: passed() >= seconds,
            seconds + 30,
            lambda: (min(1.0, passed() / seconds), f"{max(0.0, seconds - passed()):.0f} s left"),
        )

    def mark(self, kind: str, text: str, *cameras: str) -> None:
        """Remember a moment of the plots, and say it."""
        self.record.mark(self.clock(), kind, text, *cameras)
        self.screen.say(", ".join(cameras) or "fleet", text)


@dataclass(frozen=True)
class Step:
    """One chapter: what it is called and what happens in it; `tell` returns a closing note."""

    key: str
    title: str
    tell: Callable[[Story], str]


def run(story: Story, steps: Iterable[Step]) -> None:
    """Tell all steps in order; what happened stands in the story's record, also on failure."""
    chapters = list(steps)
    story.screen.chapters([(step.key, step.title) for step in chapters])
    for step in chapters:
        stage = Stage(step.key, step.title, story.clock())
        story.record.stages.append(stage)
        story.screen.begin(step.key)
        stage.note = step.tell(story)
        stage.ended_at = story.clock()
        story.screen.end(step.key, stage.ended_at - stage.started_at, stage.note)


def running_digest(device: dict[str, Any], slot: str) -> str | None:
    """The digest that the device says it runs in `slot`."""
    found: str | None = (device.get("running") or {}).get(slot)
    return found
