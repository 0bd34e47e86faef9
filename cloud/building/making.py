"""The hub's side of the building child: an order goes into a folder, an artifact comes out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cloud.building.targets import BuildTarget, parse
from cloud.children import ChildFailed
from cloud.errors import InvalidError
from protocol.messages import DetectedBox

_BASE_FIELDS = ("files", "reference", "opset", "head")
CHILD = (sys.executable, "-m", "cloud.building.child")
FRAMES_NAME = "golden"

RunChild = Callable[[Sequence[str], Mapping[str, str], Callable[[], None]], None]
"""Runs a command with more environment, calling the third now and then; raises ChildFailed,
ChildCanceled."""

Head = Literal["end2end", "raw"]

Ranking = Sequence[Sequence[Any]]
"""As a child wrote it; for the next child."""

Tell = Callable[[str, float, float], None]
"""Told a stage, how much of it is done, and of how much."""


BASE_NAME = "onnx-fp32"
"""The target that all others are made of and held against."""


def is_base(target: BuildTarget) -> bool:
    return target.name == BASE_NAME


def base_target(target: BuildTarget) -> BuildTarget:
    """The fp32 ONNX target of the same input."""
    return parse(f"{BASE_NAME}@{size_of(target)}", target.width)


def size_of(target: BuildTarget) -> str:
    """The input of a target, as a target's name says it."""
    return f"{target.width}x{target.height}x{target.batch}"


def label(target: BuildTarget) -> str:
    """The name of its builds: `openvino-bf16-640x640`."""
    return target.identity(None).label()


