"""What an artifact takes and gives, held against its manifest; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.detect.heads import BOX_ROWS, END2END_COLUMNS, HEADS
from edge_agent.detect.metadata import Metadata
from edge_agent.errors import BundleError, DetectorError
from protocol.bundles import Manifest

INPUT_BYTES_MAX = 1024 * 1024 * 1024
FLOATS = ("float32", "float16")
CHANNELS = 3

Shape = tuple[int | None, ...]
"""None where a side is open until it runs."""


@dataclass(frozen=True)
class Port:
    """One input or output of a model: its name, its shape, its dtype by numpy's name."""

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Signature:
    """A model as its runtime describes it.

    Attributes:
        artifact: its file's name, for errors.
    """

    artifact: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Metadata


@dataclass(frozen=True)
class Binding:
    """How the model of a manifest is run.

    Attributes:
        input_index, output_index: which of the model's ports.
        width, height: of the input, px.
        batch_max: frames that one run takes at most.
        batch_fixed: whether a run always takes exactly so many.
    """

    input_index: int
    output_index: int
    dtype: np.dtype[Any]
    width: int
    height: int
    batch_max: int
    batch_fixed: bool

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of a full input, (batch, 3, H, W)."""
        return self.batch_max, CHANNELS, self.height, self.width


def bind(signature: Signature, manifest: Manifest) -> Binding:
    """How to run the model that `signature` describes as the one of `manifest`.

    Open sides take the manifest's size and batch; fixed ones must be the manifest's.

    Raises:
        DetectorError: no detector can be made of such a model.
        BundleError: it is a detector, but not the one that the manifest describes.
    """
    artifact = signature.artifact
    signature.metadata.check(artifact, manifest.class_names)
    if len(signature.inputs) != 1:
        names = ", ".join(p.name[:40] for p in signature.inputs[:4])
        raise DetectorError(
            f"{artifact} takes {len(signature.inputs)} inputs ({names}); export it with one image"
        )
    given = signature.inputs[0]
    if given.dtype not in FLOATS:
        raise DetectorError(
            f"{artifact} takes {given.dtype}; export it with an input of {' or '.join(FLOATS)}"
        )
    batch = _batch(artifact, given.shape, manifest)
    binding = Binding(
        input_index=0,
        output_index=_output(signature, manifest),
        dtype=np.dtype(given.dtype),
        width=manifest.build.input_width,
        height=manifest.build.input_height,
        batch_max=manifest.build.batch if batch is None else batch,
        batch_fixed=batch is not None,
    )
    _check_size(signature, binding)
    return binding


def _batch(artifact: str, shape: Shape, manifest: Manifest) -> int | None:
    """The fixed batch of an input (B, 3, H, W), None where it is open; checks H and W."""
    if len(shape) != 4 or shape[1] not in (CHANNELS, None) or shape[0] == 0:
        raise DetectorError(
            f"{artifact} takes {_text(shape)}, not (batch, {CHANNELS}, height, width); "
            "export it again"
        )
    said = (manifest.build.input_height, manifest.build.input_width)
    for ours, its in zip(said, shape[2:], strict=True):
        if its not in (ours, None):
            raise BundleError(
                f"the manifest of {manifest.model} v{manifest.version} says (height, width) "
                f"{said}, {artifact} takes {_text(shape[2:])}; export it again"
            )
    return shape[0]


def _check_size(signature: Signature, binding: Binding) -> None:
    size_bytes = math.prod(binding.shape) * binding.dtype.itemsize
    if size_bytes > INPUT_BYTES_MAX:
        raise DetectorError(
            f"{signature.artifact} takes {size_bytes} bytes at once, over {INPUT_BYTES_MAX}; "
            "export it with a smaller batch"
        )
    stride = signature.metadata.stride
    if stride is not None and (binding.width % stride or binding.height % stride):
        raise BundleError(
            f"the manifest's input of {binding.width}x{binding.height} px is no multiple of the "
            f"stride {stride} of {signature.artifact}; export it again"
        )


def _output(signature: Signature, manifest: Manifest) -> int:
    """The first output that can be the manifest's head."""
    classes = len(manifest.class_names)
    fitting = {
        head: [i for i, port in enumerate(signature.outputs) if _can_be(head, port, classes)]
        for head in HEADS
    }
    if fitting[manifest.head]:
        return fitting[manifest.head][0]
    shapes = " ".join(_text(p.shape) for p in signature.outputs[:4])
    others = [head for head, indices in fitting.items() if indices]
    if others:
        raise BundleError(
            f"the manifest of {manifest.model} v{manifest.version} says the head "
            f"{manifest.head}, {signature.artifact} has {others[0]}, {shapes}; export it again"
        )
    raise DetectorError(
        f"{signature.artifact} answers {shapes}, which is no detector's output for {classes} "
        f"classes ({BOX_ROWS + classes} rows or {END2END_COLUMNS} columns); export it again"
    )


def _can_be(head: str, port: Port, classes: int) -> bool:
    if len(port.shape) != 3 or port.dtype not in FLOATS:
        return False
    if head == "end2end":
        return port.shape[2] in (END2END_COLUMNS, None)
    return port.shape[1] in (BOX_ROWS + classes, None) and port.shape[2] != END2END_COLUMNS


def _text(shape: Shape) -> str:
    return "(" + ", ".join("?" if side is None else str(side) for side in shape) + ")"
