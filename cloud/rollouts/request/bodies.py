"""What the bodies of rollouts' requests are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=30 * 86_400)]
Percent = Annotated[float, Field(ge=0, le=100)]
Reaction = Literal["pause", "abort", "revert"]
"""What follows: wait for a person; give up what has not been exchanged and keep the rest; give up
and bring back what each device had before."""


class Body(BaseModel):
    """Refuses fields that it does not know: a misspelt policy would be none."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
