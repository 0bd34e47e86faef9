"""What messages are made of: the types of their fields, and the model of a piece of one."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

SEQUENCE_MAX = 2**53 - 1
TEXT_MAX = 2048

DeviceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Word = Annotated[str, Field(min_length=1, max_length=128)]
Text = Annotated[str, Field(max_length=TEXT_MAX)]
Epoch = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Sequence = Annotated[int, Field(ge=1, le=SEQUENCE_MAX)]
UnixSeconds = Annotated[float, Field(ge=0)]
Score = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A piece of a message: frozen, finite numbers, unknown fields kept."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


def as_text(words: object) -> str:
    """What a Text can carry of words from outside, such as an error's: what is no Unicode, as
    bytes of a file's name in another encoding, is spelled out, and what is too long is cut."""
    said = str(words)[:TEXT_MAX]
    return said.encode("utf-8", "backslashreplace").decode()[:TEXT_MAX]
