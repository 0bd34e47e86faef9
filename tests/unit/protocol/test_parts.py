from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from protocol.messages import Text, as_text
from protocol.parts import TEXT_MAX

TEXT: TypeAdapter[str] = TypeAdapter(Text)


@given(st.text(st.characters(), max_size=40), st.integers(0, 100))
def test_whatever_was_said_fits_a_text(words: str, times: int) -> None:
    told = as_text(words * times)
    assert TEXT.validate_python(told) == told
    assert as_text(told) == told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("caf\u00e9.jpg", "caf\u00e9.jpg"),
        ("caf\udce9.jpg", "caf\\udce9.jpg"),
        (OSError("half a pair: \ud83d"), "half a pair: \\ud83d"),
        ("x" * (TEXT_MAX + 1), "x" * TEXT_MAX),
        ("\udce9" * TEXT_MAX, ("\\udce9" * TEXT_MAX)[:TEXT_MAX]),
    ],
)
def test_what_is_no_unicode_is_spelled_out_and_what_is_too_long_is_cut(
    words: object, told: str
) -> None:
    assert as_text(words) == told
