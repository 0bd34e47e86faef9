"""Whether a network was quantised, and whether its build says so; a runtime computes quantised
layers in int8 whatever else it is asked for."""

from __future__ import annotations

import re
from pathlib import Path

from edge_agent.errors import BundleError
from protocol.builds import BuildIdentity, Precision

CHUNK_BYTES = 1024 * 1024
_OPERATORS = (
    b"QuantizeLinear",
    b"DynamicQuantizeLinear",
    b"QLinearConv",
    b"QLinearMatMul",
    b"ConvInteger",
    b"MatMulInteger",
)
# As a node's op_type lies in the file: field 4 of NodeProto, a string, its length, its text.
# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_NODES = tuple(bytes((4 << 3 | 2, len(name))) + name for name in _OPERATORS)
_NODE = re.compile(b"|".join(map(re.escape, _NODES)))
_OVERLAP = max(map(len, _NODES)) - 1


def quantised_onnx(path: Path) -> bool:
    """Whether an ONNX file has nodes that compute in int8; it is searched, not parsed.

    Weights alone in int8 do not count: they are widened, and the computing is in floats.
    """
    with path.open("rb") as file:
        before = b""
        while data := file.read(CHUNK_BYTES):
            window = before + data
            if _NODE.search(window):
                return True
            before = window[-_OVERLAP:]
    return False


def check_quantised(build: BuildIdentity, artifact: str, quantised: bool) -> None:
    """Hold what a build says of int8 against its file and against itself.

    Args:
        artifact: the file's name, for errors.
        quantised: whether its network has quantised layers.

    Raises BundleError where they differ.
    """
    file, computed = build.precision, build.runtime_precision
    if file is Precision.INT8 and computed is not Precision.INT8:
        raise BundleError(
            f"{build.runtime} computes the quantised layers of an int8 file in int8, not in "
            f"{computed.value}; evaluate and pack it as int8"
        )
    if computed is Precision.INT8 and file is not Precision.INT8:
        raise BundleError(
            f"{build.runtime} computes a {file.value} file in floats, not in int8; quantise it "
            "first, or pack it as fp32"
        )
    if quantised != (file is Precision.INT8):
        found = "quantised layers" if quantised else "no quantised layer"
        raise BundleError(
            f"{artifact} has {found} and its manifest says {file.value}; build it again"
        )
