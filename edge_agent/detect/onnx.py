"""ONNX Runtime: on the CPU, and on NVIDIA by its CUDA and TensorRT providers.

The GPU providers need a GPU and the package onnxruntime-gpu. What is chosen for them is in
`providers` and tested everywhere; that it runs is tested where there is a GPU.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Detector
from edge_agent.detect.metadata import from_properties
from edge_agent.detect.network import Answers, Network, NetworkDetector, Read
from edge_agent.detect.options import LoadOptions
from edge_agent.detect.providers import CPU, PROVIDERS, Provider, chain, check_half_on_cpu
from edge_agent.detect.quantised import check_quantised, quantised_onnx
from edge_agent.detect.signature import Binding, Port, Signature, bind
from edge_agent.errors import DetectorError
from edge_agent.observe.hardware import cpu_flags_of_note
from protocol.bundles import MODEL_PATH, Manifest

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}

# 1.23 ignores the option and 1.31 has it; between them it was not tried.
_SPIN_DURATION_SINCE_MINOR = 31
_SPIN_DURATION_US = "20"


def open_onnx(folder: Path, manifest: Manifest, options: LoadOptions) -> Detector:
    """The detector of a bundle's `model.onnx`, by the provider that its build names.

    Raises:
        DetectorError: the file is no detector, or the provider cannot run it here.
        BundleError: it is not the model that the manifest describes.
    """
    on_cpu = PROVIDERS[manifest.build.runtime] == CPU
    cache = None if on_cpu else options.cache_of(manifest.file(MODEL_PATH).sha256)
    providers = chain(manifest.build, cache, os.environ)
    session = open_session(folder / MODEL_PATH, options.threads_per_stream, providers)
    if on_cpu:
        check_half_on_cpu(manifest.build, cpu_flags_of_note())
        check_quantised(manifest.build, MODEL_PATH, quantised_onnx(folder / MODEL_PATH))
    binding = bind(signature_of(MODEL_PATH, session), manifest)
    network: Network
    if on_cpu:
        network = OnnxNetwork(MODEL_PATH, session, binding)
    else:
        network = BoundOnnxNetwork(MODEL_PATH, session, binding, device="cuda")
    return NetworkDetector(network, manifest, options)


class OnnxNetwork:
    """A session that reads its input where it lies, in the CPU's memory."""

    def __init__(self, artifact: str, session: Any, binding: Binding) -> None:
        self.artifact, self.binding = artifact, binding
        self._session = session
        self._input = session.get_inputs()[binding.input_index].name
        self._outputs = [session.get_outputs()[binding.output_index].name]

    def run(self, tensor: npt.NDArray[np.floating[Any]], read: Read) -> Answers:
        return read(self._session.run(self._outputs, {self._input: tensor})[0])

    def close(self) -> None:
        self._session = None


class BoundOnnxNetwork:
    """A session whose input stays in a device's memory: one copy there, one copy back.

    Args:
        device: ONNX Runtime's name of it, "cuda" or "cpu".
    """

    def __init__(self, artifact: str, session: Any, binding: Binding, device: str) -> None:
        self.artifact, self.binding = artifact, binding
        self._session, self._device = session, device
        self._input = session.get_inputs()[binding.input_index].name
        self._output = session.get_outputs()[binding.output_index].name
        self._bound: dict[int, tuple[Any, Any]] = {}
        self._turn = threading.Lock()

    def run(self, tensor: npt.NDArray[np.floating[Any]], read: Read) -> Answers:
        frames = len(tensor)
        with self._turn:
            if frames not in self._bound:
                self._bound[frames] = self._bind(tensor)
            else:
                self._bound[frames][1].update_inplace(tensor)
            io = self._bound[frames][0]
            self._session.run_with_iobinding(io)
            output = io.copy_outputs_to_cpu()[0]
        return read(output)

    def _bind(self, tensor: npt.NDArray[np.floating[Any]]) -> tuple[Any, Any]:
        """A binding for inputs of this many frames, and its memory, which holds `tensor`."""
        import onnxruntime

        value = onnxruntime.OrtValue.ortvalue_from_numpy(tensor, self._device, 0)
        io = self._session.io_binding()
        io.bind_ortvalue_input(self._input, value)
        io.bind_output(self._output, self._device)
        return io, value

    def close(self) -> None:
        self._bound.clear()
        self._session = None


def open_session(path: Path, threads: int, providers: Sequence[Provider]) -> Any:
    """A session on the first of `providers`.

    Raises DetectorError where the file is no model, or where the runtime lacks that provider
    or would quietly use another.
    """
    import onnxruntime

    if not path.is_file():
        raise DetectorError(f"no model at {path}; fetch its bundle again")
    wanted = providers[0][0]
    if wanted not in onnxruntime.get_available_providers():
        raise DetectorError(
            f"this ONNX Runtime has no {wanted}; install argosy[edge-cuda] in place of argosy[edge]"
        )
    if wanted != CPU:
        _load_cuda_of_pip(onnxruntime)
    try:
        session = onnxruntime.InferenceSession(
            str(path), session_options(threads), providers=list(providers)
        )
    except Exception as error:
        raise DetectorError(f"{path.name} does not load in ONNX Runtime: {error}") from error
    if session.get_providers()[0] != wanted:
        raise DetectorError(
            f"{wanted} did not start and ONNX Runtime fell back to {session.get_providers()[0]}; "
            "check the GPU's driver and its CUDA libraries"
        )
    session.disable_fallback()
    return session


def _load_cuda_of_pip(onnxruntime: Any) -> None:
    """Load the CUDA libraries that pip put beside the runtime, where no loader looks for them.

    Where there are none, the system's are found by the loader itself.
    """
    if (Path(onnxruntime.__file__).parents[1] / "nvidia").is_dir():
        load = getattr(onnxruntime, "preload_dlls", None)  # since 1.21
        if load is not None:
            load(directory="")


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
    # What the runtime plans ahead for its memory costs a third more of it and saves no time.
    options.enable_mem_pattern = False
    if int(onnxruntime.__version__.split(".")[1]) >= _SPIN_DURATION_SINCE_MINOR:
        options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_DURATION_US)
        options.add_session_config_entry("session.force_spinning_stop", "1")
    else:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def signature_of(artifact: str, session: Any) -> Signature:
    """What a session takes and gives. Raises DetectorError on metadata that cannot be read."""
    return Signature(
        artifact,
        tuple(map(_port, session.get_inputs())),
        tuple(map(_port, session.get_outputs())),
        from_properties(artifact, session.get_modelmeta().custom_metadata_map),
    )


def _port(found: Any) -> Port:
    shape = tuple(side if isinstance(side, int) and side >= 0 else None for side in found.shape)
    return Port(found.name, shape, _DTYPES.get(found.type, found.type))
