"""The bundle: everything that must swap together, named by one digest.

A bundle is a manifest and files. The manifest is canonical JSON (RFC 8785); its sha256
is the build's name. It lists every file with its digest and chunks, so holding the
name is enough to fetch and verify all the rest, over any transport.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocol.builds import BuildIdentity, Format
from protocol.chunks import BlobRef, Sha256, sha256_hex
from protocol.errors import DigestError, ManifestError
from protocol.windows import WindowStats

MANIFEST_BYTES_MAX = 4 * 1024 * 1024
FILES_MAX = 256
CLASSES_MAX = 4096
CALIBRATION_POINTS_MAX = 1024
FORMAT_VERSION = 1

MODEL_PATH = "model.onnx"
MODEL_FILES: dict[Format, tuple[str, ...]] = {
    Format.ONNX: (MODEL_PATH,),
    Format.OPENVINO: ("model.xml", "model.bin"),
    Format.TENSORRT: ("model.engine",),
}
"""The files of a bundle that hold its weights, by format; the first is the one to load."""

GOLDEN_PATH, GOLDEN_FOLDER = "golden.json", "golden"
"""The golden frames' answers, and the folder of their pictures: to prove a bundle by, and not
read to serve with it."""
DRIFT_PATH = "drift.json"
MANIFEST_PATH = "manifest.json"

RelativePath = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._-]{0,63}){0,3}$")
]
Score = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=128)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Preprocessing(_Part):
    """How a frame becomes the input tensor: letterbox, pad value, channel order, scale."""

    letterbox: Literal["centred"] = "centred"
    pad_value: int = Field(default=114, ge=0, le=255)
    channels: Literal["rgb"] = "rgb"
    scale: float = Field(default=1 / 255, gt=0)


class Thresholds(_Part):
    """Confidence from which a detection is served, with exceptions per class id."""

    default: Score = 0.25
    per_class: dict[int, Score] = Field(default_factory=dict, max_length=CLASSES_MAX)

    def of(self, class_id: int) -> float:
        return self.per_class.get(class_id, self.default)


class Calibration(_Part):
    """From a raw confidence to how often it is right: a rising line through these points.

    Both an isotonic fit and a sampled Platt curve are such a line. It changes what is
    counted and harvested, never the order of detections.
    """

    raw: tuple[Score, ...] = Field(min_length=2, max_length=CALIBRATION_POINTS_MAX)
    calibrated: tuple[Score, ...] = Field(min_length=2, max_length=CALIBRATION_POINTS_MAX)

    @model_validator(mode="after")
    def _rising(self) -> Calibration:
        if len(self.raw) != len(self.calibrated):
            raise ValueError("a calibration has as many raw as calibrated confidences")
        if any(a >= b for a, b in itertools.pairwise(self.raw)):
            raise ValueError("the raw confidences of a calibration rise from point to point")
        if any(a > b for a, b in itertools.pairwise(self.calibrated)):
            raise ValueError("the calibrated confidences never fall")
        return self


class Postprocessing(_Part):
    """What is done to a head's answer; changes what is seen, so it belongs to the build.

    `deduplicate_iou`: of boxes that overlap by more than so much, whatever their classes, only
    the most confident is kept. None keeps all: it is set only where an evaluation says that
    it does no harm.
    """

    deduplicate_iou: float | None = Field(default=None, gt=0, le=1)


class BundleFile(_Part):
    """One file of the bundle: where it lies in it and which blob it is."""

    path: RelativePath
    blob: BlobRef


class Manifest(_Part):
    """What a bundle is. Floats are finite; paths stay inside the bundle, each in its own place."""

    format_version: Literal[1] = 1
    model: Name
    version: int = Field(ge=1)
    build: BuildIdentity
    head: Literal["end2end", "raw"]
    class_names: tuple[Name, ...] = Field(min_length=1, max_length=CLASSES_MAX)
    thresholds: Thresholds
    preprocessing: Preprocessing
    postprocessing: Postprocessing | None = None
    calibration: Calibration | None = None
    files: tuple[BundleFile, ...] = Field(min_length=1, max_length=FILES_MAX)
    lineage: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Manifest:
        paths = [f.path for f in self.files]
        _require_places([MANIFEST_PATH, *paths])
        for needed in (*MODEL_FILES[self.build.format], GOLDEN_PATH):
            if needed not in paths:
                raise ValueError(f"the bundle lacks {needed}")
        return self

    def file(self, path: str) -> BlobRef:
        """The blob at `path`. Raises ManifestError where there is none."""
        for entry in self.files:
            if entry.path == path:
                return entry.blob
        raise ManifestError(f"the bundle of {self.model} v{self.version} has no file {path}")

    @property
    def size_bytes(self) -> int:
        return sum(f.blob.size_bytes for f in self.files)


def _require_places(paths: Sequence[str]) -> None:
    """Each of these has a place of its own, also on a disk that takes no notice of case.

    Raises ValueError: a file that is written over another may be linked to another bundle's.
    """
    taken = Counter(path.lower() for path in paths)
    for path in paths:
        if taken[path.lower()] > 1:
            raise ValueError(f"two files have the same path, {path}")
        for folder in PurePosixPath(path.lower()).parents:
            if str(folder) in taken:
                raise ValueError(f"{path} lies below a file of the bundle")


class GoldenDetection(_Part):
    """A detection that the build must reproduce: box in pixels of the golden image."""

    class_id: int = Field(ge=0)
    confidence: Score
    box: tuple[float, float, float, float]


class GoldenFrame(_Part):
    """An image of the bundle with what the build, as shipped, sees in it."""

    image: RelativePath
    detections: tuple[GoldenDetection, ...] = Field(max_length=300)


class GoldenSet(_Part):
    """The content of `golden.json`: frames with expected outputs and the tolerance."""

    frames: tuple[GoldenFrame, ...] = Field(min_length=1, max_length=64)
    confidence_floor: Score = 0.25
    confidence_tolerance: float = Field(default=0.02, ge=0)
    box_tolerance_px: float = Field(default=1.5, ge=0)


class DriftReference(_Part):
    """The content of `drift.json`: what the build counts while nothing drifts.

    Attributes:
        images_sha256: over the digests of the images, sorted, one a line.
        stats: of the build as shipped on those images, in the very shape that devices report,
            so that the two compare bin by bin.
    """

    images: int = Field(ge=1)
    images_sha256: Sha256
    stats: WindowStats


class GoldenOutcome(_Part):
    """The result of running the golden frames on a device."""

    passed: bool
    frames: int
    reason: str = ""
    confidence_error_max: float | None = None
    box_error_px_max: float | None = None


def proves_only(path: str) -> bool:
    """Whether a file of a bundle is there to prove it by, and not needed to serve with it."""
    return path == GOLDEN_PATH or path.startswith(f"{GOLDEN_FOLDER}/")


def canonical(manifest: Manifest) -> bytes:
    """The manifest's canonical bytes (RFC 8785), the ones that are hashed and shipped."""
    return rfc8785.dumps(manifest.model_dump(mode="json", exclude_none=True))


def digest(manifest: Manifest) -> Sha256:
    """The build's name: sha256 of its canonical manifest."""
    return sha256_hex(canonical(manifest))


def read_manifest(data: bytes, expected_digest: str | None = None) -> Manifest:
    """Parse manifest bytes, checking first that `expected_digest` names them.

    Raises:
        DigestError: the bytes are not the named manifest.
        ManifestError: they are no manifest, too large, or of an unknown format version.
    """
    if len(data) > MANIFEST_BYTES_MAX:
        raise ManifestError(f"a manifest of {len(data)} bytes is over {MANIFEST_BYTES_MAX}")
    if expected_digest is not None and sha256_hex(data) != expected_digest:
        raise DigestError(f"the manifest is not the one named {expected_digest[:12]}")
    try:
        found = json.loads(data).get("format_version")
        if found != FORMAT_VERSION:
            raise ManifestError(
                f"bundle format {found!r} is unknown here; this side reads {FORMAT_VERSION}"
            )
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ManifestError(f"not a manifest: {error.errors()[0]['msg']}") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise ManifestError(f"not a manifest: {error}") from error
