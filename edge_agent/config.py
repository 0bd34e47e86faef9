"""agent.toml: what a device is told by hand. Everything else comes from the hub.

Every limit is a named field of `Limits` with its unit in the name. Unknown keys and bad
values are refused with the line, the key's path, the value and the remedy, because a limit
that is misspelt and silently ignored is worse than none.
"""

from __future__ import annotations

import difflib
import ssl
import sys
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from edge_agent.cameras.settings import CameraSection
from edge_agent.config_lines import nearest_line
from edge_agent.errors import EdgeError
from edge_agent.section import MIB, PRINTABLE, Bytes, Count, Identifier, Port, PositiveS, Section
from protocol.errors import TopicError
from protocol.topics import ROOT_DEFAULT, TopicSpace

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_BYTES_MAX = 1 * MIB
SECRET_KEYS = frozenset({"token", "password"})
PROXY_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})


class ConfigError(EdgeError):
    """A configuration that cannot be used; the text names the key and the remedy."""


def _check_proxy(url: str | None) -> str | None:
    if url is not None:
        parts = urlsplit(url)
        if parts.scheme not in PROXY_SCHEMES or not parts.hostname or not parts.port:
            raise ValueError("write it as http://host:port or socks5://host:port")
    return url


class DeviceSection(Section):
    id: Identifier
    data_dir: Path


class HubSection(Section):
    """The hub's HTTP side; the token is that of this device."""

    url: str = Field(pattern=r"^https?://[^\s/]+")
    token: str | None = Field(default=None, pattern=PRINTABLE)
    token_file: Path | None = None
    proxy: str | None = None
    ca_file: Path | None = None

    _proxy = field_validator("proxy")(_check_proxy)

    @model_validator(mode="after")
    def _one_token(self) -> HubSection:
        if (self.token is None) == (self.token_file is None):
            raise ValueError("give exactly one of token and token_file")
        return self

    def read_token(self) -> str:
        """The device's token. Raises ConfigError where its file cannot be read."""
        if self.token is not None:
            return self.token
        path = self.token_file or Path()
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"hub.token_file: cannot read {path}: {error}; enrol the device again or "
                "correct the path"
            ) from error


class MqttSection(Section):
    host: str = Field(min_length=1)
    port: Port = 1883
    root: str = ROOT_DEFAULT
    username: str | None = None
    password: str | None = None
    tls: bool = False
    ca_file: Path | None = None
    proxy: str | None = None

    _proxy = field_validator("proxy")(_check_proxy)

    @field_validator("root")
    @classmethod
    def _is_root(cls, root: str) -> str:
        try:
            TopicSpace(root)
        except TopicError as error:
            raise ValueError(str(error)) from error
        return root


class OutputsSection(Section):
    jsonl: Path | None = None
    rotate_bytes: Bytes = 100 * MIB


class Limits(Section):
    """Every maximum of the device, with its unit in the name."""

    # link
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    connect_timeout_s: PositiveS = 10.0
    reconnect_first_s: PositiveS = 0.5
    reconnect_cap_s: PositiveS = 60.0
    stable_after_s: PositiveS = 30.0
    mqtt_inflight_max: int = Field(default=64, ge=1, le=65_535)
    mqtt_queued_max: Count = 2000
    mqtt_receive_max: int = Field(default=32, ge=1, le=65_535)
    mqtt_packet_bytes_max: Bytes = 2 * MIB
    inbox_messages_max: Count = 128
    reported_every_s: PositiveS = 30.0
    reported_delay_s: float = Field(default=1.0, ge=0, le=600)
    http_timeout_s: PositiveS = 10.0
    http_retry_s: PositiveS = 60.0
    # outbox
    outbox_inflight_max: Count = 32
    resend_after_s: PositiveS = 30.0
    records_bytes_max: Bytes = 64 * MIB
    images_bytes_max: Bytes = 512 * MIB
    sample_image_bytes_max: Bytes = 4 * MIB
    # download
    bundle_bytes_max: Bytes = 2048 * MIB
    disk_free_bytes_min: int = Field(default=64 * MIB, ge=0)
    chunk_stall_s: PositiveS = 5.0
    http_fallback_after_s: PositiveS = 20.0
    download_timeout_s: PositiveS = 3600.0
    bundles_kept_max: int = Field(default=2, ge=0)
    # update
    proof_timeout_s: PositiveS = 120.0
    proof_memory_bytes_max: Bytes = 8192 * MIB
    prepare_timeout_s: PositiveS = 300.0
    probation_error_share_max: float = Field(default=0.05, ge=0, le=1)
    probation_answer_s: PositiveS = 10.0
    probation_idle_s: PositiveS = 60.0
    update_stores_max: Count = 64
    # inference
    inference_threads_max: int = Field(default=0, ge=0, le=256)
    gather_ms: float = Field(default=5.0, ge=0, le=1000)
    buffer_frames_max: int = Field(default=4, ge=1, le=256)
    # process
    stop_s: PositiveS = 3.0


