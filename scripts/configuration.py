"""docs/configuration.md: every table and key of agent.toml, from the models that read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from edge_agent.config import AgentConfig

Schema = dict[str, Any]

INTRO = """`argosy device enrol` writes a first `agent.toml`; the rest is yours to add. Unknown keys
and values out of bounds are refused with the line at fault. Every limit has its unit in its
name: `_s` seconds, `_ms` milliseconds, `_bytes` bytes, `_share` 0 to 1, `_px` pixels. Relative
paths are relative to the file's own folder."""


def configuration_page(generated: str) -> str:
    """The reference of agent.toml."""
    schema = AgentConfig.model_json_schema()
    lines = ["# agent.toml", "", generated, "", INTRO]
    for name, spec in schema["properties"].items():
        many = spec.get("type") == "array"
        for table in _tables(spec["items"] if many else spec, schema):
            heading = f"[[{name}]]" if many else f"[{name}]"
            kind = table["properties"].get("type", {}).get("const")
            lines += ["", f"## `{heading}`" + (f' with `type = "{kind}"`' if kind else ""), ""]
            lines += _table(table, schema)
    return "\n".join(lines) + "\n"


def _tables(spec: Schema, schema: Schema) -> Iterator[Schema]:
    """The tables that a key may hold: one, or one for each `type`."""
    options = spec.get("oneOf") or spec.get("anyOf") or [spec]
    for option in options:
        found = _resolved(option, schema)
        if "properties" in found:
            yield found


def _table(table: Schema, schema: Schema) -> list[str]:
    about = table.get("description", "").split("\n\nAttributes:")[0].strip()
    lines = [about, ""] if about else []
    lines += ["| key | value | default |", "|---|---|---|"]
    required = set(table.get("required", ()))
    for key, spec in table["properties"].items():
        default = "needed" if key in required else _default(spec)
        lines.append(f"| `{key}` | {_value(spec, schema)} | {default} |")
    return lines


def _default(spec: Schema) -> str:
    value = spec.get("default")
    return "" if value is None else f"`{json.dumps(value)}`"


def _value(spec: Schema, schema: Schema) -> str:
    match _resolved(spec, schema):
        case {"const": value}:
            text = f"`{json.dumps(value)}`"
        case {"enum": list(values)}:
            text = ", ".join(f"`{value}`" for value in values)
        case {"anyOf": list(options)}:
            text = " or ".join(_value(o, schema) for o in options if o.get("type") != "null")
        case {"prefixItems": list(items)}:
            text = "[" + ", ".join(_value(item, schema) for item in items) + "]"
        case {"type": "array", "items": dict(items)}:
            text = f"list of {_value(items, schema)}"
        case {"properties": dict(keys)}:
            text = "table of " + ", ".join(f"`{key}`" for key in keys)
        case {"additionalProperties": dict(values)}:
            text = f"table to {_value(values, schema)}"
        case {"type": str(kind), **bounds}:
            text = f"{_NAMES.get(kind, kind)}{_bounds(bounds)}"
        case _:
            text = "any"
    return text


_NAMES = {"string": "text", "integer": "whole number", "boolean": "true or false"}
_BOUNDS = (
    ("exclusiveMinimum", "> "),
    ("minimum", ">= "),
    ("exclusiveMaximum", "< "),
    ("maximum", "<= "),
)


def _bounds(spec: Schema) -> str:
    found = [f"{sign}{spec[key]:g}" for key, sign in _BOUNDS if key in spec]
    return f" ({', '.join(found)})" if found else ""


def _resolved(spec: Schema, schema: Schema) -> Schema:
    reference = spec.get("$ref", "")
    if reference.startswith("#/$defs/"):
        found: Schema = schema["$defs"][reference.removeprefix("#/$defs/")]
        return found
    return spec
