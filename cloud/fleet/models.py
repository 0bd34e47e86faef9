"""Tables of the fleet."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel


class Site(SQLModel, table=True):
    __tablename__ = "site"

    name: str = Field(primary_key=True)
    time_zone: str = "UTC"
    created_at: float


class Device(SQLModel, table=True):
    """One edge box.

    Attributes:
        session_epoch: highest that was seen; words of a lower one are ignored.
        reported, desired: the last messages as JSON text, whole.
        running: slot -> digest, from `reported`.
        boots: how many different boot ids it was seen with.
    """

    __tablename__ = "device"

    id: str = Field(primary_key=True)
    site: str | None = Field(default=None, foreign_key="site.name", index=True)
    labels: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    models: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    created_at: float
    presence: str = "unknown"
    boot_id: str | None = None
    boots: int = 0
    session_epoch: int = 0
    last_seen: float | None = None
    reported: str | None = None
    running: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    desired: str | None = None
    desired_generation: int = 0


class DeviceGroup(SQLModel, table=True):
    """A name for whatever devices a selector names at the moment it is used."""

    __tablename__ = "device_group"

    name: str = Field(primary_key=True)
    selector: str
    created_at: float
    created_by: str


class DeviceChange(SQLModel, table=True):
    """Devices of which something has changed that a rollout may hang on.

    Whoever changes it counts `number` up, in the transaction of the change; the engine takes
    away the rows it has read, where the number is still the one that it read.
    """

    __tablename__ = "device_change"

    device_id: str = Field(primary_key=True, foreign_key="device.id")
    number: int = 1


class DeviceCommand(SQLModel, table=True):
    """A one-off request and its answer."""

    __tablename__ = "device_command"

    id: str = Field(primary_key=True)
    device_id: str = Field(foreign_key="device.id", index=True)
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    created_at: float
    expires_at: float = Field(index=True)
    answered_at: float | None = None
    ok: bool | None = None
    text: str = ""
