"""What every table of agent.toml is made of, and the values that its keys share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024
PRINTABLE = r"^[!-~]+$"

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Port = Annotated[int, Field(ge=1, le=65_535)]
PositiveS = Annotated[float, Field(gt=0, le=86_400)]
LongS = Annotated[float, Field(gt=0, le=90 * 86_400)]
Bytes = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of agent.toml: frozen, finite numbers, no unknown keys."""

    # Built once, as a part of the whole file's model, and not each for itself at the start.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class MisplacedError(ValueError):
    """What a table's validator found in a part of it; `loc` leads there from that table."""

    def __init__(self, loc: tuple[int | str, ...], text: str) -> None:
        super().__init__(text)
        self.loc = loc


AnySection = TypeVar("AnySection", bound=Section)


def rooted(section: AnySection, base: Path) -> AnySection:
    """The same table with its relative paths seen from the folder `base`."""
    paths = {
        name: base / value.expanduser()
        for name in type(section).model_fields
        if isinstance(value := getattr(section, name), Path)
    }
    return section.model_copy(update=paths)
