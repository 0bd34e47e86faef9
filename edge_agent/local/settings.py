"""The table [local] of agent.toml: what the agent serves to its own box."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import Field, model_validator

from edge_agent.section import Bytes, Count, MisplacedError, PositiveS, Section

PORT_DEFAULT = 9464
LOCALHOST = "localhost"

_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^\[\]:]+))(?::\d{1,5})?")


class LocalSection(Section):
    """Metrics, health and pictures by HTTP.

    The pages ask for no password, so they stay on loopback unless `beyond_loopback` says
    otherwise. They answer only to an IP address, "localhost" or one of `hostnames` in the
    request's Host, or any web page that a name was bent for could read them.

    Attributes:
        port: 0 takes a free one; `argosy-agent preview` tells which.
        preview: whether pictures are served.
        frames_per_s_max: pictures of one camera that are drawn in a second.
        clients_max: requests that are served at once, /healthz not counted; `streams_max` of
            them may be streams, and one at least must be left for other pages.
        request_timeout_s: for a request to arrive, and for a client to take an answer or
            one picture of a stream.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = PORT_DEFAULT
    beyond_loopback: bool = False
    hostnames: tuple[Annotated[str, Field(min_length=1, max_length=253)], ...] = Field(
        default=(), max_length=16
    )
    preview: bool = True
    frames_per_s_max: float = Field(default=5.0, gt=0, le=60)
    jpeg_quality: int = Field(default=80, ge=1, le=100)
    picture_width_px_max: int = Field(default=1280, ge=64, le=8192)
    clients_max: Count = 16
    streams_max: Count = 4
    request_bytes_max: Bytes = 16 * 1024
    request_timeout_s: PositiveS = 5.0

    @model_validator(mode="after")
    def _places(self) -> LocalSection:
        if self.clients_max <= self.streams_max:
            raise MisplacedError(
                ("clients_max",),
                f"{self.clients_max} places leave none beside streams_max = {self.streams_max}; "
                f"write {self.streams_max + 1} or more, or lower streams_max",
            )
        return self

    @model_validator(mode="after")
    def _loopback(self) -> LocalSection:
        if not is_address(self.address):
            raise MisplacedError(("host",), 'write an IP address or "localhost"')
        if not ipaddress.ip_address(self.address).is_loopback and not self.beyond_loopback:
            raise MisplacedError(
                ("host",),
                f"{self.host} shows pictures and figures to the network without a "
                "password; keep 127.0.0.1, or set beyond_loopback = true as well",
            )
        return self

    @property
    def address(self) -> str:
        """The IP address to listen on."""
        return "127.0.0.1" if self.host == LOCALHOST else self.host


def is_address(host: str) -> bool:
    """Whether `host` is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_expected_host(header: str | None, hostnames: tuple[str, ...]) -> bool:
    """Whether a request's Host names this box and not a page elsewhere.

    An attacker's page reaches loopback by a name of its own that it bends to 127.0.0.1; it
    cannot make a browser send an address instead.
    """
    found = _HOST.fullmatch("" if header is None else header.strip().lower())
    if found is None:
        return False
    host = found["v6"] or found["name"]
    return is_address(host) or host in {LOCALHOST, *(name.lower() for name in hostnames)}
