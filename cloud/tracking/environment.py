"""The environment of the child that speaks with an MLflow server, and what it keeps to itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import SecretStr

from cloud.settings import TrackingSettings

_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


def environment(settings: TrackingSettings, http_proxy: str | None = None) -> dict[str, str]:
    """Variables for MLflow's client, beside those that it inherits.

    MLflow's usage reports are off, and a server cannot send the client elsewhere. Few retries:
    the mirror's own are slower and do not hold up the next version.
    """
    values: dict[str, str | None] = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(settings.timeout_s),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "MLFLOW_REGISTRY_URI": settings.tracking_uri,
        "MLFLOW_TRACKING_USERNAME": settings.username,
        "MLFLOW_TRACKING_PASSWORD": _plain(settings.password),
        "MLFLOW_TRACKING_TOKEN": _plain(settings.token),
        "HTTP_PROXY": http_proxy,
        "HTTPS_PROXY": http_proxy,
    }
    return {key: value for key, value in values.items() if value is not None}


def secrets_in(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The values of an environment that no message may hold."""
    return tuple(variables[key] for key in _SECRETS if variables.get(key))


def redacted(text: str, secrets: Iterable[str]) -> str:
    """`text` without the secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
