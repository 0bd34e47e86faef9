"""agent.toml: what a device is told by hand. Everything else comes from the hub.

Every limit is a named field of `Limits` with its unit in the name. Unknown keys and bad
values are refused with the line, the key's path, the value and the remedy, because a limit
that is misspelt and silently ignored is worse than none.
"""

from __future__ import annotations

import json
import ssl
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator

from edge_agent.cameras.settings import CameraSection, CaptureSection
from edge_agent.config_errors import problems
from edge_agent.errors import EdgeError
from edge_agent.local.settings import LocalSection
from edge_agent.outputs.fit import check_fit
from edge_agent.outputs.settings import AnyChannel
from edge_agent.rules.settings import RuleSection, ShelfSection, check_line
from edge_agent.section import (
    MIB,
    PRINTABLE,
    Bytes,
    Count,
    Identifier,
    LongS,
    MisplacedError,
    Port,
    PositiveS,
    Section,
    rooted,
)
from edge_agent.track.settings import TrackingSection
from protocol.errors import TopicError
from protocol.topics import ROOT_DEFAULT, TopicSpace

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_BYTES_MAX = 1 * MIB
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
    jsonl_unserved: bool = False
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
    probation_frames_min: Count = 50
    probation_rate_share_min: float = Field(default=0.9, ge=0, le=1)
    probation_latency_ratio_max: float = Field(default=2.0, ge=1, le=1000)
    probation_confidence_drop_max: float = Field(default=0.3, ge=0, le=1)
    probation_detections_ratio_max: float = Field(default=5.0, ge=1, le=1000)
    probation_starts_max: Count = 3
    update_stores_max: Count = 64
    update_timeout_s: LongS = 7 * 86_400.0
    retry_first_s: PositiveS = 1.0
    retry_cap_s: PositiveS = 60.0
    hold_timeout_s: PositiveS = 86_400.0
    window_wait_s_max: LongS = 8 * 86_400.0
    veto_s_max: PositiveS = 4 * 3600.0
    shadow_rate_share_min: float = Field(default=0.98, ge=0, le=1)
    proof_latency_ratio_max: float = Field(default=3.0, ge=1, le=1000)
    memory_free_bytes_min: int = Field(default=64 * MIB, ge=0)
    engine_timeout_s: PositiveS = 7200.0
    engine_memory_bytes_max: Bytes = 8192 * MIB
    engine_cache_bytes_max: Bytes = 1024 * MIB
    download_bytes_per_s_max: int = Field(default=0, ge=0)
    boot_starts_max: Count = 3
    boot_stable_s: PositiveS = 30.0
    history_attempts_max: Count = 50
    # inference
    inference_threads_max: int = Field(default=0, ge=0, le=256)
    inference_streams_max: int = Field(default=2, ge=1, le=64)
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
    capture: CaptureSection = CaptureSection()
    tracking: TrackingSection = TrackingSection()
    rules: tuple[RuleSection, ...] = Field(default=(), max_length=256)
    shelves: tuple[ShelfSection, ...] = Field(default=(), max_length=256)
    channels: tuple[AnyChannel, ...] = Field(default=(), max_length=64)
    outputs: OutputsSection = OutputsSection()
    local: LocalSection = LocalSection()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _distinct(self) -> AgentConfig:
        cameras, channels = [c.id for c in self.cameras], [c.id for c in self.channels]
        for what, names in (("cameras", cameras), ("channels", channels)):
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise MisplacedError(
                        (what, index, "id"), f"two {what} are called {name!r}; give each its own id"
                    )
        check_line(self.rules, self.shelves, cameras, channels)
        check_fit(self.rules, self.shelves, self.channels)
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
        text = raw.decode("utf-8-sig")  # an editor may have put a mark before the text
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}; correct that line") from error
    config = _resolve(parse_config(tables, str(path), text), path.resolve().parent)
    _check_files(config, path)
    return config


def _check_files(config: AgentConfig, name: Path) -> None:
    """Certificates are read at the first connection; that is too late to learn of a typo."""
    channels = ((f"channels.{c.id}.ca_file", getattr(c, "ca_file", None)) for c in config.channels)
    for key, ca_file in (
        ("hub.ca_file", config.hub.ca_file),
        ("mqtt.ca_file", config.mqtt.ca_file),
        *channels,
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
        # As JSON, because only so pydantic can be strict (no true for 1, no "5" for 5) and
        # still take a list for a tuple and a string for a path.
        return AgentConfig.model_validate_json(json.dumps(tables, default=_no_json), strict=True)
    except ValidationError as error:
        found = problems(error, AgentConfig, name, text)
        raise ConfigError("\n".join(found)) from error


def _no_json(value: object) -> dict[str, str]:
    """A date or time; no key takes one, and so none may take it for a string."""
    return {"time": str(value)}


def _resolve(config: AgentConfig, base: Path) -> AgentConfig:
    """The configuration with its paths seen from `base`."""
    tables = ("device", "hub", "mqtt", "outputs")
    return config.model_copy(
        update={name: rooted(getattr(config, name), base) for name in tables}
        | {
            "channels": tuple(rooted(channel, base) for channel in config.channels),
            "cameras": tuple(camera.seen_from(base) for camera in config.cameras),
        }
    )
