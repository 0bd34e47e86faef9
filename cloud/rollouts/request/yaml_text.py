"""YAML from outside: read as plain values, bounded, refused with a line and a remedy."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from cloud.errors import InvalidError

if TYPE_CHECKING:
    import yaml

YAML_BYTES_MAX = 1024 * 1024
QUOTE = "an anchor or an alias; quote a value that begins with * or &"
EXAMPLE = 'begin with "model: caps" and "version: 7"; `argosy rollout template` writes a whole one'
_TAG = "tag:yaml.org,2002:"
_CORE = (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)
"""What a plain value is by the core schema of YAML 1.2 (its chapter 10.3): kind, all of its text,
what it begins with. All else is text: a yes, a date, a 1:30."""
_BASES = {"0o": 8, "0x": 16}


def mapping(text: str) -> dict[str, Any]:
    """The mapping that `text` is.

    Raises InvalidError: it is over YAML_BYTES_MAX, no YAML, no mapping at its top, nested too
    deep, or it has a key twice, a tag, or an anchor or alias, by which a small text
    becomes a huge value.
    """
    import yaml

    if len(text) > YAML_BYTES_MAX or len(text.encode(errors="replace")) > YAML_BYTES_MAX:
        raise InvalidError(
            f"the file is over {YAML_BYTES_MAX} bytes",
            "name devices by a selector or a group, not one by one",
        )
    try:
        found = yaml.load(text, Loader=_loader())  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise InvalidError(f"the file is refused: {_place(error)}", EXAMPLE) from error
    except (ValueError, OverflowError) as error:
        raise InvalidError(f"the file has a value that cannot be read: {error}", EXAMPLE) from error
    except RecursionError as error:
        raise InvalidError("the file is nested too deep", EXAMPLE) from error
    if not isinstance(found, dict):
        raise InvalidError("the file is no mapping of fields to values", EXAMPLE)
    wrong = [key for key in found if not isinstance(key, str)]
    if wrong:
        raise InvalidError(f"{wrong[0]!r} is no field", EXAMPLE)
    return found


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None) or ""
    if context.endswith(("an alias", "an anchor")):
        said = QUOTE
    return said if mark is None else f"line {mark.line + 1}: {said}"


def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Plain(yaml.SafeLoader):
        """A SafeLoader that takes neither anchors, tags nor a key twice."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            if getattr(event, "anchor", None) is not None:
                raise yaml.composer.ComposerError(None, None, QUOTE, event.start_mark)
            if getattr(event, "tag", None) is not None:
                raise yaml.composer.ComposerError(
                    None, None, "a tag; write plain values", event.start_mark
                )
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen = set()
            for key in (key for key, _ in node.value if isinstance(key.value, str)):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} comes twice", key.start_mark
                    )
                seen.add(key.value)
            return super().construct_mapping(node, deep=deep)

        def construct_int(self, node: yaml.ScalarNode) -> int:
            return int(node.value, _BASES.get(node.value[:2], 10))

    Plain.yaml_implicit_resolvers = {}
    for kind, shape, firsts in _CORE:
        whole = re.compile(rf"(?:{shape})\Z")
        Plain.add_implicit_resolver(_TAG + kind, whole, firsts)
    Plain.add_constructor(_TAG + "int", Plain.construct_int)
    return Plain
