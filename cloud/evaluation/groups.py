"""`argosy score`: labels and predictions as JSON lines, scored group by group."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.errors import InvalidError
from cloud.evaluation.coco import Score, ScoredBox, ScoredImage, score

LINE_BYTES_MAX = 4 * 1024 * 1024

Finite = Annotated[float, Field(allow_inf_nan=False)]
Key = tuple[str, str]


class _Detection(BaseModel):
    model_config = ConfigDict(extra="ignore")

    class_id: int = Field(ge=0)
    box: tuple[Finite, Finite, Finite, Finite]
    confidence: float | None = Field(default=None, ge=0, le=1)


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    group: str
    image: str
    detections: list[_Detection]


def score_files(truth: Path, predictions: Path) -> dict[str, Score]:
    """The score of each group of `truth`, in the order of their names.

    An image without predictions counts as one in which nothing was seen.

    Raises:
        InvalidError: a line is malformed, says an image twice, lacks a confidence or
            predicts for an image that has no truth; the message names file and line.
    """
    labels = _read(truth, needs_confidence=False)
    seen = _read(predictions, needs_confidence=True)
    for key, (number, _boxes) in seen.items():
        if key not in labels:
            raise InvalidError(
                f"{predictions}:{number}: group {key[0]!r} image {key[1]!r} is not in {truth}",
                "give the truth of every image, with empty detections where there is nothing",
            )
    groups: dict[str, list[ScoredImage]] = {}
    for key, (_number, boxes) in labels.items():
        image = ScoredImage(boxes, seen[key][1] if key in seen else ())
        groups.setdefault(key[0], []).append(image)
    return {group: score(images) for group, images in sorted(groups.items())}


def _read(path: Path, needs_confidence: bool) -> dict[Key, tuple[int, tuple[ScoredBox, ...]]]:
    found: dict[Key, tuple[int, tuple[ScoredBox, ...]]] = {}
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            line = _parse(raw, f"{path}:{number}")
            if needs_confidence and any(d.confidence is None for d in line.detections):
                raise InvalidError(
                    f"{path}:{number}: a prediction has no confidence", "give it, 0 to 1"
                )
            key = (line.group, line.image)
            if key in found:
                raise InvalidError(
                    f"{path}:{number}: group {key[0]!r} image {key[1]!r} was said in line "
                    f"{found[key][0]} already",
                    "one line for each image",
                )
            found[key] = (
                number,
                tuple(
                    ScoredBox(d.class_id, d.box, 1.0 if d.confidence is None else d.confidence)
                    for d in line.detections
                ),
            )
    return found


def _parse(raw: bytes, where: str) -> _Line:
    if len(raw) > LINE_BYTES_MAX:
        raise InvalidError(f"{where}: the line is over {LINE_BYTES_MAX} bytes", "shorten it")
    try:
        return _Line.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "line"
        raise InvalidError(
            f"{where}: {field}: {first['msg']}",
            'a line is {"group", "image", "detections": [{"class_id", "box", "confidence"}]}',
        ) from error
