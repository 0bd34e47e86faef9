"""What the hub is told from outside: `ARGOSY_*` variables and `hub.toml` in the data folder.

Arguments win over the environment, the environment over the file. Every maximum is a
field with its unit in the name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tomllib
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cloud.errors import ConfigurationError
from protocol.topics import ROOT_DEFAULT

EMBEDDED = "embedded"
SETTINGS_FILENAME = "hub.toml"


class MqttSettings(BaseModel):
    """The link to the broker. `url` is `embedded`, mqtt://host:port or mqtts://host:port."""

    model_config = ConfigDict(extra="forbid")

    url: str = EMBEDDED
    port: int = Field(default=0, ge=0, le=65_535, description="of the embedded broker; 0: free")
    root: str = ROOT_DEFAULT
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    proxy: str | None = Field(default=None, description="http://… or socks5://…")
    shared_group: str | None = Field(default=None, description="$share group of many ingresses")
    keepalive_s: int = Field(default=60, ge=5)
    session_expiry_s: int = Field(default=300, ge=0)
    receive_maximum: int = Field(default=500, ge=1, le=65_535)
    inflight_messages_max: int = Field(default=100, ge=1)
    queued_messages_max: int = Field(default=100_000, ge=1)
    payload_bytes_max: int = Field(default=4 * 1024 * 1024, ge=1024)
    connections_max: int = Field(default=10_000, ge=1)
    reconnect_delay_first_s: float = Field(default=0.2, gt=0)
    reconnect_delay_max_s: float = Field(default=30.0, gt=0)


class LimitSettings(BaseModel):
    """Every other maximum, each with its unit."""

    model_config = ConfigDict(extra="forbid")

    blob_bytes_max: int = 4 * 1024**3
    sample_bytes_max: int = 16 * 1024 * 1024
    sample_spool_bytes_max: int = Field(default=64 * 1024 * 1024, description="per device")
    sample_spool_images_max: int = Field(default=256, description="per device")
    ingest_queue_messages_max: int = 20_000
    ingest_batch_messages_max: int = 1000
    ingest_batch_age_ms: int = 50
    ingest_retry_delay_max_s: float = 5.0
    sequence_ranges_max: int = Field(default=1024, description="holes in a stream, plus one")
    image_pixels_max: int = 50_000_000
    log_payload_bytes_max: int = 200
    wants_collect_ms: int = 150
    wants_repeat_ms: int = Field(
        default=1000, ge=0, description="between two sendings of a chunk, so that many share one"
    )
    broker_fanout_bytes_per_s: float = Field(
        default=100e6, gt=0, description="that the broker brings to all devices together, about"
    )
    wants_chunks_max: int = Field(default=65_536, description="chunks waiting to be published")
    publish_inflight_bytes_max: int = 4 * 1024 * 1024
    command_expires_s: float = 60.0
    database_busy_timeout_ms: int = 10_000
    database_connections_max: int = 40
    trust_expires_s: float = Field(default=7 * 86_400.0, description="of snapshot and timestamp")
    engine_tick_s: float = Field(default=1.0, gt=0, description="period of background loops")


class DatasetSettings(BaseModel):
    """How imported images are checked and split."""

    model_config = ConfigDict(extra="forbid")

    image_bytes_max: int = Field(default=64 * 1024 * 1024, ge=1024)
    image_pixels_max: int = Field(default=64_000_000, ge=4096)
    import_images_max: int = Field(default=1_000_000, ge=1)
    import_problems_max: int = Field(default=50, ge=1, description="listed before it stops")
    selection_share: float = Field(default=0.10, ge=0, le=0.5)
    calibration_share: float = Field(default=0.05, ge=0, le=0.5)
    held_out_images_min: int = Field(default=4, ge=1)
    near_distance_bits_max: int = Field(
        default=8, ge=0, le=256, description="hashes of 256 bits that close are near-duplicates"
    )
    split_seed: int = 0


class TrainingSettings(BaseModel):
    """How training jobs run."""

    model_config = ConfigDict(extra="forbid")

    child_nice: int = Field(default=10, ge=0, le=19)
    progress_every_s: float = Field(default=1.0, gt=0)
    log_bytes_max: int = Field(default=1024 * 1024, ge=4096, description="of a log, when read")
    terminate_grace_s: float = Field(default=3.0, ge=0, description="then the child is killed")


