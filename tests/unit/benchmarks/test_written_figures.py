"""A run of some rows changes docs/benchmarks.md in those rows only."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.__main__ import revised

TEXT = """# Benchmarks

| row | figure | goal | holds |
|---|---|---|---|
| `a.first` | 1 ratio | >= 1 | yes |
| `c.third` | 3 ratio | >= 1 | yes |

- `a.first`: measured in May
- `c.third`: measured in June

By hand: another machine.
"""


def result(name: str, value: float | None, note: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": "ratio",
        "goal": ">= 1",
        "holds": None if value is None else True,
        "detail": {"note": note} if note else {},
    }


def test_a_figure_takes_the_place_of_its_older_one_and_of_its_note() -> None:
    found = revised(TEXT, [result("c.third", 4.0, "measured in July")])
    assert found == TEXT.replace("3 ratio", "4 ratio").replace("June", "July")
    bare = revised(TEXT, [result("c.third", 4.0)])
    assert "June" not in bare and "measured in May" in bare


def test_a_new_row_stands_among_the_others_by_its_name() -> None:
    found = revised(TEXT, [result("b.second", 2.0, "new"), result("a.zeroth", 0.5, "newer")])
    names = [line.split("`")[1] for line in found.splitlines() if line.startswith("| `")]
    notes = [line.split("`")[1] for line in found.splitlines() if line.startswith("- `")]
    assert names == notes == ["a.first", "a.zeroth", "b.second", "c.third"]
    assert found.endswith("\n\nBy hand: another machine.\n")


def test_what_could_not_be_measured_takes_no_figure_away() -> None:
    assert revised(TEXT, [result("a.first", None)]) == TEXT
    assert "| `b.second` | not measured |" in revised(TEXT, [result("b.second", None)])
