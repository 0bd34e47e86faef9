"""What the bodies of rollouts' requests are made of."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from cloud.errors import UNKNOWN_FIELD

NAMED_MAX = 3

Seconds = Annotated[float, Field(ge=0, le=30 * 86_400)]
DigestAsked = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(str.lower)]
"""A build's digest, or its first digits: the registry says which build they name."""
Percent = Annotated[float, Field(ge=0, le=100)]
Reaction = Literal["pause", "abort", "revert"]
"""What follows: wait for a person; give up what has not been exchanged and keep the rest; give up
and bring back what each device had before."""


class Body(BaseModel):
    """Refuses fields that it does not know, before it asks for those that are missing: a misspelt
    policy would be none."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, given: Any) -> Any:
        if isinstance(given, cls):
            return given
        if not isinstance(given, dict):
            said = f"{repr(given)[:40]} is no set of fields; {cls._how_written()}"
            raise ValueError(said)  # noqa: TRY004 - pydantic reads this one
        unknown = [key for key in given if key not in cls.model_fields]
        if unknown:
            raise ValidationError.from_exception_data(
                cls.__name__, [_unknown(key, list(cls.model_fields)) for key in unknown]
            )
        return given

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, given: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[info.field_name or ""].annotation
        is_number = _takes(annotation, int) or _takes(annotation, float)
        if isinstance(given, bool) and is_number and not _takes(annotation, bool):
            raise ValueError(f"{str(given).lower()} is no number; give one")
        return given

    @classmethod
    def _how_written(cls) -> str:
        some = ", ".join(list(cls.model_fields)[:NAMED_MAX])
        required = any(field.is_required() for field in cls.model_fields.values())
        return f"write its own ones ({some}, …)" + ("" if required else ", or {} for its defaults")


def _takes(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_takes(part, kind) for part in get_args(annotation))


def _unknown(key: Any, fields: list[str]) -> InitErrorDetails:
    near = get_close_matches(str(key).lower().replace("-", "_"), fields, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    error = PydanticCustomError(UNKNOWN_FIELD, f"there is no such field{hint}")
    return InitErrorDetails(type=error, loc=(str(key),), input=None)
