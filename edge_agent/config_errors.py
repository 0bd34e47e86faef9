"""What is wrong with an agent.toml: line, key, value and remedy. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edge_agent.config_lines import nearest_line
from edge_agent.section import MisplacedError, Section

Location = tuple[int | str, ...]

TAG_ERRORS = frozenset({"union_tag_not_found", "union_tag_invalid"})
SECRET_KEYS = frozenset({"token", "password"})


def problems(error: ValidationError, model: type[Section], name: str, text: str) -> list[str]:
    """A line for each bad key of the file `name`, whose content is `text`."""
    found = [_placed(item) for item in _causes(error.errors(include_url=False))]
    return [f"{name}{_line(text, item['loc'])}: {_explain(item, model)}" for item in found]


def _causes(found: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without what only follows from another: of cameras that are refused none are left."""
    return [e for e in found if e["type"] != "too_short" or not _has_inner(e["loc"], found)]


def _has_inner(loc: Location, found: list[ErrorDetails]) -> bool:
    return any(e["loc"] != loc and e["loc"][: len(loc)] == loc for e in found)


def _placed(item: ErrorDetails) -> ErrorDetails:
    """The same at the key that is at fault, which may lie within the table that was judged."""
    if item["type"] in TAG_ERRORS:
        return {**item, "loc": (*item["loc"], "type")}
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, MisplacedError):
        return {**item, "loc": (*item["loc"], *cause.loc)}
    return item


def _line(text: str, loc: Location) -> str:
    """ ":17", or nothing where the place is not known."""
    line = nearest_line(text, loc)
    return "" if line is None else f":{line}"


def _explain(item: ErrorDetails, model: type[Section]) -> str:
    loc, value, message = item["loc"], item["input"], item["msg"]
    key = ".".join(str(part) for part in loc) or "the whole"
    if item["type"] == "missing":
        return f"{key}: is missing; add it"
    if item["type"] in TAG_ERRORS:
        given = value.get("type") if isinstance(value, dict) else None
        wrong = "is missing" if given is None else f"there is no type {given!r:.80}"
        return f"{key}: {wrong}; write one of {', '.join(_types(loc[:-1], model))}"
    shown = "(hidden)" if loc and loc[-1] in SECRET_KEYS else repr(value)[:80]
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(loc[-1]), _known_keys(loc[:-1], model), n=1)
        remedy = f"did you mean {near[0]}?" if near else "remove it"
        return f"{key}: unknown key (value {shown}); {remedy}"
    if isinstance(value, dict):
        return f"{key}: {message}"
    return f"{key}: {message} (value {shown}); correct it"


def _known_keys(loc: Location, model: type[Section]) -> list[str]:
    """The keys of the table at `loc`; between keys stand indices and the `type` of a table."""
    return [key for one in _tables(loc, model) for key in one.model_fields]


def _types(loc: Location, model: type[Section]) -> list[str]:
    """What `type` may be in the table at `loc`."""
    return sorted(t for one in _tables(loc, model) for t in get_args(_field(one, "type")))


def _tables(loc: Location, model: type[Section]) -> list[type[Section]]:
    here = [model]
    for part in loc:
        if not isinstance(part, str):
            continue
        inside = [s for one in here for s in _sections(_field(one, part))]
        here = inside or [one for one in here if part in get_args(_field(one, "type"))] or here
    return here


def _field(model: type[Section], name: str) -> Any:
    field = model.model_fields.get(name)
    return None if field is None else field.annotation


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """The tables that a key of this type can hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)