@dataclass(frozen=True)
class Base:
    """The fp32 ONNX file of a version at one input size, from which all else is made.

    Attributes:
        reference: what the checkpoint sees in each golden frame by PyTorch; None where there
            is no checkpoint.
        facts: versions of the exporting libraries, digest of the backbone.
    """

    onnx: Path
    opset: int
    head: Head = "end2end"
    reference: tuple[tuple[DetectedBox, ...], ...] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """The files of one build, by their path in the bundle, and how they were made.

    Attributes:
        rungs: how many grades of keeping layers in float there are; 1: nothing to choose.
        ranking: the blocks with what rounding each costs, where it was measured: the next
            rung of the same target is made by it.
        bound: what of its identity only its maker knew: a plan's GPU and TensorRT.
    """

    files: Mapping[str, Path]
    opset: int | None
    notes: Mapping[str, Any] = field(default_factory=dict)
    rungs: int = 1
    ranking: Ranking | None = None
    head: Head = "end2end"
    bound: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Maker:
    """Makes artifacts in child processes, each in a folder of its own below `folder`."""

    folder: Path
    run_child: RunChild
    tell: Tell = lambda stage, done, total: None  # noqa: ARG005
    command: Sequence[str] = CHILD

    def base(
        self,
        target: BuildTarget,
        weights: Path,
        weights_format: str,
        class_names: Sequence[str],
        frames: Sequence[Path],
    ) -> Base:
        """The fp32 ONNX file for the target's input.

        Raises:
            InvalidError: the weights are not what they should be, or have no such input.
            ChildFailed, ChildCanceled: the child did not end well.
        """
        order = {
            "make": "onnx-fp32",
            "weights": str(self._with_suffix(weights, weights_format, size_of(target))),
            "weights_format": weights_format,
            "width": target.width,
            "height": target.height,
            "batch": target.batch,
            "class_names": list(class_names),
            FRAMES_NAME: [str(frame) for frame in frames],
        }
        folder, result = self._do(f"base-{size_of(target)}", order, "exporting")
        reference = result.get("reference")
        return Base(
            onnx=folder / result["files"]["model.onnx"],
            opset=result["opset"],
            head=result.get("head", "end2end"),
            reference=None if reference is None else read_reference(reference),
            facts={k: v for k, v in result.items() if k not in _BASE_FIELDS},
        )

    def derived(
        self,
        target: BuildTarget,
        base: Base,
        images: Sequence[Path],
        rung: int,
        ranking: Ranking | None = None,
    ) -> Artifact:
        """The target's artifact, `rung` grades of it kept in float.

        Args:
            images: whose activations an int8 build takes its ranges from.
            ranking: of a lower rung's artifact, of the same target, base and images; None: it
                is measured, which takes minutes.

        Raises: as `base` does.
        """
        order = {
            "make": target.name,
            "onnx": str(base.onnx),
            "calibration": [str(image) for image in images],
            "rung": rung,
            "ranking": ranking,
        }
        folder, result = self._do(f"{label(target)}-{rung}", order, f"making {label(target)}")
        notes = result.get("notes", {})
        return Artifact(
            files={path: folder / name for path, name in result["files"].items()},
            opset=result.get("opset"),
            notes={**notes, **base.facts},
            rungs=int(notes.get("rungs", 1)),
            ranking=result.get("ranking"),
            head=base.head,
        )

    def ranges(self, artifact: Artifact, base: Base, images: Sequence[Path]) -> dict[str, Any]:
        """How the quantised ranges of an artifact sit on these images' activations."""
        quantised = artifact.files.get("model.onnx") or artifact.files["model.xml"]
        order = {
            "make": "ranges",
            "onnx": str(quantised),
            "float_onnx": str(base.onnx),
            "calibration": [str(image) for image in images],
        }
        _folder, result = self._do("ranges", order, "looking at ranges")
        return result

    def _with_suffix(self, weights: Path, weights_format: str, name: str) -> Path:
        """A link to the weights by whose name libraries know what they are; a blob has none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        link = self.folder / f"weights-{name}.{weights_format}"
        link.symlink_to(weights.absolute())
        return link

    def _do(self, name: str, order: dict[str, Any], stage: str) -> tuple[Path, dict[str, Any]]:
        folder = self.folder / name
        folder.mkdir(parents=True)
        (folder / "order.json").write_text(json.dumps(order))
        self.tell(stage, 0, 0)
        try:
            self.run_child(
                [*self.command, str(folder)],
                environment(folder),
                lambda: self._pass_on(folder / "progress.jsonl", stage),
            )
        except ChildFailed:
            _raise_refusal(folder)
            raise
        return folder, _result(folder)

    def _pass_on(self, progress: Path, stage: str) -> None:
        try:
            last = json.loads(progress.read_text().splitlines()[-1])
            done, total = float(last["done"]), float(last["total"])
            said = str(last["stage"])[:80]
        except (OSError, ValueError, LookupError, TypeError):
            return  # nothing said yet, or a line half written
        self.tell(f"{stage}: {said}", done, total)


def environment(folder: Path) -> dict[str, str]:
    """Libraries without network, without installing, with their settings in `folder`."""
    return {
        "GOMP_SPINCOUNT": "100000",
        "PYTHONDONTWRITEBYTECODE": "",
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": str(folder / "config"),
        "WANDB_MODE": "disabled",
        "NNCF_TELEMETRY": "0",
        "CI": "true",
        "DO_NOT_TRACK": "1",
    }


def read_reference(frames: Sequence[Sequence[Any]]) -> tuple[tuple[DetectedBox, ...], ...]:
    """What a child says that the checkpoint sees, frame by frame."""
    return tuple(tuple(DetectedBox.model_validate(d) for d in frame) for frame in frames)


def _result(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError) as error:
        raise ChildFailed(f"the building child left no result: {error}") from error
    if not isinstance(found, dict):
        raise ChildFailed("the building child's result is no object")
    return found


def _raise_refusal(folder: Path) -> None:
    """Raise InvalidError where the child said what its user can mend."""
    try:
        error = json.loads((folder / "result.json").read_text())["error"]
        message, remedy = str(error["message"]), str(error["remedy"])
    except (OSError, ValueError, LookupError, TypeError):
        return
    raise InvalidError(message, remedy)
