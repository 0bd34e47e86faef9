"""Detector on ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import CONFIDENCE_FLOOR, Detections
from edge_agent.detect.heads import HEADS, head_name
from edge_agent.detect.letterbox import Geometry, Image, Letterbox, Prepared
from edge_agent.errors import DetectorError
from protocol.bundles import Preprocessing

_DTYPES: dict[str, npt.DTypeLike] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

# 1.23 ignores the option and 1.31 has it; between them it was not tried.
_SPIN_DURATION_SINCE_MINOR = 31
_SPIN_DURATION_US = "20"


class OnnxDetector:
    """A model file; names, shapes, dtype and head are read from it.

    Args:
        threads: intra-op threads; 0 lets the runtime choose.
        floor: the lowest confidence that is answered.

    Raises:
        DetectorError: the file is no model, or none that a detector can be.
    """

    batch_max = 1

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        floor: float = CONFIDENCE_FLOOR,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self._session: Any = _session(path, threads)
        self._path, self._floor = path, floor
        given, answered = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self.input_height, self.input_width = _input_size(path, given.shape)
        if given.type not in _DTYPES:
            raise DetectorError(f"{path.name}: input of {given.type}; export it with float input")
        head = head_name(tuple(answered.shape))
        if head is None:
            raise DetectorError(
                f"{path.name}: an output of shape {answered.shape} is no detector's"
            )
        self.head = head
        self._parse = HEADS[head]
        self._names = ([answered.name], given.name)
        how = preprocessing or Preprocessing()
        self._letterbox = Letterbox(
            self.input_width, self.input_height, _DTYPES[given.type], how.pad_value, how.scale
        )

    def prepare(self, frames: Sequence[Image], reuse: Prepared | None = None) -> Prepared:
        return self._letterbox.prepare(frames, reuse)

    def fits(self, prepared: Prepared) -> bool:
        return self._letterbox.fits(prepared)

    def infer(self, prepared: Prepared) -> tuple[Detections, ...]:
        output = self._run(prepared)[: len(prepared)].astype(np.float32, copy=False)
        if not np.isfinite(output).all():
            raise DetectorError(
                f"{self._path.name} answered with NaN or infinity; "
                "go back to the previous bundle and evaluate this one"
            )
        return tuple(
            self._detections(rows, geometry)
            for rows, geometry in zip(output, prepared.geometries, strict=True)
        )

    def _detections(self, rows: npt.NDArray[np.float32], geometry: Geometry) -> Detections:
        found = self._parse(rows, self._floor)
        boxes = geometry.to_frame(found.boxes)
        return Detections(boxes, found.confidences, found.class_ids, found.margins)

    def close(self) -> None:
        self._session = None

    def _run(self, prepared: Prepared) -> npt.NDArray[Any]:
        session = self._session
        if session is None:
            raise DetectorError(f"{self._path.name} is closed; load its bundle again")
        outputs, name = self._names
        try:
            answer: npt.NDArray[Any] = session.run(outputs, {name: prepared.tensor})[0]
        except Exception as error:
            raise DetectorError(f"{self._path.name} failed in the runtime: {error}") from error
        return answer


def session_options(threads: int) -> Any:
    """The runtime's options: `threads` within an operator, operators one after the other.

    Between operators idle threads spin for a moment only. By default they spin so long that
    a busy machine halves the frame rate; not spinning at all costs a fifth on an idle one.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    if int(onnxruntime.__version__.split(".")[1]) >= _SPIN_DURATION_SINCE_MINOR:
        options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_DURATION_US)
        options.add_session_config_entry("session.force_spinning_stop", "1")
    else:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    if not path.is_file():
        raise DetectorError(f"no model at {path}; fetch its bundle again")
    try:
        return onnxruntime.InferenceSession(
            str(path), session_options(threads), providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise DetectorError(f"{path.name} does not load in ONNX Runtime: {error}") from error


def _input_size(path: Path, shape: list[int | str | None]) -> tuple[int, int]:
    """Height and width of a fixed (1, 3, H, W) input, px."""
    match shape:
        case [1, 3, int(height), int(width)]:
            return height, width
        case _:
            raise DetectorError(
                f"{path.name}: input shape {shape}; export with a fixed size and batch 1"
            )
