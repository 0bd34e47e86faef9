"""A labelled folder in YOLO layout, read whole or refused with a list of what is wrong.

Layout: `data.yaml` with `names`, `train`, `val` and `path`; a split is a folder of images,
a text file that lists images, or several of these. The labels of `…/images/…/a.jpg` lie in
`…/labels/…/a.txt`, one line a box. A `tags.csv` may say where the images were taken (`tags`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud.datasets.boxes import LabelBox, parse_line
from cloud.datasets.images import SUFFIXES, ImageFacts, ImageLimits, read_image
from cloud.datasets.problems import Problems
from cloud.datasets.tags import FILENAME as TAGS_FILENAME
from cloud.datasets.tags import ImageTags, read_tags
from protocol.bundles import CLASSES_MAX

YAML_BYTES_MAX = 1024 * 1024
LIST_BYTES_MAX = 256 * 1024 * 1024
LABEL_BYTES_MAX = 4 * 1024 * 1024
PATH_CHARACTERS_MAX = 255
SPLITS = ("train", "val")

_YAML_VALUE_ERRORS = (ValueError, IndexError, KeyError, AttributeError, TypeError)
"""What the YAML library raises for a scalar that is none of its kind, an impossible date say."""

Progress = Callable[[int, int], None]
"""Called with images done and images in all; may raise to stop the reading."""


@dataclass(frozen=True)
class FolderLimits:
    """Bounds of one import."""

    images_max: int = 1_000_000
    problems_max: int = 50
    image: ImageLimits = field(default_factory=ImageLimits)


@dataclass(frozen=True)
class FolderImage:
    """One labelled image: `name` is its path as far as the folder, for people."""

    path: Path
    name: str
    facts: ImageFacts
    boxes: tuple[LabelBox, ...]
    tags: ImageTags = field(default_factory=ImageTags)


@dataclass(frozen=True)
class FolderContent:
    """All of a folder, in the order of the files' names."""

    class_names: tuple[str, ...]
    train: tuple[FolderImage, ...]
    val: tuple[FolderImage, ...]


def read_folder(
    folder: Path, limits: FolderLimits | None = None, progress: Progress | None = None
) -> FolderContent:
    """Read and check everything.

    Raises:
        FolderError: with all problems, each naming file, line and remedy.
    """
    limits = limits or FolderLimits()
    folder = folder.expanduser().resolve()
    problems = Problems(folder, limits.problems_max)
    yaml_path = _find_yaml(folder, problems)
    names, sources, root = _read_yaml(yaml_path, problems)
    paths = {split: _list_images(sources[split], root, problems) for split in SPLITS}
    total = sum(len(p) for p in paths.values())
    if total > limits.images_max:
        problems.add(str(folder), f"{total} images are over images_max {limits.images_max}")
    problems.stop_if_any()
    listed = {problems.name(path) for split in SPLITS for path in paths[split]}
    tags = read_tags(yaml_path.parent / TAGS_FILENAME, listed, problems)

    done = 0
    images: dict[str, list[FolderImage]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        for path in paths[split]:
            image = _read_labelled(path, len(names), limits.image, tags, problems)
            images[split] += [image] if image else []
            done += 1
            if progress:
                progress(done, total)
    _refuse_overlap(images["train"], images["val"], problems)
    problems.stop_if_any()
    return FolderContent(names, tuple(images["train"]), tuple(images["val"]))


def _find_yaml(folder: Path, problems: Problems) -> Path:
    if folder.is_file():
        problems.folder = folder.parent
        return folder
    found = folder / "data.yaml"
    if not found.is_file():
        problems.add(
            str(found), "not there; name a folder in YOLO layout, with data.yaml at its top"
        )
        problems.stop_if_any()
    return found


def _read_yaml(path: Path, problems: Problems) -> tuple[tuple[str, ...], dict[str, Any], Path]:
    import yaml

    where = path.name
    content: Any = None
    try:
        if path.stat().st_size > YAML_BYTES_MAX:
            problems.add(where, f"over {YAML_BYTES_MAX} bytes; this is no data.yaml")
        else:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, RecursionError, *_YAML_VALUE_ERRORS) as error:
        problems.add(where, f"cannot be read as YAML: {str(error)[:200]}")
    problems.stop_if_any()
    if not isinstance(content, dict):
        problems.add(where, "is no mapping; it needs the keys names, train and val")
        problems.stop_if_any()
    names = _class_names(content, where, problems)
    for split in SPLITS:
        if not content.get(split):
            problems.add(where, f"lacks the key {split}: give the folder or list of its images")
    problems.stop_if_any()
    return names, {s: content[s] for s in SPLITS}, path.parent / _root(content, where, problems)


