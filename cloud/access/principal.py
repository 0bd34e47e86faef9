"""A principal: who acts, and up to what. Every verb of the hub takes one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from cloud.errors import ForbiddenError


class Role(IntEnum):
    """Roles in order: each may do what the ones below it may. A device stands below all."""

    DEVICE = 0
    VIEWER = 1
    ANNOTATOR = 2
    OPERATOR = 3
    APPROVER = 4
    ADMINISTRATOR = 5

    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role:
        return cls[word.upper()]


class PrincipalKind(str, Enum):
    USER = "user"
    DEVICE = "device"
    SERVICE = "service"


@dataclass(frozen=True)
class Principal:
    """Who acts. A device's name is its device id."""

    kind: PrincipalKind
    name: str
    role: Role


def service_principal(name: str, role: Role = Role.OPERATOR) -> Principal:
    """The hub itself acting, for instance its rollout engine."""
    return Principal(PrincipalKind.SERVICE, name, role)


def require(principal: Principal, role: Role) -> None:
    """Raises ForbiddenError where `principal` stands below `role`."""
    if principal.role < role:
        raise ForbiddenError(
            f"{principal.name} is {principal.role.word}; this needs {role.word}",
            f"use a token of role {role.word} or above",
        )


def require_device(principal: Principal, device_id: str | None = None) -> str:
    """The device that acts. Raises ForbiddenError for others, or another than `device_id`."""
    if principal.kind is not PrincipalKind.DEVICE or device_id not in {None, principal.name}:
        raise ForbiddenError(
            f"{principal.name} is not the device {device_id or 'that this is for'}",
            "use the device's own token",
        )
    return principal.name
