"""`[[channels]]` of agent.toml: the ways out to the line, told apart by `type`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from edge_agent.errors import OutputError
from edge_agent.section import MIB, PRINTABLE, Bytes, Count, Identifier, Port, PositiveS, Section

NODE_ID = r"^(ns=\d{1,5};)?(i=\d{1,10}|s=.{1,256}|g=[0-9A-Fa-f-]{36}|b=[A-Za-z0-9+/=]{1,256})$"


def _no_wildcard(topic: str) -> str:
    if set(topic) & {"+", "#", "\0"} or topic.startswith(("/", "$")) or topic.endswith("/"):
        raise ValueError("write a topic as names with / between them, without + and #")
    return topic


def _readable(url: str) -> str:
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise ValueError("its host or port cannot be read; write https://host:port/path") from error
    return url


WebhookUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+"), AfterValidator(_readable)]
TopicRoot = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_no_wildcard)]
Secret = Annotated[str | None, Field(pattern=PRINTABLE, repr=False)]


class ChannelSection(Section):
    """What every channel has.

    `retries_max` bounds how often one signal is tried again; absent, until it is written or
    superseded. `detections` asks for a signal of every frame.
    """

    id: Identifier
    queue_max: Count = 1000
    timeout_s: PositiveS = 3.0
    retries_max: int | None = Field(default=None, ge=0, le=1000)
    reconnect_first_s: PositiveS = 0.2
    reconnect_cap_s: PositiveS = 30.0
    stable_after_s: PositiveS = 10.0
    detections: bool = False


class WebhookSection(ChannelSection):
    """POSTs every signal as JSON."""

    type: Literal["webhook"]
    url: WebhookUrl
    token: Secret = None
    token_file: Path | None = None
    ca_file: Path | None = None
    retries_max: int | None = Field(default=5, ge=0, le=1000)

    @model_validator(mode="after")
    def _one_token(self) -> WebhookSection:
        if self.token is not None and self.token_file is not None:
            raise ValueError("give one of token and token_file, not both")
        return self

    def read_token(self) -> str | None:
        """Raises OutputError where its file cannot be read."""
        return _secret(self.token, self.token_file, f"channels.{self.id}.token_file")


class BrokerSection(ChannelSection):
    """A broker beside the line; it has nothing to do with that of the hub."""

    host: str = Field(min_length=1)
    port: Port = 1883
    username: str | None = None
    password: Secret = None
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    keepalive_s: int = Field(default=15, ge=5, le=3600)
    inflight_max: Count = 100

    @model_validator(mode="after")
    def _one_password(self) -> BrokerSection:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give one of password and password_file, not both")
        return self

    def read_password(self) -> str | None:
        """Raises OutputError where its file cannot be read."""
        return _secret(self.password, self.password_file, f"channels.{self.id}.password_file")


class MqttSection(BrokerSection):
    """Publishes every signal as JSON; rules and stock are retained where `retain` says so."""

    type: Literal["mqtt"]
    topic_root: TopicRoot = "argosy-line"
    qos: Literal[0, 1, 2] = 1
    retain: bool = True


class SparkplugSection(BrokerSection):
    """A Sparkplug B edge node; each camera is a device of it.

    It always asks for a signal of every frame: that is how it knows the model that runs and
    the frame rate, which it publishes every `rate_every_s`. A camera without a frame for
    `silent_after_s` is declared dead.
    """

    type: Literal["sparkplug"]
    group: Identifier
    edge_node: Identifier
    rate_every_s: PositiveS = 10.0
    silent_after_s: PositiveS = 60.0
    detections: Literal[True] = True


class CsvSection(ChannelSection):
    """Appends a row for each item of the stock."""

    type: Literal["csv"]
    path: Path
    rotate_bytes: Bytes = 10 * MIB
    keep_files: int = Field(default=3, ge=0, le=100)
    detections: Literal[False] = False


class CoilSection(Section):
    """The coil that a rule drives; with `pulse_ms` it is cleared that long after it was set."""

    rule: Identifier
    address: int = Field(ge=0, le=65_535)
    pulse_ms: int | None = Field(default=None, ge=1, le=600_000)


class ModbusSection(ChannelSection):
    """Sets coils of a Modbus TCP device.

    The heartbeat is toggled (coil) or counted up (holding register) every `check_every_s`,
    so that the other end can tell a blind rule from a good product. It stands still while a
    camera that a rule of `coils` watches has given no result for `silent_after_s`, and until
    each of them has given its first. A camera of less than one result in that time needs a
    longer one.
    """

    type: Literal["modbus"]
    host: str = Field(min_length=1)
    port: Port = 502
    unit: int = Field(default=1, ge=0, le=255)
    coils: tuple[CoilSection, ...] = Field(min_length=1, max_length=256)
    heartbeat_coil: int | None = Field(default=None, ge=0, le=65_535)
    heartbeat_register: int | None = Field(default=None, ge=0, le=65_535)
    check_every_s: PositiveS = 1.0
    silent_after_s: PositiveS = 5.0
    timeout_s: PositiveS = 1.0
    reconnect_cap_s: PositiveS = 5.0
    clear_on_stop: bool = True
    detections: Literal[False] = False

    @model_validator(mode="after")
    def _distinct(self) -> ModbusSection:
        addresses = [c.address for c in self.coils]
        if self.heartbeat_coil is not None:
            addresses.append(self.heartbeat_coil)
        _once(addresses, "coil")
        _once([c.rule for c in self.coils], "rule")
        return self


class NodeSection(Section):
    """The variable that a rule or an item of a shelf drives.

    Of a rule it is whether the rule holds; of a shelf the count of the class `item`, or its
    state where the variable is a String.
    """

    source: Identifier
    node: str = Field(pattern=NODE_ID)
    item: str | None = Field(default=None, min_length=1, max_length=256)


class OpcUaSection(ChannelSection):
    """Writes variables of an OPC UA server, each in its own data type."""

    type: Literal["opcua"]
    url: str = Field(pattern=r"^opc\.tcp://[^\s/]+")
    nodes: tuple[NodeSection, ...] = Field(min_length=1, max_length=256)
    username: str | None = None
    password: Secret = None
    password_file: Path | None = None
    check_every_s: PositiveS = 1.0
    reconnect_cap_s: PositiveS = 5.0
    clear_on_stop: bool = True
    detections: Literal[False] = False

    @model_validator(mode="after")
    def _distinct(self) -> OpcUaSection:
        _once([n.node for n in self.nodes], "node")
        if self.password is not None and self.password_file is not None:
            raise ValueError("give one of password and password_file, not both")
        return self

    def read_password(self) -> str | None:
        """Raises OutputError where its file cannot be read."""
        return _secret(self.password, self.password_file, f"channels.{self.id}.password_file")


AnyChannel = Annotated[
    WebhookSection | MqttSection | CsvSection | ModbusSection | OpcUaSection | SparkplugSection,
    Field(discriminator="type"),
]


def _secret(value: str | None, file: Path | None, key: str) -> str | None:
    if file is None:
        return value
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{key}: cannot read {file}: {error}; correct the path") from error


def _once(values: list[Any], what: str) -> None:
    twice = [v for v in values if values.count(v) > 1]
    if twice:
        raise ValueError(f"the {what} {twice[0]} is named twice; give each its own")