def _root(content: dict[Any, Any], where: str, problems: Problems) -> str:
    given = content.get("path") or "."
    if not isinstance(given, str) or len(given) > PATH_CHARACTERS_MAX:
        problems.add(where, "path is no path; leave it away where the images lie beside")
        problems.stop_if_any()
    return str(given)


def _class_names(content: dict[Any, Any], where: str, problems: Problems) -> tuple[str, ...]:
    given = content.get("names")
    if isinstance(given, list):
        given = dict(enumerate(given))
    if not isinstance(given, dict) or sorted(given, key=str) != sorted(range(len(given)), key=str):
        problems.add(where, "names is neither a list nor a mapping of 0, 1, 2 … to names")
        return ()
    values = [given[i] for i in range(len(given))]
    # Only plain values become text: aliases make a small file's lists as large as memory.
    if not all(isinstance(value, str | int | float) for value in values):
        problems.add(where, "a class name is neither text nor a number")
        return ()
    names = tuple(str(value) for value in values)
    if not 1 <= len(names) <= CLASSES_MAX:
        problems.add(where, f"names holds {len(names)} classes; 1 to {CLASSES_MAX} are possible")
    if any(not 1 <= len(name) <= 128 for name in names) or len(set(names)) != len(names):
        problems.add(where, "class names differ from each other and have 1 to 128 characters")
    if "nc" in content and content["nc"] != len(names):
        problems.add(where, f"nc is {content['nc']} and names holds {len(names)}; make them equal")
    return names


def _list_images(source: Any, root: Path, problems: Problems) -> list[Path]:
    parts = source if isinstance(source, list) else [source]
    found: list[Path] = []
    for part in parts:
        if not isinstance(part, str) or len(part) > PATH_CHARACTERS_MAX:
            problems.add("data.yaml", "a split is a path, or a list of paths; correct it")
            continue
        path = root / part
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        elif path.is_file():
            found += _read_list(path, problems)
        else:
            problems.add(
                problems.name(path), "not there, though data.yaml names it; correct the path"
            )
    if not found and not problems.lines:
        problems.add(
            str(source)[:80], f"holds no image with a suffix of {', '.join(sorted(SUFFIXES))}"
        )
    return found


def _read_list(path: Path, problems: Problems) -> list[Path]:
    name = problems.name(path)
    found: dict[Path, int] = {}
    if path.stat().st_size > LIST_BYTES_MAX:
        problems.add(name, f"over {LIST_BYTES_MAX} bytes; this is no list of images")
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if not entry:
            continue
        image = path.parent / entry
        if image in found:
            problems.add(
                f"{name}:{number}", f"{entry} is listed in line {found[image]} already; remove one"
            )
        elif not image.is_file():
            problems.add(f"{name}:{number}", f"{entry[:120]} is not there; remove the line")
        else:
            found[image] = number
    return list(found)


def _read_labelled(
    path: Path,
    classes: int,
    limits: ImageLimits,
    tags: Mapping[str, ImageTags],
    problems: Problems,
) -> FolderImage | None:
    name = problems.name(path)
    boxes = _read_labels(_label_path(path), classes, name, problems)
    try:
        facts = read_image(path, limits)
    except (ValueError, OSError) as error:
        problems.add(name, str(error))
        return None
    return FolderImage(path, name, facts, boxes, tags.get(name, ImageTags()))


def _refuse_overlap(
    train: Sequence[FolderImage], val: Sequence[FolderImage], problems: Problems
) -> None:
    """Val becomes golden: a set that judges with the images that it taught judges nothing."""
    judges = {image.facts.sha256: image.name for image in val}
    for image in train:
        judge = judges.get(image.facts.sha256)
        if judge is not None:
            problems.add(
                image.name,
                f"the same file as {judge} of val, which no training may see; remove it from "
                "train or from val",
            )


def _label_path(image: Path) -> Path:
    """`labels` in place of the last folder named `images`, `.txt` in place of the suffix."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _read_labels(
    path: Path, classes: int, image_name: str, problems: Problems
) -> tuple[LabelBox, ...]:
    name = problems.name(path)
    if not path.is_file():
        problems.add(
            name,
            f"the label file of {image_name} is missing; write it, empty if the image shows "
            "nothing of the classes",
        )
        return ()
    if path.stat().st_size > LABEL_BYTES_MAX:
        problems.add(name, f"over {LABEL_BYTES_MAX} bytes; this is no label file")
        return ()
    text = path.read_text(encoding="utf-8", errors="replace")
    return _parse_labels(text, classes, name, problems)


def _parse_labels(text: str, classes: int, name: str, problems: Problems) -> tuple[LabelBox, ...]:
    boxes: dict[LabelBox, None] = {}  # a box that is written twice counts once
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            boxes[parse_line(line, classes)] = None
        except ValueError as error:
            problems.add(f"{name}:{number}", str(error))
    return tuple(boxes)
