"""A bundle run as a device would run it: by the agent's own code, in a child process.

The hub never imports the agent. What it says of a build was computed by the artifact,
the preprocessing and the runtime that ship.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.children import ChildFailed, run_child
from protocol.messages import DetectedBox
from protocol.windows import WindowStats

EVALUATE = (sys.executable, "-m", "edge_agent", "evaluate")
CONFIDENCE_FLOOR = 0.001
REFUSED_STATUS, REFUSAL = 2, "argosy-agent: "
"""How the agent ends with an error of its own, and what the line begins with that tells it."""

OnProgress = Callable[[int, int], None]
"""Told the images that are done and how many there are."""


class BundleRefused(ChildFailed):
    """The agent says what is wrong with the bundle: another attempt would end alike."""

    @property
    def fault(self) -> str:
        """What is wrong, without the agent's remedy: that is for who has the device."""
        return str(self).partition("; ")[0]


class ShippedResult(BaseModel):
    """What the bundle saw in one image: boxes in pixels of that image.

    Attributes:
        luminance: mean grey level, 0..255.
        sharpness: variance of the Laplacian.
    """

    model_config = ConfigDict(frozen=True)

    image: str
    width: int
    height: int
    detections: tuple[DetectedBox, ...]
    latency_ms: float = Field(ge=0)
    luminance: float | None = None
    sharpness: float | None = None


@dataclass(frozen=True)
class ShippedRun:
    """A bundle's answers to some images.

    Attributes:
        summary: speed, memory, runtime and machine, as the agent says them.
        stats: what a device would have counted over these images.
    """

    results: list[ShippedResult]
    summary: dict[str, Any]
    stats: WindowStats


@dataclass(frozen=True)
class ShippedRunner:
    """Runs bundles with `command`, which takes the arguments of `argosy-agent evaluate`."""

    command: Sequence[str] = EVALUATE
    canceled: Callable[[], bool] = lambda: False

    def run(
        self,
        bundle: Path,
        images: Sequence[Path],
        work: Path,
        floor: float = CONFIDENCE_FLOOR,
        *,
        latency_frames: int = 0,
        on_progress: OnProgress = lambda done, total: None,  # noqa: ARG005
    ) -> ShippedRun:
        """The answers to `images`, in their order.

        Args:
            work: a folder for the list, the results and the child's log.
            floor: confidence from which a detection is told.
            latency_frames: so many are timed one at a time, apart from the rest.

        Raises:
            BundleRefused: the agent ended with an error of its own.
            ChildFailed: the agent failed, or answered something else than was asked.
            ChildCanceled: `canceled()` came true.
        """
        work.mkdir(parents=True, exist_ok=True)
        place = {name: work / name for name in ("images.txt", "summary.json", "stats.json")}
        out, progress = work / "predictions.jsonl", work / "progress.jsonl"
        place["images.txt"].write_text("".join(f"{image}\n" for image in images))
        for stale in (out, progress, place["summary.json"], place["stats.json"]):
            stale.unlink(missing_ok=True)
        arguments = {
            "--bundle": bundle,
            "--images": place["images.txt"],
            "--out": out,
            "--floor": floor,
            "--summary": place["summary.json"],
            "--stats": place["stats.json"],
            "--progress": progress,
            "--latency-frames": latency_frames,
        }
        try:
            run_child(
                [*self.command, *(str(part) for pair in arguments.items() for part in pair)],
                work / "evaluate.log",
                canceled=self.canceled,
                on_poll=lambda: _tell(progress, on_progress),
            )
        except ChildFailed as failed:
            refusal = _refusal(failed)
            if refusal is None:
                raise
            raise refusal from failed
        return ShippedRun(
            _read(out, images), _summary(place["summary.json"]), _stats(place["stats.json"])
        )


def _refusal(failed: ChildFailed) -> BundleRefused | None:
    """What the agent says is wrong; None where it ended in another way."""
    told = [n for n, line in enumerate(failed.last_lines) if line.startswith(REFUSAL)]
    if failed.status != REFUSED_STATUS or not told:
        return None
    words = " ".join(failed.last_lines[told[-1] :]).removeprefix(REFUSAL)
    return BundleRefused(words, status=failed.status, last_lines=failed.last_lines)


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


def _summary(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ChildFailed(f"the agent's summary cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ChildFailed("the agent's summary is no object")
    return found


def _stats(path: Path) -> WindowStats:
    try:
        return WindowStats.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ChildFailed(f"the agent's statistics cannot be read: {error}") from error


def _tell(progress: Path, on_progress: OnProgress) -> None:
    """Pass the last whole line on."""
    try:
        lines = progress.read_text().splitlines()
        last = json.loads(lines[-1])
        on_progress(int(last["done"]), int(last["total"]))
    except (OSError, ValueError, LookupError, TypeError):
        return  # not begun yet, or a line half written
