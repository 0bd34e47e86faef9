"""The `.engine` file: a length, metadata, and the serialised plan of TensorRT.

Ultralytics writes four bytes (little-endian length), so many bytes of JSON and then the
plan; `trtexec` writes the plan alone. Both are read here, without TensorRT. A plan is
opaque: only the runtime can say whether it is one, so it is loaded only where the bundle's
digests have been verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.detect.tensorrt.errors import EngineFileError
from protocol.builds import Precision, ShortText
from protocol.bundles import CLASSES_MAX

METADATA_BYTES_MAX = 1024 * 1024
ENGINE_BYTES_MAX = 2 * 1024**3

LENGTH_BYTES = 4
_OBJECT = ord("{")

SidePx = Annotated[int, Field(ge=1, le=8192)]


class EngineMetadata(BaseModel):
    """What the header says; each None where it does not. Unknown fields are kept.

    Attributes:
        imgsz: height and width of the input, px.
        batch: frames at once, at most.
        names: class names by class id.
        stride: px; a side of the input is a multiple of it.
        dla: the DLA core of a Jetson that the plan was built for.
        tensorrt_version, precision: of the build; only engines built by this agent name them.
        version_compatible: built so that later versions of TensorRT load it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    task: ShortText | None = None
    imgsz: tuple[SidePx, SidePx] | None = None
    batch: int | None = Field(default=None, ge=1, le=256)
    names: dict[int, ShortText] | None = Field(default=None, max_length=CLASSES_MAX)
    stride: int | None = Field(default=None, ge=1, le=1024)
    dla: int | None = Field(default=None, ge=0, le=15)
    tensorrt_version: ShortText | None = None
    precision: Precision | None = None
    version_compatible: bool = False


@dataclass(frozen=True)
class EngineFile:
    """A file taken apart; `metadata` is empty where there was no header."""

    metadata: EngineMetadata
    plan: memoryview


def split_engine(data: bytes) -> EngineFile:
    """Header and plan of an engine's bytes.

    A header begins with `{` after its length; any other bytes are a plan without one.

    Raises EngineFileError where a header is cut short, too long or no JSON object, or where
    no plan is left.
    """
    if len(data) <= LENGTH_BYTES or data[LENGTH_BYTES] != _OBJECT:
        return EngineFile(EngineMetadata(), _plan(data, 0))
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    if length > METADATA_BYTES_MAX:
        raise EngineFileError(
            f"the engine's header claims {length} bytes, over {METADATA_BYTES_MAX}; export it again"
        )
    end = LENGTH_BYTES + length
    if len(data) < end:
        raise EngineFileError(
            f"the engine is cut short: {len(data)} of at least {end} bytes; fetch it again"
        )
    try:
        metadata = EngineMetadata.model_validate_json(data[LENGTH_BYTES:end])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "header"
        raise EngineFileError(
            f"the engine's header is no metadata: {where}: {first['msg']}; export it again"
        ) from error
    return EngineFile(metadata, _plan(data, end))


def join_engine(metadata: EngineMetadata, plan: bytes) -> bytes:
    """The bytes of an engine file, as Ultralytics reads and writes them.

    Raises EngineFileError where the metadata is too long or the plan is empty.
    """
    header = metadata.model_dump_json(exclude_none=True).encode()
    if len(header) > METADATA_BYTES_MAX:
        raise EngineFileError(
            f"metadata of {len(header)} bytes is over {METADATA_BYTES_MAX}; shorten the class names"
        )
    _plan(plan, 0)
    return len(header).to_bytes(LENGTH_BYTES, "little") + header + plan


def read_engine(path: Path) -> EngineFile:
    """The engine at `path`. Raises EngineFileError as `split_engine` does, and where the
    file is missing or over `ENGINE_BYTES_MAX`."""
    try:
        size = path.stat().st_size
        if size > ENGINE_BYTES_MAX:
            raise EngineFileError(
                f"{path.name} has {size} bytes, over {ENGINE_BYTES_MAX}; it is no detector"
            )
        return split_engine(path.read_bytes())
    except OSError as error:
        raise EngineFileError(
            f"no engine at {path}: {error.strerror}; fetch its bundle again"
        ) from error


def _plan(data: bytes, start: int) -> memoryview:
    if len(data) <= start:
        raise EngineFileError("the engine holds no plan; fetch it again")
    return memoryview(data)[start:]
