"""Tables in a narrow terminal: what is typed into the next command stays whole."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.cli.client import CommandError, show_error
from cloud.cli.output import print_fields, print_table

ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("column", ["id", "evidence", "job"])
def test_ids_are_whole_in_80_columns(column: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = {column: ID, "subject": "model/boards/12", "state": "SUCCEEDED", "error": "words " * 20}
    print_table([row], (column, "kind", "subject", "state", "attempt", "error", "created_at"))
    said = capsys.readouterr().out
    assert ID in said
    assert max(map(len, said.splitlines())) <= 80


def test_a_longer_id_goes_on_in_the_next_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"id": "q" * 64, "state": "online"}], ("id", "site", "state", "a", "b", "c", "d"))
    said = capsys.readouterr().out
    assert said.count("q") == 64
    assert "online" in said


def test_digests_are_cut_to_twelve_digits_and_no_further(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"digest": "ab" * 32, "reason": "words " * 40}
    print_table([row], ("a", "b", "c", "d", "e", "f", "g", "reason", "digest"))
    said = capsys.readouterr().out
    assert " abababababab " in said
    assert "ab" * 7 not in said


def test_a_field_that_is_too_long_for_its_line_goes_on_in_the_next(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_fields({"id": ID, "remedy": "x" * 150})
    said = capsys.readouterr().out
    assert ID in said
    assert said.count("x") == 150


def test_what_is_shown_moves_no_cursor_and_turns_no_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "a\x1b[2J\x9b1m\u202eb\rc"
    print_table([{"text": text}], ("text",))
    print_fields({"text": text, "more": {"k\x1b": [text]}})
    said = capsys.readouterr().out
    assert not set(said) & set("\x1b\x9b\u202e\r")
    assert said.count("a\ufffd[2J\ufffd1m\ufffdb\ufffdc") == 3


def test_many_classes_are_counted_and_the_first_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"class-{n}" for n in range(80)]
    print_table([{"name": "caps", "class_names": names}], ("name", "class_names"))
    print_fields({"facts": {"class_names": names}, "few": {"class_names": names[:2]}})
    said = capsys.readouterr().out
    assert said.count("80: class-0, class-1, class-2, class-3, …") == 2
    assert "class_names=class-0, class-1" in said


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        (
            {"id": ID, "kind": "build-gpu", "subject": "model/boards/12", "state": "SUCCEEDED",
             "error": "words " * 20},
            ("id", "kind", "subject", "state", "error"),
        ),
        (
            {"id": ID, "model": "boards", "dataset": "boards 3", "state": "PREPARING"},
            ("id", "model", "dataset", "state", "version"),
        ),
        (
            {"id": ID, "alias": "production", "version": 12, "against": 11,
             "verdict": "INCONCLUSIVE"},
            ("id", "alias", "version", "against", "verdict"),
        ),
        (
            {"device": "line-1", "wave": 1, "target": "openvino-int8-1280x1280",
             "digest": "ab" * 32, "fallbacks": 3, "reason": "words " * 9},
            ("device", "wave", "target", "digest", "fallbacks", "reason"),
        ),
        (
            {"v": 12, "state": "EVALUATED", "aliases": ["production"], "builds": 7,
             "map50": "0.812", "50_95": "0.543", "dataset": "boards 3", "parent": 11},
            ("v", "state", "aliases", "builds", "map50", "50_95", "dataset", "parent"),
        ),
    ],
)  # fmt: skip
def test_words_that_are_looked_for_are_whole_in_80_columns(
    row: dict[str, Any], columns: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    print_table([row], columns)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    for column in columns:
        value = row.get(column, "-")
        if column not in ("error", "reason", "digest", "aliases"):
            assert str(value) in said


@pytest.mark.parametrize(
    ("said", "shows"),
    [("[/x] is gone", "[/x] is gone"), ("[red]x", "[red]x"), ("a\x1b[2J", "a\ufffd[2J")],
)
def test_an_error_is_shown_as_it_is_and_does_nothing_to_the_terminal(
    said: str, shows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_error(CommandError(said, f"look at {said}"))
    assert capsys.readouterr().err == f"error: {shows}\n  look at {shows}\n"
