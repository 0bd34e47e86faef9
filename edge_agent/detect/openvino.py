"""OpenVINO on the CPU, in the precision that the build names and in no other.

Left alone, OpenVINO computes fp32 networks in bf16 where the CPU can, and asked for f16
it may choose bf16 too. Both move confidences; so the precision is always pinned, and what
the compiled network says it computes in is read back.
"""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Detector
from edge_agent.detect.metadata import Metadata, from_labels, from_yaml
from edge_agent.detect.network import Answers, NetworkDetector, Read
from edge_agent.detect.options import LoadOptions
from edge_agent.detect.quantised import check_quantised
from edge_agent.detect.signature import Binding, Port, Signature, bind
from edge_agent.errors import BundleError, DetectorError
from protocol.builds import Format, Precision
from protocol.bundles import MODEL_FILES, Manifest
from protocol.chunks import sha256_hex

XML_PATH, BIN_PATH = MODEL_FILES[Format.OPENVINO]
METADATA_PATH = "metadata.yaml"
XML_BYTES_MAX = 64 * 1024 * 1024
METADATA_BYTES_MAX = 1024 * 1024

HINTS: dict[Precision, str] = {
    Precision.FP32: "f32",
    Precision.BF16: "bf16",
    Precision.FP16: "f16",
    # The layers that were quantised say so themselves; this is for the others.
    Precision.INT8: "f32",
}
_DTYPES = {"f32": "float32", "f16": "float16"}
_QUANTISED = "FakeQuantize"
_LABELS = ["model_info", "labels"]


def open_openvino(folder: Path, manifest: Manifest, options: LoadOptions) -> Detector:
    """The detector of a bundle's `model.xml` and `model.bin`.

    Raises:
        DetectorError: the files are no detector, or this CPU does not compute in the build's
            precision.
        BundleError: it is not the model that the manifest describes.
    """
    import openvino

    core = openvino.Core()
    model = _read(core, folder)
    binding = bind(_signature(model, _metadata(folder, model)), manifest)
    check_quantised(manifest.build, XML_PATH, _quantised(model))
    if model.is_dynamic():
        batch = binding.batch_max if binding.batch_fixed else -1
        _reshape(model, [batch, 3, binding.height, binding.width])
    # Retrained weights lie beside the very same network, so both name the compiled one.
    both = manifest.file(XML_PATH).sha256 + manifest.file(BIN_PATH).sha256
    cache = options.cache_of(sha256_hex(both.encode()))
    pinned = properties(manifest.build.runtime_precision, options, cache)
    compiled = _compile(core, model, pinned)
    return NetworkDetector(OpenVinoNetwork(compiled, binding, options.streams), manifest, options)


class OpenVinoNetwork:
    """A compiled network with a request for each stream; input and output are shared, never
    copied."""

    artifact = XML_PATH

    def __init__(self, compiled: Any, binding: Binding, streams: int) -> None:
        self.binding = binding
        self._free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            self._free.put(compiled.create_infer_request())

    def run(self, tensor: npt.NDArray[np.floating[Any]], read: Read) -> Answers:
        import openvino

        request = self._free.get()
        try:
            shared = openvino.Tensor(tensor, shared_memory=True)
            request.set_input_tensor(self.binding.input_index, shared)
            request.infer()
            return read(request.get_output_tensor(self.binding.output_index).data)
        finally:
            self._free.put(request)

    def close(self) -> None:
        self._free = SimpleQueue()


def properties(precision: Precision, options: LoadOptions, cache: Path | None) -> dict[str, Any]:
    """What a network is compiled with.

    Its threads are not pinned to cores: the agent's own decode and prepare beside them, and
    with pinning a frame took nearly twice as long on a busy machine.

    Args:
        cache: folder for the compiled network; what is broken there is compiled again.
    """
    chosen: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": options.streams,
        "ENABLE_CPU_PINNING": False,
    }
    if options.threads:
        chosen["INFERENCE_NUM_THREADS"] = options.threads
    if cache is not None:
        chosen["CACHE_DIR"] = str(cache)
    return chosen


def _read(core: Any, folder: Path) -> Any:
    path, weights = folder / XML_PATH, folder / BIN_PATH
    for needed in (path, weights):
        if not needed.is_file():
            raise DetectorError(f"no model at {needed}; fetch its bundle again")
    if path.stat().st_size > XML_BYTES_MAX:
        raise DetectorError(f"{path.name} is over {XML_BYTES_MAX} bytes; export it again")
    try:
        return core.read_model(str(path), str(weights))
    except Exception as error:
        raise DetectorError(f"{path.name} does not load in OpenVINO: {_brief(error)}") from error


def _metadata(folder: Path, model: Any) -> Metadata:
    """From `metadata.yaml` where the bundle has one, else from the network's own labels."""
    path = folder / METADATA_PATH
    if path.is_file():
        try:
            with path.open("rb") as file:
                text = file.read(METADATA_BYTES_MAX + 1).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(f"{METADATA_PATH} cannot be read: {error}; pack it again") from error
        return from_yaml(METADATA_PATH, text)
    if model.has_rt_info(_LABELS):
        return from_labels(XML_PATH, model.get_rt_info(_LABELS).astype(str))
    return Metadata()


def _signature(model: Any, metadata: Metadata) -> Signature:
    return Signature(
        XML_PATH, tuple(map(_port, model.inputs)), tuple(map(_port, model.outputs)), metadata
    )


def _port(found: Any) -> Port:
    partial = found.get_partial_shape()
    shape: tuple[int | None, ...] = ()
    if partial.rank.is_static:
        shape = tuple(side.get_length() if side.is_static else None for side in partial)
    kind = found.get_element_type().to_string()
    return Port(", ".join(sorted(found.get_names())), shape, _DTYPES.get(kind, kind))


def _quantised(model: Any) -> bool:
    return any(node.get_type_name() == _QUANTISED for node in model.get_ops())


def _reshape(model: Any, shape: list[int]) -> None:
    try:
        model.reshape(shape)
    except Exception as error:
        raise DetectorError(f"{XML_PATH} does not take {shape}: {_brief(error)}") from error


def _compile(core: Any, model: Any, chosen: dict[str, Any]) -> Any:
    wanted = chosen["INFERENCE_PRECISION_HINT"]
    try:
        compiled = core.compile_model(model, "CPU", chosen)
        effective = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    except Exception as error:
        raise DetectorError(f"{XML_PATH} does not compile in OpenVINO: {_brief(error)}") from error
    if effective != wanted:
        raise DetectorError(
            f"OpenVINO computes in {effective} here, not in {wanted}; "
            "send this device a build of another precision"
        )
    return compiled


def _brief(error: Exception) -> str:
    """The last telling line of an OpenVINO error; what is before it are its source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
