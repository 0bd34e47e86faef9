"""TensorRT's Python module and its log, which alone says why something failed."""

from __future__ import annotations

from collections import deque
from typing import Any

import structlog

from edge_agent.errors import DetectorError

_log = structlog.get_logger(__name__)

ERRORS_KEPT_MAX = 4
MESSAGE_CHARACTERS_MAX = 500


def load_tensorrt() -> Any:
    """The module. Raises DetectorError where it is not installed or its libraries are not
    found."""
    try:
        import tensorrt
    except Exception as error:  # its own loader raises OSError and RuntimeError, too
        raise DetectorError(
            f"TensorRT does not load ({error}); install argosy[edge-tensorrt], or on a Jetson "
            "JetPack's python3-libnvinfer"
        ) from error
    return tensorrt


class Reasons:
    """The last errors that TensorRT logged."""

    def __init__(self) -> None:
        self._errors: deque[str] = deque(maxlen=ERRORS_KEPT_MAX)

    def add(self, message: str) -> None:
        self._errors.append(message[:MESSAGE_CHARACTERS_MAX])

    def __str__(self) -> str:
        return "; ".join(self._errors) or "TensorRT gave no reason"


def logger(trt: Any, reasons: Reasons) -> Any:
    """A logger of TensorRT that keeps errors in `reasons` and passes warnings on."""
    severities = trt.ILogger.Severity
    errors = (severities.INTERNAL_ERROR, severities.ERROR)

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in errors:
                reasons.add(message)
                _log.error("tensorrt", message=message[:MESSAGE_CHARACTERS_MAX])
            elif severity == severities.WARNING:
                _log.warning("tensorrt", message=message[:MESSAGE_CHARACTERS_MAX])

    return Logger()
