"""A bundle run as a device would run it: by the agent's own code, in a child process.

The hub never imports the agent. What it says of a build was computed by the artifact,
the preprocessing and the runtime that ship.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.children import ChildFailed, run_child
from protocol.messages import DetectedBox

EVALUATE = (sys.executable, "-m", "edge_agent", "evaluate")
CONFIDENCE_FLOOR = 0.001


class ShippedResult(BaseModel):
    """What the bundle saw in one image: boxes in pixels of that image."""

    model_config = ConfigDict(frozen=True)

    image: str
    width: int
    height: int
    detections: tuple[DetectedBox, ...]
    latency_ms: float = Field(ge=0)


@dataclass(frozen=True)
class ShippedRunner:
    """Runs bundles with `command`, which takes the arguments of `argosy-agent evaluate`."""

    command: Sequence[str] = EVALUATE
    canceled: Callable[[], bool] = lambda: False

    def run(
        self, bundle: Path, images: Sequence[Path], work: Path, floor: float = CONFIDENCE_FLOOR
    ) -> list[ShippedResult]:
        """The results of `images`, in their order.

        Args:
            work: a folder for the list, the results and the child's log.
            floor: confidence from which a detection is told.

        Raises:
            ChildFailed: the agent failed, or answered something else than was asked.
            ChildCanceled: `canceled()` came true.
        """
        work.mkdir(parents=True, exist_ok=True)
        listing, out = work / "images.txt", work / "predictions.jsonl"
        listing.write_text("".join(f"{image}\n" for image in images))
        out.unlink(missing_ok=True)
        arguments = ["--bundle", bundle, "--images", listing, "--out", out, "--floor", floor]
        run_child(
            [*self.command, *map(str, arguments)], work / "evaluate.log", canceled=self.canceled
        )
        return _read(out, images)


def _read(out: Path, images: Sequence[Path]) -> list[ShippedResult]:
    try:
        with out.open() as lines:
            results = [ShippedResult.model_validate_json(line) for line in lines]
    except (OSError, ValidationError) as error:
        raise ChildFailed(f"the agent's predictions cannot be read: {error}") from error
    if [r.image for r in results] != [str(image) for image in images]:
        raise ChildFailed(
            f"the agent answered {len(results)} images, not the {len(images)} asked for"
        )
    return results