class TrackingSettings(BaseModel):
    """The mirror of versions on an MLflow server; none where `tracking_uri` is not set.

    What MLflow's client reads by itself (`MLFLOW_TRACKING_TOKEN`, `MLFLOW_TRACKING_USERNAME`,
    `MLFLOW_TRACKING_SERVER_CERT_PATH`, …) holds too, from the hub's environment.
    """

    model_config = ConfigDict(extra="forbid")

    tracking_uri: str | None = Field(default=None, description="http(s)://host… or sqlite:///file")
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    prefix: str = Field(
        default="argosy",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="of experiments and models; each hub on a server needs its own",
    )
    period_s: float = Field(default=30.0, gt=0)
    timeout_s: int = Field(default=10, ge=1, description="of one request to the server")
    push_timeout_s: float = Field(default=600.0, gt=0, description="of all requests of a step")
    versions_per_push_max: int = Field(default=20, ge=1)
    retry_delay_first_s: float = Field(default=5.0, gt=0)
    retry_delay_max_s: float = Field(default=900.0, gt=0)
    artifact_bytes_max: int = Field(default=16 * 1024 * 1024, ge=0, description="of one file")
    version_artifact_bytes_max: int = Field(
        default=128 * 1024 * 1024, ge=0, description="of a version's files together"
    )
    with_build_files: bool = Field(
        default=False, description="the builds' model files too, not only their manifests"
    )

    @field_validator("tracking_uri")
    @classmethod
    def check_uri(cls, value: str | None) -> str | None:
        """An address without a password in it: addresses are shown and logged."""
        if value is None:
            return None
        try:
            parts = urlsplit(value)
        except ValueError as error:
            raise ValueError("it is no address") from error
        if "@" in parts.netloc:
            raise ValueError("put name and password into tracking.username and tracking.password")
        if parts.scheme in {"http", "https"} and parts.hostname:
            return value.rstrip("/")
        if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
            return value
        raise ValueError(
            "http://host…, https://host… or sqlite:///file; MLflow keeps no `file:` store any more"
        )


class BuildingSettings(BaseModel):
    """How builds are made and evaluated."""

    model_config = ConfigDict(extra="forbid")

    latency_frames: int = Field(default=30, ge=0, description="timed one at a time, per build")
    robustness_images_max: int = Field(
        default=50, ge=0, description="golden images that are spoiled in 30 ways; 0: none"
    )
    quantisation_images_max: int = Field(
        default=64, ge=8, description="whose activations give an int8 build its ranges"
    )
    probe_images_max: int = Field(
        default=64, ge=1, description="of the selection split, that choose what stays in float"
    )
    robustness_seed: int = 0
    compare_definitions: bool = Field(
        default=True, description="score a build's predictions by Ultralytics' metrics too"
    )


class Settings(BaseSettings):
    """All settings of one hub."""

    model_config = SettingsConfigDict(
        env_prefix="ARGOSY_", env_nested_delimiter="__", extra="ignore"
    )

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_tls_proxy: bool = Field(
        default=False, description="a proxy in front ends TLS; allows a non-loopback bind"
    )
    http_proxy: str | None = Field(default=None, description="outgoing HTTP: http://, socks5://")
    mqtt: MqttSettings = MqttSettings()
    limits: LimitSettings = LimitSettings()
    datasets: DatasetSettings = DatasetSettings()
    training: TrainingSettings = TrainingSettings()
    building: BuildingSettings = BuildingSettings()
    tracking: TrackingSettings = TrackingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings' port
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then `hub.toml` of the data folder."""
        assert isinstance(init_settings, InitSettingsSource)  # noqa: S101 - pydantic's own
        data_dir = init_settings.init_kwargs.get("data_dir")
        file_values = read_file(Path(data_dir) / SETTINGS_FILENAME) if data_dir else {}
        return init_settings, env_settings, InitSettingsSource(settings_cls, file_values)

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.data_dir / 'hub.sqlite3'}"

    @property
    def blobs_dir(self) -> Path:
        return self.data_dir / "blobs"

    @property
    def keys_dir(self) -> Path:
        return self.data_dir / "keys"

    @property
    def admin_token_file(self) -> Path:
        return self.data_dir / "admin.token"

    @property
    def ready_file(self) -> Path:
        return self.data_dir / "hub.json"


def read_file(path: Path) -> dict[str, Any]:
    """The values of a settings file; none where there is no file.

    Raises:
        ConfigurationError: it is no TOML or names a setting that does not exist.
    """
    if not path.exists():
        return {}
    try:
        values = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}", "mend the file") from error
    unknown = set(values) - set(Settings.model_fields)
    if unknown:
        known = ", ".join(sorted(Settings.model_fields))
        raise ConfigurationError(
            f"{path} sets {', '.join(sorted(unknown))}, which does not exist", f"known: {known}"
        )
    return values


def load(data_dir: Path, **overrides: Any) -> Settings:
    """The settings of the hub whose data lies in `data_dir`.

    Raises:
        ConfigurationError: a value does not fit; the message names its key.
    """
    try:
        return Settings(data_dir=data_dir.absolute(), **overrides)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"setting {where}: {first['msg']}",
            f"correct it in {SETTINGS_FILENAME} or ARGOSY_{where.upper().replace('.', '__')}",
        ) from error
