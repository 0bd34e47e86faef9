"""On which line of a TOML text a key stands. Pure; for messages about a value at fault.

A parser gives values without places, and those that keep places cost more than the whole
agent's start. The text was parsed already when this is asked, so this only follows TOML's
outline (headers, keys, brackets, strings) and gives up quietly where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

Key = tuple[str, ...]
Path = tuple[int | str, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_SCALAR = re.compile(r"[^\s,\]}#]+(?: [^\s,\]}#]+)*")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|.)")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


def line_of(text: str, path: Path) -> int | None:
    """The line, from 1, on which the key at `path` stands; None where the text has none.

    A path is made of keys and, for arrays, indices: ("cameras", 1, "fps_max"). A table
    stands where it is first named.
    """
    return _lines(text).get(path)


def nearest_line(text: str, path: Path) -> int | None:
    """The line of `path`, or of the innermost part of it that the text has.

    A key that is missing is so placed at its table. Parts that the text does not have are
    passed over: a validator may name the variant of a union between two keys.
    """
    lines = _lines(text)
    found: Path = ()
    line: int | None = None
    for part in path:
        if (*found, part) in lines:
            found = (*found, part)
            line = lines[found]
    return line


def _lines(text: str) -> dict[Path, int]:
    scanner = _Scanner(text)
    with suppress(_LostError):
        scanner.document()
    return scanner.lines


class _LostError(Exception):
    """The text is no TOML from here on."""


class _Scanner:
    """Walks through a TOML text and notes where each path is first named."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._line, self._counted = 1, 0
        self._arrays: dict[Path, int] = {}
        self.lines: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while self._next() is not None:
            if self._take("[["):
                table = self._header(self._key("]]"), is_array=True)
            elif self._take("["):
                table = self._header(self._key("]"), is_array=False)
            else:
                self._pair(table)

    def _header(self, key: Key, *, is_array: bool) -> Path:
        path: Path = ()
        for part in key[:-1]:
            path = self._inside((*path, part))
        path = (*path, key[-1])
        if not is_array:
            return self._inside(path)
        self._note(path)
        index = self._arrays[path] = self._arrays.get(path, -1) + 1
        self._note((*path, index))
        return (*path, index)

    def _inside(self, path: Path) -> Path:
        """Note a table; of an array of tables its last element is meant."""
        self._note(path)
        return (*path, self._arrays[path]) if path in self._arrays else path

    def _pair(self, table: Path) -> None:
        path = table
        for part in self._key("="):
            path = (*path, part)
            self._note(path)
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._take("["):
            for index in self._elements("]"):
                self._note((*path, index))
                self._value((*path, index))
        elif self._take("{"):
            for _ in self._elements("}"):
                self._pair(path)
        elif not any(self._skip(string) for string in _STRINGS) and not self._skip(_SCALAR):
            raise _LostError

    def _elements(self, end: str) -> Iterator[int]:
        """Stand before each element in turn, until `end` is passed."""
        index = 0
        while self._next() is not None:
            if self._take(end):
                return
            yield index
            index += 1
            self._next()
            self._take(",")
        raise _LostError

    def _key(self, end: str) -> Key:
        """A dotted key and the `end` behind it; the line stays the key's."""
        parts: list[str] = []
        while True:
            self._skip(_BLANK)
            parts.append(self._part())
            self._skip(_BLANK)
            if self._take(end):
                return tuple(parts)
            if not self._take("."):
                raise _LostError

    def _part(self) -> str:
        bare = self._skip(_BARE)
        if bare:
            return bare
        quoted = self._skip(_STRINGS[2])
        if quoted:
            return _ESCAPE.sub(_unescape, quoted[1:-1])
        quoted = self._skip(_STRINGS[3])
        if not quoted:
            raise _LostError
        return quoted[1:-1]

    def _note(self, path: Path) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        self.lines.setdefault(path, self._line)

    def _next(self) -> str | None:
        """The character behind blanks, line ends and comments; None at the end."""
        self._skip(_SPACE)
        return self._text[self._at] if self._at < len(self._text) else None

    def _take(self, expected: str) -> bool:
        found = self._text.startswith(expected, self._at)
        self._at += len(expected) * found
        return found

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)
