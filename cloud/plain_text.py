"""Text from outside that does nothing to a terminal, nor to the order in which it is read. Pure."""

from __future__ import annotations

import re

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# C0 and C1 controls, and the embeddings, overrides and isolates of UAX #9, which make text read
# in another order than it has.
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LINES_AND_TABS = re.compile(r"\r?\n|\t")


def plain(text: str) -> str:
    """`text` as it is; it may have lines and tabs.

    Raises:
        ValueError: it holds another control character, or one that turns its direction.
    """
    one_line(_LINES_AND_TABS.sub("", text))
    return text


def one_line(text: str) -> str:
    """`text` as it is. Raises ValueError as `plain`, and where it has lines or tabs."""
    found = _REFUSED.search(text)
    if found is not None:
        raise ValueError(f"U+{ord(found.group()):04X} is a control character, not text")
    return text


def shown(text: str) -> str:
    """`text` with what `plain` refuses replaced, for showing what came in some other way."""
    return "\n".join(
        "\t".join(_REFUSED.sub(REPLACEMENT, part) for part in line.split("\t"))
        for line in text.replace("\r\n", "\n").split("\n")
    )