class AgentConfig(Section):
    """The whole of agent.toml."""

    device: DeviceSection
    hub: HubSection
    mqtt: MqttSection
    cameras: tuple[CameraSection, ...] = Field(min_length=1, max_length=256)
    outputs: OutputsSection = OutputsSection()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _distinct(self) -> AgentConfig:
        names = [camera.id for camera in self.cameras]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"two cameras are called {twice[0]!r}; give each its own id")
        return self

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that the cameras feed, each once, in the file's order."""
        return tuple(dict.fromkeys(camera.slot for camera in self.cameras))


def load_config(path: Path) -> AgentConfig:
    """Read agent.toml.

    Relative paths in it are relative to its folder, so that it means the same wherever the
    agent is started from.

    Raises:
        ConfigError: it cannot be read, is no TOML, or a key or value is refused.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}; write it with `argosy device enrol`"
        ) from error
    if len(raw) > CONFIG_BYTES_MAX:
        raise ConfigError(f"{path} is over {CONFIG_BYTES_MAX} bytes; it is no agent.toml")
    try:
        text = raw.decode()
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}; correct that line") from error
    config = _resolve(parse_config(tables, str(path), text), path.resolve().parent)
    _check_files(config, path)
    return config


def _check_files(config: AgentConfig, name: Path) -> None:
    """Certificates are read at the first connection; that is too late to learn of a typo."""
    for key, ca_file in (
        ("hub.ca_file", config.hub.ca_file),
        ("mqtt.ca_file", config.mqtt.ca_file),
    ):
        if ca_file is None:
            continue
        try:
            ssl.create_default_context(cafile=str(ca_file))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{name}: {key}: {ca_file} holds no certificates ({error}); correct the path"
            ) from error


def parse_config(tables: dict[str, Any], name: str = "agent.toml", text: str = "") -> AgentConfig:
    """The configuration that `tables` say. Raises ConfigError naming every bad key, with its
    line in `text` where that was given."""
    try:
        return AgentConfig.model_validate(tables)
    except ValidationError as error:
        found = _causes(error.errors(include_url=False))
        problems = [
            f"{name}{_line(text, item['loc'])}: "
            + _explain(item["type"], item["loc"], item["msg"], item["input"])
            for item in found
        ]
        raise ConfigError("\n".join(problems)) from error


def _line(text: str, loc: tuple[int | str, ...]) -> str:
    """":17", or nothing where the place is not known."""
    line = nearest_line(text, loc)
    return "" if line is None else f":{line}"


def _causes(found: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without what only follows from another: a camera that is refused leaves none."""
    left = [e for e in found if (e["type"], e["loc"]) != ("too_short", ("cameras",))]
    return left or found


def _explain(kind: str, loc: tuple[int | str, ...], message: str, value: Any) -> str:
    key = ".".join(str(part) for part in loc) or "the whole"
    if kind == "missing":
        return f"{key}: is missing; add it"
    shown = "(hidden)" if loc and loc[-1] in SECRET_KEYS else repr(value)[:80]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(loc[-1]), _known_keys(loc[:-1]), n=1)
        remedy = f"did you mean {near[0]}?" if near else "remove it"
        return f"{key}: unknown key (value {shown}); {remedy}"
    if isinstance(value, dict):
        return f"{key}: {message}"
    return f"{key}: {message} (value {shown}); correct it"


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    model: Any = AgentConfig
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            model = next((a for a in get_args(annotation) if _is_section(a)), annotation)
    return list(model.model_fields)


def _is_section(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, Section)


def _resolve(config: AgentConfig, base: Path) -> AgentConfig:
    def rooted(path: Path | None) -> Path | None:
        return None if path is None else base / path.expanduser()

    return config.model_copy(
        update={
            "device": config.device.model_copy(update={"data_dir": rooted(config.device.data_dir)}),
            "hub": config.hub.model_copy(
                update={
                    "token_file": rooted(config.hub.token_file),
                    "ca_file": rooted(config.hub.ca_file),
                }
            ),
            "mqtt": config.mqtt.model_copy(update={"ca_file": rooted(config.mqtt.ca_file)}),
            "outputs": config.outputs.model_copy(update={"jsonl": rooted(config.outputs.jsonl)}),
        }
    )
