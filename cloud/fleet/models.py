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
    """

    __tablename__ = "device"

    id: str = Field(primary_key=True)
    site: str | None = Field(default=None, foreign_key="site.name", index=True)
    labels: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    models: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    created_at: float
    presence: str = "unknown"
    boot_id: str | None = None
    session_epoch: int = 0
    last_seen: float | None = None
    reported: str | None = None
    running: dict[str, str] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    desired: str | None = None
    desired_generation: int = 0


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
