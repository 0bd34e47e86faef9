"""The page of a rollout: whole in one file, and harmless whatever names came from outside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cloud.rollouts.evidence import page, plots
from cloud.rollouts.evidence.record import Origin, record
from tests.unit.cloud.rollouts import story
from tests.unit.cloud.rollouts.story import START

PNG = b"\x89PNG\r\n"
SPITEFUL = "<script>alert(1)</script>$x^2$\u202e"


def told(**changed: Any) -> dict[str, Any]:
    rollout = story.rollout(**changed)
    rows = (story.executions(), story.looks(), story.journal())
    origin = Origin({"parent": None, "dataset": "caps", "dataset_version": 3,
                     "dataset_digest": "d" * 64, "created_by": "ada"})  # fmt: skip
    return record(rollout, *rows, origin=origin, now=START + 1000)


def test_a_page_says_what_the_record_says() -> None:
    html = page.render(told())
    for said in (
        "It was taken back",
        "caps v1",
        "go, the line stands still",
        "dev-1/east sees worse",
        "at least 0.15 lower",
        "Not reverted: 1",
        "v2 is below the floor",
        story.BUILD,
        "on_fail: revert",
        "1970-01-12 13:46:40",
    ):
        assert said in html, said
    assert html.count("data:image/png;base64,") == 4


def test_a_page_runs_nothing_and_loads_nothing() -> None:
    record_ = told(name=SPITEFUL, reason=SPITEFUL)
    record_["journal"][2]["text"] = SPITEFUL
    record_["deviations"]["timed_out"]["items"][0]["reason"] = SPITEFUL
    html = page.render(record_)
    assert "<script" not in html
    assert "\u202e" not in html
    assert not re.search(r"(src|href)=\"(?!data:image/png;base64,)", html)


def test_a_page_of_a_rollout_that_has_just_begun() -> None:
    fresh = story.rollout(state="RUNNING", outcome=None, reverting=False, ended_at=None)
    rows = [story.attempt("dev-0"), story.attempt("dev-1", wave=1)]
    html = page.render(record(fresh, rows, [], [], origin=Origin(), now=START))
    assert "It has not ended yet" in html
    assert "Nothing is written in its journal" in html


def test_the_deciding_look_has_the_figures_that_it_rests_on() -> None:
    looks = story.looks()[:2]
    seen = record(story.rollout(), [], looks, [], origin=Origin(), now=START)
    (last,) = page.deciding(seen)
    assert (last["look"], last["figures"]) == (2, {"components": []})


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, "-"), (90, "90.0 s"), (600, "10.0 min"), (9000, "2.5 h")]
)
def test_durations_are_told_in_a_unit_of_their_size(seconds: float | None, said: str) -> None:
    assert page.span(seconds) == said


def test_waves_as_they_were_asked_for() -> None:
    assert page.wave_words({"percent": 10.0}) == "up to 10 %"
    assert page.wave_words({"count": 1}) == "1 device"
    assert page.wave_words({"percent": None, "selector": "line=a"}) == "line=a"


def test_plots_are_pictures_and_none_where_there_is_nothing_to_draw(tmp_path: Path) -> None:
    full, figures = told(), story.FAILED.as_dict()
    for drawn in (
        plots.over_time(full),
        plots.looks(full),
        plots.margins(figures),
        plots.cameras(figures),
    ):
        assert drawn is not None
        assert drawn.startswith(PNG)
    assert plots.margins({}) is None
    assert plots.cameras({"components": []}) is None
    assert plots.looks({**full, "gates": []}) is None
