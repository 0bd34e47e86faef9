"""The very last chapter: what was seen is held against the truth, and the report is drawn."""

from __future__ import annotations

from collections.abc import Sequence

from simulators.demo.closing import fetch_bundles
from simulators.demo.measure import measure, read_pairs, windows_of
from simulators.demo.plan import FACTORY, LINE_1, LINE_2
from simulators.demo.processes import Supervisor
from simulators.demo.replay import render_again, replay
from simulators.demo.report.draw import draw_figures, write_report
from simulators.demo.story import Story
from simulators.demo.summary import summarise

TOOL_S = 180.0
_MODULES = {"score": "cloud.cli.main", "evaluate": "edge_agent"}


def judge_and_draw(story: Story) -> str:
    """Replay, score, count, draw; the summary stands in the story afterwards."""
    record, plan, folders = story.record, story.plan, story.folders
    record.write(folders.work / "run.json")
    pairs = read_pairs(record)
    after = windows_of(record, plan, pairs)[0]["after"]
    lines = [record.watched(camera) for camera in (LINE_1, LINE_2)]
    story.screen.progress(0.1, "frames are rendered again")
    images = render_again(lines, after, folders.work / "replay")
    run_tool = Tools(story.processes)
    story.screen.progress(0.3, "versions that did not run look at them")
    replays = {
        role: replay(bundle, images, folders.work / "replay" / role, run_tool)
        for role, bundle in fetch_bundles(story).items()
        if record.version(role).model == FACTORY
    }
    story.screen.progress(0.6, "everything is scored")
    measures = measure(record, plan, pairs, replays, folder=folders.work / "score", run=run_tool)
    story.screen.progress(0.8, "the report is drawn")
    figures = draw_figures(record, summarise(record, plan, measures), measures, replays)
    record.ended_at = story.clock()
    record.write(folders.work / "run.json")
    story.summary = summarise(record, plan, measures)
    page = write_report(folders.out, record, story.summary, figures)
    return str(page)


class Tools:
    """Runs the project's other programs as children; see `checkers.scoring.Run`."""

    def __init__(self, processes: Supervisor) -> None:
        self._processes = processes

    def __call__(self, name: str, arguments: Sequence[str]) -> str:
        """Run it to its end and return what it wrote. Raises ProcessEnded."""
        self._processes.start(name, _MODULES[name], *arguments, ends=True)
        return self._processes.finish(name, TOOL_S).read_text()
