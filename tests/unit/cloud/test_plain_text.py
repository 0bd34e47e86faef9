"""Text from outside: what is refused, and what is shown in its place."""

from __future__ import annotations

import pytest

from cloud.plain_text import one_line, plain, shown


@pytest.mark.parametrize(
    "text", ["a\x00", "\x1b[2J", "\x7f", "\x9b1m", "x\u202ey", "\u2066", "a\rb"]
)
def test_controls_are_refused_and_replaced(text: str) -> None:
    for check in (plain, one_line):
        with pytest.raises(ValueError, match="control character"):
            check(text)
    assert plain(shown(text)) == shown(text)
    assert len(shown(text)) == len(text)


@pytest.mark.parametrize("text", ["Kratzer, tief", "خدش", "傷 ✓", "a\u200db"])
def test_words_of_any_language_stay_as_they_are(text: str) -> None:
    assert one_line(text) == plain(text) == shown(text) == text


def test_lines_and_tabs_are_text_and_no_names() -> None:
    assert plain("a\tb\r\nc\n") == "a\tb\r\nc\n"
    assert shown("a\tb\r\nc\n") == "a\tb\nc\n"
    for text in ("a\tb", "a\nb"):
        with pytest.raises(ValueError, match="control character"):
            one_line(text)
