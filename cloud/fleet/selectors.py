"""Which devices are meant: a small language over their site, id and labels. Pure.

`site=osaka,line in (a,b),!maintenance`: all terms hold, as Kubernetes' label selectors are read:

    key=value  key!=value  key in (a,b)  key notin (a,b)  key (it has it)  !key (it has it not)

A device without the key fits `!=` and `notin`. The keys `site`, `device` and `group` are the
hub's own: `group=pilot` is whatever the group's selector names now. A value with other characters
than letters, digits and ``. _ - / : @ +`` is put in double quotes, in which ``\\`` stands before
a quote or another ``\\``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from cloud.errors import InvalidError

if TYPE_CHECKING:
    from lark import Lark

SITE, DEVICE, GROUP = "site", "device", "group"
HUB_KEYS = (SITE, DEVICE, GROUP)
TERMS_MAX = 64
VALUES_MAX = 1000
REMEDY = 'write terms like site=osaka,line in (a,b),!maintenance; quote odd values: name="hall 2"'

_GRAMMAR = r"""
    start: [term ("," term)*]
    term: text ("=" | "==") text        -> equal
        | text "!=" text                -> unequal
        | text "in" "(" values ")"      -> one_of
        | text "notin" "(" values ")"   -> none_of
        | text                          -> present
        | "!" text                      -> absent
    values: text ("," text)*
    text: WORD | QUOTED | "in" -> in_word | "notin" -> notin_word
    WORD: /[A-Za-z0-9_][A-Za-z0-9._\/:@+-]*/
    QUOTED: /"([^"\\]|\\["\\])*"/
    %import common.WS
    %ignore WS
"""


_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/:@+-]*")
_OPERATORS = ("in", "notin")
_ESCAPED = re.compile(r'\\(["\\])')


@dataclass(frozen=True)
class Term:
    """One condition. `wanted`: whether the key has to have one of `values`, or must not; without
    values, whether it has to be there at all."""

    key: str
    wanted: bool
    values: frozenset[str] = frozenset()


Selector = tuple[Term, ...]
"""All terms hold; none: every device."""


def parse(text: str, field: str = "selector") -> Selector:
    """The selector that `text` says. Raises InvalidError that names `field` and the place."""
    from lark.exceptions import UnexpectedInput

    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        ended = getattr(getattr(error, "token", None), "type", "") == "$END"
        at = len(text) if ended or error.pos_in_stream is None else error.pos_in_stream
        found = repr(text[at : at + 20]) if 0 <= at < len(text) else "the end"
        raise InvalidError(f"{field}: cannot be read at {found}", REMEDY) from error
    terms = tuple(_term(node) for node in tree.children if node is not None)
    if any(term.key == GROUP and not term.values for term in terms):
        raise InvalidError(f"{field}: it speaks of groups and names none", "write group=NAME")
    if len(terms) > TERMS_MAX or any(len(term.values) > VALUES_MAX for term in terms):
        raise InvalidError(
            f"{field}: more than {TERMS_MAX} terms, or {VALUES_MAX} values in one",
            "name a group instead, `argosy group create`",
        )
    return terms


def text_of(selector: Selector) -> str:
    """A text that `parse` reads as this selector."""
    return ",".join(map(_term_text, selector))


def is_word(text: str) -> bool:
    """Whether a selector names this without quotes."""
    return _WORD.fullmatch(text) is not None and text not in _OPERATORS


def fits(
    selector: Selector, attributes: Mapping[str, str], groups: Mapping[str, Selector] | None = None
) -> bool:
    """Whether a device with these attributes (labels, `site`, `device`) is meant.

    groups: what the groups that are named in `selector` stand for; an unknown one has no device.
    """
    return all(_holds(term, attributes, groups or {}) for term in selector)


def groups_named(selector: Selector) -> frozenset[str]:
    """The groups that a selector speaks of."""
    return frozenset().union(*(term.values for term in selector if term.key == GROUP))


def _term_text(term: Term) -> str:
    key = _written(term.key)
    if not term.values:
        return key if term.wanted else f"!{key}"
    values = [_written(value) for value in sorted(term.values)]
    if len(values) == 1:
        return f"{key}{'=' if term.wanted else '!='}{values[0]}"
    return f"{key} {'in' if term.wanted else 'notin'} ({','.join(values)})"


def _written(text: str) -> str:
    if is_word(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _holds(term: Term, attributes: Mapping[str, str], groups: Mapping[str, Selector]) -> bool:
    if term.key == GROUP:
        inside = any(name in groups and fits(groups[name], attributes) for name in term.values)
        return inside is term.wanted
    if not term.values:
        return (term.key in attributes) is term.wanted
    return (attributes.get(term.key) in term.values) is term.wanted


def _term(node: Any) -> Term:
    key, *rest = node.children
    kind = node.data
    if kind in ("present", "absent"):
        return Term(_text(key), kind == "present")
    listed = rest[0].children if kind in ("one_of", "none_of") else rest
    values = frozenset(_text(value) for value in listed)
    return Term(_text(key), kind in ("equal", "one_of"), values)


def _text(node: Any) -> str:
    if node.data in ("in_word", "notin_word"):
        return str(node.data).removesuffix("_word")
    token = node.children[0]
    return _ESCAPED.sub(r"\1", token[1:-1]) if token.type == "QUOTED" else str(token)


@cache
def _parser() -> Lark:
    from lark import Lark

    return Lark(_GRAMMAR, parser="lalr", lexer="contextual", maybe_placeholders=False)
