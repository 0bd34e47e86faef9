"""What an exporter wrote into its artifact: task, class names, stride.

Ultralytics writes Python literals into an ONNX file's properties, and for OpenVINO a
`metadata.yaml` beside the network and labels inside it. An artifact without any of it is
fine: then shapes decide. What is there is untrusted: bounded, and never evaluated.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.errors import BundleError, DetectorError
from protocol.bundles import CLASSES_MAX

TEXT_CHARACTERS_MAX = 1024 * 1024
NAME_CHARACTERS_MAX = 128
DETECT = "detect"


@dataclass(frozen=True)
class Metadata:
    """What an artifact says of itself; None where it says nothing.

    Attributes:
        task: Ultralytics' name of it; only "detect" is a detector's.
        class_names: by class id.
        underscored: whether spaces in `class_names` were written as underscores.
        stride: px; a side of the input is a multiple of it.
    """

    task: str | None = None
    class_names: tuple[str, ...] | None = None
    underscored: bool = False
    stride: int | None = None

    def check(self, artifact: str, class_names: tuple[str, ...]) -> None:
        """Hold it against the manifest.

        Raises:
            DetectorError: the artifact is no detector.
            BundleError: it names other classes than `class_names`.
        """
        if self.task is not None and self.task != DETECT:
            raise DetectorError(
                f"{artifact} is a model for the task {self.task!r}; train and export a detector"
            )
        if self.class_names is None:
            return
        wanted = (
            tuple(n.replace(" ", "_") for n in class_names) if self.underscored else class_names
        )
        if self.class_names != wanted:
            raise BundleError(f"{artifact}: {_difference(self.class_names, wanted)}; pack it again")


def from_properties(artifact: str, properties: Mapping[str, str]) -> Metadata:
    """Metadata of an ONNX file, whose values are Python literals or plain text.

    Raises DetectorError where a value is not what Ultralytics would write.
    """
    names = properties.get("names")
    stride = properties.get("stride")
    return Metadata(
        task=properties.get("task"),
        class_names=None if names is None else class_names(artifact, _literal(artifact, names)),
        stride=None if stride is None else _stride(artifact, _literal(artifact, stride)),
    )


def from_yaml(artifact: str, text: str) -> Metadata:
    """Metadata of `metadata.yaml`. Raises DetectorError as `from_properties` does."""
    import yaml

    _bounded(artifact, text)
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DetectorError(f"{artifact} is no YAML: {error}; export it again") from error
    if not isinstance(found, dict):
        raise DetectorError(f"{artifact} holds no mapping; export it again")
    names, stride, task = found.get("names"), found.get("stride"), found.get("task")
    return Metadata(
        task=None if task is None else str(task),
        class_names=None if names is None else class_names(artifact, names),
        stride=None if stride is None else _stride(artifact, stride),
    )


def from_labels(artifact: str, labels: str) -> Metadata:
    """Metadata of an OpenVINO network's labels: names apart by spaces, their own spaces
    written as underscores."""
    _bounded(artifact, labels)
    return Metadata(class_names=class_names(artifact, labels.split()), underscored=True)


def class_names(artifact: str, found: Any) -> tuple[str, ...]:
    """Names by class id, from a list or from a mapping of ids 0, 1, 2 ….

    Raises DetectorError where there are none, too many, or where ids are missing.
    """
    if isinstance(found, Mapping) and set(found) == set(range(len(found))):
        found = [found[i] for i in range(len(found))]
    if not isinstance(found, list | tuple) or not 1 <= len(found) <= CLASSES_MAX:
        raise DetectorError(
            f"{artifact}: its class names are no list of 1 to {CLASSES_MAX}; export it again"
        )
    names = tuple(str(name) for name in found)
    if any(len(name) > NAME_CHARACTERS_MAX for name in names):
        raise DetectorError(f"{artifact}: a class name is over {NAME_CHARACTERS_MAX} characters")
    return names


def _literal(artifact: str, text: str) -> Any:
    _bounded(artifact, text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise DetectorError(
            f"{artifact}: metadata {text[:40]!r} is no literal; export it again"
        ) from error


def _bounded(artifact: str, text: str) -> None:
    if len(text) > TEXT_CHARACTERS_MAX:
        raise DetectorError(
            f"{artifact}: metadata of {len(text)} characters is over {TEXT_CHARACTERS_MAX}"
        )


def _stride(artifact: str, found: Any) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= 1024:
        raise DetectorError(f"{artifact}: stride {found!r} is none; export it again")
    return found


def _difference(found: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    for class_id, (its, ours) in enumerate(zip(found, wanted, strict=False)):
        if its != ours:
            return f"it names class {class_id} {its!r}, the manifest {ours!r}"
    return f"it names {len(found)} classes, the manifest {len(wanted)}"
