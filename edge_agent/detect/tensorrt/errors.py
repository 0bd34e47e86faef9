"""What goes wrong with native TensorRT. Each names the thing and the remedy."""

from __future__ import annotations

from edge_agent.errors import DetectorError


class EngineFileError(DetectorError):
    """A file that is no engine, or one whose header makes no sense."""


class EngineBuildError(DetectorError):
    """An ONNX model that TensorRT does not turn into a plan here."""


class EngineMissingError(DetectorError):
    """A bundle whose engine this machine has not built yet, or not under this driver."""


class CudaError(DetectorError):
    """A call of the CUDA runtime that failed, or no CUDA runtime at all."""
