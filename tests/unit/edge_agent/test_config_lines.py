from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config_lines import line_of, nearest_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = '''\
# the device
[device]
id = "line-1"  # [not] = a header
"data_dir" = 'C:\\[x] = 1'
limits.bytes_max = 5
notes = """
[cameras]
id = "no key"
ends with a quote """"

[[cameras]]
id = "a"
zones = [
  # a comment with ] and "
  { name = "one", at = [1, 2] },

  { name = "two", "b.c" = { d = 1979-05-27 07:32:00 } },
]

[[cameras]]
id = "b"
fps_max = 0

[cameras.crop]
x = 1

[[ cameras . "zo\\u006ees" ]]
name = "three"
['hub'.x]
'''
PLACES = {
    ("device",): 2,
    ("device", "id"): 3,
    ("device", "data_dir"): 4,
    ("device", "limits"): 5,
    ("device", "limits", "bytes_max"): 5,
    ("device", "notes"): 6,
    ("cameras",): 11,
    ("cameras", 0): 11,
    ("cameras", 0, "zones"): 13,
    ("cameras", 0, "zones", 0, "at", 1): 15,
    ("cameras", 0, "zones", 1): 17,
    ("cameras", 0, "zones", 1, "b.c", "d"): 17,
    ("cameras", 1): 20,
    ("cameras", 1, "fps_max"): 22,
    ("cameras", 1, "crop", "x"): 25,
    ("cameras", 1, "zones", 0, "name"): 28,
    ("hub", "x"): 29,
    ("cameras", 2): None,
    ("device", "no key"): None,
    ("name",): None,
}


def paths(value: Any, at: tuple[int | str, ...] = ()) -> list[tuple[int | str, ...]]:
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [p for key, child in children for p in ((*at, key), *paths(child, (*at, key)))]


def test_each_key_stands_where_it_was_written() -> None:
    assert {path: line_of(TEXT, path) for path in PLACES} == PLACES


def test_every_key_of_the_parsed_text_has_a_line() -> None:
    assert [p for p in paths(tomllib.loads(TEXT)) if line_of(TEXT, p) is None] == []


def test_what_is_missing_is_placed_at_its_table() -> None:
    assert nearest_line(TEXT, ("cameras", 1, "source")) == 20
    assert nearest_line(TEXT, ("cameras", 1, "a variant", "crop", "x")) == 25
    assert nearest_line(TEXT, ("mqtt", "host")) is None


@given(st.text(alphabet="[]{}=.,\"'#\\\n ab1", max_size=60))
def test_any_text_is_survived(text: str) -> None:
    assert line_of(text, ("a",)) in {None, *range(1, text.count("\n") + 2)}


KEYS = st.text(min_size=1, max_size=4) | st.sampled_from(["a", "b-c", "1", "a.b", "x]", "#"])
SCALARS = st.one_of(
    st.integers(-9, 9),
    st.booleans(),
    st.text(max_size=6),
    st.sampled_from(["[x]", "a = 1", "# no", "'", '"""', "\n[t]\n"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass
class Writer:
    """Writes a document as TOML in ways that `draw` chooses, and notes each key's line."""

    draw: Any
    text: str = ""
    lines: dict[tuple[int | str, ...], int] = field(default_factory=dict)

    def note(self, path: tuple[int | str, ...]) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def key(self, key: str) -> None:
        quote = self.draw(st.booleans()) or not (key.isascii() and key.isalnum())
        self.text += quoted(key) if quote else key

    def break_line(self) -> None:
        self.text += self.draw(st.sampled_from(["", " ", "\n", " # ] } \" '\n\n"]))

    def value(self, path: tuple[int | str, ...], value: Any) -> None:
        if isinstance(value, dict):
            self.text += "{ "
            for number, (key, child) in enumerate(value.items()):
                self.text += ", " * bool(number)
                self.pair(path, key, child)
            self.text += " }"
        elif isinstance(value, list):
            self.text += "["
            for index, child in enumerate(value):
                self.break_line()
                self.note((*path, index))
                self.value((*path, index), child)
                self.text += ","
            self.break_line()
            self.text += "]"
        elif isinstance(value, str) and "\\" not in value and self.draw(st.booleans()):
            self.text += '"""\n' + quoted(value)[1:-1].replace("\\n", "\n") + '"""'
        else:
            self.text += quoted(value)

    def pair(self, path: tuple[int | str, ...], key: str, value: Any) -> None:
        self.note((*path, key))
        self.key(key)
        self.text += " = "
        self.value((*path, key), value)

    def table(self, path: tuple[int | str, ...], header: list[str], table: dict[str, Any]) -> None:
        """The plain keys first, then the tables within, each with a header of its own."""
        nested = [k for k, v in table.items() if self.is_headed(v)]
        for key, value in table.items():
            if key not in nested:
                self.break_line()
                self.pair(path, key, value)
                self.text += "\n"
        for key in nested:
            value = table[key]
            if isinstance(value, dict):
                self.header((*path, key), [*header, key], ("[", "]"))
                self.table((*path, key), [*header, key], value)
                continue
            for index, element in enumerate(value):
                self.header((*path, key, index), [*header, key], ("[[", "]]"))
                self.lines.setdefault((*path, key), self.lines[(*path, key, index)])
                self.table((*path, key, index), [*header, key], element)

    def header(
        self, path: tuple[int | str, ...], keys: list[str], brackets: tuple[str, str]
    ) -> None:
        self.break_line()
        self.note(path)
        self.text += brackets[0]
        for number, key in enumerate(keys):
            self.text += " . " * bool(number)
            self.key(key)
        self.text += brackets[1] + "\n"

    def is_headed(self, value: Any) -> bool:
        tables = isinstance(value, dict) or (
            isinstance(value, list) and value and all(isinstance(v, dict) for v in value)
        )
        return bool(tables) and bool(self.draw(st.booleans()))


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.data())
def test_however_it_is_written_each_key_is_found(document: dict[str, Any], data: Any) -> None:
    writer = Writer(data.draw)
    writer.table((), [], document)
    assert tomllib.loads(writer.text) == document
    assert {p: line_of(writer.text, p) for p in writer.lines} == writer.lines
