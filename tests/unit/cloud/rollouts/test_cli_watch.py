"""What `argosy rollout watch` and `report` show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.cli import rollout_watch
from cloud.cli.client import CommandError
from cloud.cli.rollout_gate import CELLS, MARGIN_CELL, interval_bar
from cloud.cli.rollout_watch import Tempo, picture
from tests.unit.cloud.rollouts.terminal import Answers, argosy, look, text, view
from tests.unit.cloud.rollouts.test_page import told


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_watch, "POLL_S", 0)


def test_the_picture_has_bars_figures_and_who_is_asked_what() -> None:
    shown = text(picture(view(asks="GATE"), look(3)))
    assert "▸  wave 1" in shown
    assert shown.count("█") == 40
    assert "gate of wave 1, look 3: INCONCLUSIVE  too few frames" in shown
    row = next(line for line in shown.splitlines() if "dev-1/east" in line)
    assert "worse" in row
    assert "┃" in row
    assert "`argosy rollout approve r-1 --remark …`" in shown
    paused = text(picture(view(state="PAUSED", reason="3 devices failed")))
    assert "`argosy rollout resume r-1`" in paused
    assert "3 devices failed" in paused
    assert "rollout force" not in paused
    failed = text(picture(view(state="PAUSED"), look(3, "FAIL")), width=400)
    assert "pauses it again, but after `argosy rollout force r-1 --remark …`" in failed
    assert "rollout force" not in text(picture(view(state="PAUSED"), look(3, "PASS")))


def test_names_from_outside_do_nothing_to_the_terminal() -> None:
    shown = text(picture(view(name="\x1b[2Jevil", reason="[bold]x[/bold]\u202e")))
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    assert "[bold]x[/bold]" in shown


def test_the_pace_says_how_long_it_takes_if_nothing_holds_it() -> None:
    tempo = Tempo()
    assert tempo.per_minute() is None
    for second in range(0, 61, 10):
        tempo.see(float(second), second // 10)
    assert tempo.per_minute() == pytest.approx(6)
    shown = text(picture(view(), None, tempo))
    # 8 of 10 at 6 a minute, and two soaks of a minute
    assert "2 of 10 devices have ended · 6 a minute · about 3 min if nothing holds it" in shown


@given(st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 100)), max_size=50))
def test_the_pace_is_never_negative_and_forgets(steps: list[tuple[float, int]]) -> None:
    tempo, now = Tempo(), 0.0
    for gap, ended in steps:
        now += gap
        tempo.see(now, ended)
        rate = tempo.per_minute()
        assert rate is None or rate > 0
        assert now - tempo.seen[0][0] <= rollout_watch.PACE_SPAN_S


figures = st.floats(-10, 10)


@given(figures, figures, figures, st.floats(0.001, 10))
def test_an_interval_is_drawn_on_the_side_of_its_margin(
    shift: float, low: float, high: float, margin: float
) -> None:
    low, high = sorted((low, high))
    bar = interval_bar(
        {"shift": shift, "low": low, "high": high, "margin": margin, "finding": "HOLDS"}
    ).plain
    assert len(bar) == CELLS
    dot = bar.index("●")
    if shift > margin:
        assert dot >= MARGIN_CELL
    if shift <= 0:
        assert dot <= CELLS // 2
    if high < margin / 2:
        assert "─" not in bar[MARGIN_CELL:]


def test_a_watch_tells_each_change_with_its_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    done = view(state="FINISHED", outcome="SUCCEEDED", wave=1)
    hub = Answers(
        monkeypatch,
        {
            "r-1": [view(), view(), view(), done],
            "gates": [
                {"items": [look(1)], "next": "0:1"},
                {"items": [look(2)], "next": None},
                {"items": [look(2)], "next": None},
                {"items": [look(2, "PASS")], "next": None},
                {"items": [], "next": None},
            ],
        },
    )
    result = argosy("watch", "r-1", "--json")
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert result.exit_code == 0
    assert [line["gate"] and line["gate"]["verdict"] for line in lines] == [
        "INCONCLUSIVE", "PASS", None,
    ]  # fmt: skip
    asked_of_gates = [body for _, path, body in hub.sent if path.endswith("gates")]
    assert asked_of_gates == [
        {"wave": "0"},
        {"wave": "0", "cursor": "0:1"},
        {"wave": "0", "cursor": "0:1"},
        {"wave": "0", "cursor": "0:1"},
        {"wave": "1"},
    ]


def test_where_nobody_looks_at_a_terminal_what_is_new_is_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waves = [
        {"gated": True, "devices": 4, "counts": {"SUCCEEDED": 3, "FAILED": 1}},
        view()["waves"][1],
    ]
    hub = {
        "r-1": [
            view(),
            view(reason="soaks"),
            view(waves=waves, asks="GATE"),
            view(waves=waves, asks="GATE"),
            view(waves=waves, state="PAUSED", reason="1 device failed"),
        ],
        "gates": [{"items": [look(n)], "next": None} for n in (1, 1, 2, 3)],
    }
    Answers(monkeypatch, hub)
    lines = [line[len("00:00:00 ") :] for line in argosy("watch", "r-1").output.splitlines()]
    told = "gate of wave 1, look {}: INCONCLUSIVE  too few frames"
    wave = "wave 1 of 2 · {} of 10 devices have ended"
    for line, begin in zip(
        lines,
        (
            f"caps v1  RUNNING · {wave.format(2)}: 2 PROVING, 6 QUEUED, 2 SUCCEEDED",
            told.format(1),
            f"caps v1  RUNNING  soaks · {wave.format(2)}",
            f"caps v1  RUNNING · {wave.format(4)}: 1 FAILED, 6 QUEUED, 3 SUCCEEDED",
            told.format(2),
            "an approver is asked whether the wave may pass",
            told.format(3),
            f"caps v1  PAUSED  1 device failed · {wave.format(4)}",
            "it is paused: `argosy rollout resume r-1`",
        ),
        strict=True,
    ):
        assert line.startswith(begin), line


def test_a_report_tells_the_record_and_saves_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Answers(monkeypatch, {"evidence": [told()], "evidence.html": ["page"]})
    said = argosy("report", "r-1").output
    for words in (
        "1 are back at what they had, 1 are not",
        "dev-1/east",
        "not reverted",
        "go, the",
    ):
        assert words in said, words
    assert json.loads(argosy("report", "r-1", "--json").output)["id"] == "r-1"
    out = tmp_path / "page.html"
    assert argosy("report", "r-1", "--out", str(out)).exit_code == 0
    assert out.read_bytes() == b'"page"'
    refused = argosy("report", "r-1", "--out", str(tmp_path / "none" / "x")).exception
    assert isinstance(refused, CommandError)
