"""API shapes of the fleet."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from cloud.plain_text import one_line
from protocol.messages import DeviceId, HarvestPolicy, SlotDesired, Word


def _explained(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    try:
        return check(given)
    except ValidationError as error:
        raise ValueError(
            f"{repr(given)[:80]} is no name; use 1 to 64 letters, digits, '.', '_', '-', a letter "
            "or digit first"
        ) from error


Name = Annotated[DeviceId, WrapValidator(_explained)]
ModelText = Annotated[Word, AfterValidator(one_line)]
LabelText = Annotated[str, Field(max_length=128)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SiteCreate(_Body):
    name: Name
    time_zone: str = "UTC"


class SiteView(BaseModel):
    name: str
    time_zone: str
    created_at: float


class GroupCreate(_Body):
    name: Name
    selector: str = Field(min_length=1, max_length=4096)


class GroupView(BaseModel):
    """A name for whatever devices its selector names; `devices` counts them now."""

    name: str
    selector: str
    created_at: float
    created_by: str
    devices: int


class DeviceCreate(_Body):
    device_id: Name
    site: str | None = None
    labels: dict[Word, LabelText] = Field(default_factory=dict, max_length=64)
    models: list[ModelText] = Field(default_factory=list, max_length=64)


class DeviceDescription(_Body):
    """What to change; what is not given stays. A label given as null is taken away."""

    site: str | None = None
    labels: dict[Word, LabelText | None] = Field(default_factory=dict, max_length=64)
    models: list[ModelText] = Field(default_factory=list, max_length=64)


class DeviceView(BaseModel):
    """A device, what it should run and what it runs."""

    id: str
    site: str | None
    labels: dict[str, str]
    models: list[str]
    created_at: float
    presence: str
    last_seen: float | None
    reported: dict[str, Any] | None
    desired: dict[str, Any] | None
    desired_generation: int
    running: dict[str, str]


class DeviceCreated(BaseModel):
    device: DeviceView
    token: str


class DeviceToken(BaseModel):
    token: str


class DesiredChange(_Body):
    """What to change; what is not given stays. A slot given as null is taken away."""

    slots: dict[Word, SlotDesired | None] | None = Field(default=None, max_length=64)
    harvest: HarvestPolicy | None = None
    telemetry_window_s: float | None = Field(default=None, ge=0.5, le=86_400)


class Generation(BaseModel):
    device_id: str
    desired_generation: int


class CommandCreate(_Body):
    name: Literal["report", "snapshot"]
    arguments: dict[str, Any] = Field(default_factory=dict, max_length=64)


class CommandView(BaseModel):
    command_id: str
    device_id: str
    name: str
    arguments: dict[str, Any]
    created_at: float
    expires_at: float
    answered_at: float | None
    ok: bool | None
    text: str
    state: Literal["pending", "answered", "expired"]
