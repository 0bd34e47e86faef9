"""Golden images spoiled in known ways, as files, and how a build sees them.

`python -m cloud.evaluation.perturbed FOLDER` is the child that writes them: it reads
`order.json` and writes a PNG for each image, perturbation and strength, and `listing.jsonl`.
They are written once and serve every build that is looked at in one go.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.blobs.store import BlobStore
from cloud.datasets.service import Item
from cloud.evaluation import predictions
from cloud.evaluation.average_precision import map50
from cloud.evaluation.coco import ScoredBox, ScoredImage
from cloud.evaluation.matching import match
from cloud.evaluation.robustness import PERTURBATIONS, STRENGTHS, perturb, robustness_report
from cloud.evaluation.running import ROBUSTNESS, Evaluated, Runs, link_images
from cloud.jobs.context import JobContext
from cloud.registry.bundles import Bundle
from cloud.shipped import OnProgress

CHILD = (sys.executable, "-m", "cloud.evaluation.perturbed")
CLEAN = "clean"
LISTING = "listing.jsonl"
PROGRESS = "progress.jsonl"
PNG_COMPRESSION = 1  # on a local disk for a minute: speed counts, size does not


@dataclass(frozen=True)
class Spoiled:
    """A file: whose image it is, what was done to it, and where the objects are now."""

    path: Path
    image: str
    perturbation: str
    strength: int
    truth: tuple[ScoredBox, ...]


@dataclass(frozen=True)
class Perturbed:
    """The clean images and their spoiled versions."""

    files: tuple[Spoiled, ...]

    def evaluate(
        self,
        bundle: Bundle,
        runs: Runs,
        dataset_digest: str,
        work: Path,
        *,
        on_progress: OnProgress = lambda done, total: None,  # noqa: ARG005
    ) -> Evaluated:
        """mAP50 of the bundle under each perturbation, relative to the clean images.

        Raises:
            ChildFailed, ChildCanceled: the run did not end well.
        """
        run = runs.agent.run(
            bundle.folder, [file.path for file in self.files], work, on_progress=on_progress
        )
        scored: dict[tuple[str, int], list[ScoredImage]] = {}
        for file, result in zip(self.files, run.results, strict=True):
            seen = tuple(ScoredBox(d.class_id, d.box, d.confidence) for d in result.detections)
            key = file.perturbation, file.strength
            scored.setdefault(key, []).append(ScoredImage(file.truth, seen))
        found = {key: float(map50(match(images))) for key, images in scored.items()}
        clean = found.pop((CLEAN, 0))
        table: dict[str, list[float]] = {
            name: [found[name, strength] for strength in STRENGTHS] for name in PERTURBATIONS
        }
        digests = sorted({file.image for file in self.files})
        return Evaluated(
            kind=ROBUSTNESS,
            dataset_digest=dataset_digest,
            images_sha256=predictions.images_sha256(digests),
            metrics={"robustness": {**robustness_report(clean, table), "images": len(digests)}},
            seen=(),
        )


def choose(items: Sequence[Item], images_max: int, seed: int) -> list[Item]:
    """At most so many of the items, by the seed, in their order."""
    if len(items) <= images_max:
        return list(items)
    chosen = random.Random(seed).sample(range(len(items)), images_max)  # noqa: S311 - no secret
    return [items[place] for place in sorted(chosen)]


def order(items: Sequence[Item], store: BlobStore, folder: Path, seed: int) -> list[str]:
    """Write the child's order into `folder`, and answer its command."""
    links = link_images(items, store, folder / "images")
    rows = [
        {
            "path": str(link),
            "image": item.image,
            "boxes": [[b.class_id, *b.to_pixels(item.width, item.height)] for b in item.boxes],
        }
        for item, link in zip(items, links, strict=True)
    ]
    (folder / "order.json").write_text(json.dumps({"seed": seed, "images": rows}))
    return [*CHILD, str(folder)]


def make(items: Sequence[Item], context: JobContext, folder: Path, seed: int) -> Perturbed:
    """Write the spoiled versions of the items into `folder`, which is made, by the child.

    Raises:
        ChildFailed, ChildCanceled: the child did not end well.
    """
    folder.mkdir()
    stage = "spoiling golden images"
    context.progress(stage, 0, len(items))
    context.child(
        order(items, context.store, folder, seed),
        on_poll=lambda: context.progress(stage, *progress_of(folder / PROGRESS, len(items))),
    )
    return read(folder)


def progress_of(path: Path, total: int) -> tuple[int, int]:
    """How many images a child says are done, and of how many."""
    try:
        last = json.loads(path.read_text().splitlines()[-1])
        return int(last["done"]), int(last["total"])
    except (OSError, ValueError, LookupError, TypeError):
        return 0, total  # nothing said yet, or a line half written


def read(folder: Path) -> Perturbed:
    """What the child left in `folder`."""
    with (folder / LISTING).open() as lines:
        rows = [json.loads(line) for line in lines]
    return Perturbed(
        tuple(
            Spoiled(
                path=folder / row["file"],
                image=row["image"],
                perturbation=row["perturbation"],
                strength=row["strength"],
                truth=tuple(ScoredBox(int(c), tuple(box)) for c, *box in row["boxes"]),
            )
            for row in rows
        )
    )


def write(folder: Path, tell: Callable[[int, int], None] = lambda done, total: None) -> None:  # noqa: ARG005
    """Do the order in `folder`."""
    import cv2

    given = json.loads((folder / "order.json").read_text())
    options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]
    with (folder / LISTING).open("w") as listing:
        for place, row in enumerate(given["images"]):
            image = cv2.imread(row["path"], cv2.IMREAD_COLOR)
            if image is None:
                raise SystemExit(f"{row['path']} is no image")
            for name, strength, spoiled, boxes in _versions(image, row["boxes"], given["seed"]):
                file = f"{place:05d}-{name}-{strength}.png"
                cv2.imwrite(str(folder / file), spoiled, options)
                line = {"file": file, "image": row["image"], "perturbation": name}
                listing.write(json.dumps({**line, "strength": strength, "boxes": boxes}) + "\n")
            tell(place + 1, len(given["images"]))


def _versions(
    image: Any, boxes: list[list[float]], seed: int
) -> Iterator[tuple[str, int, Any, list[list[float]]]]:
    import numpy as np

    truth = tuple(ScoredBox(int(c), (x1, y1, x2, y2)) for c, x1, y1, x2, y2 in boxes)
    yield CLEAN, 0, image, boxes
    for number, name in enumerate(PERTURBATIONS):
        for strength in STRENGTHS:
            rng = np.random.default_rng((seed, number, strength))
            spoiled, moved = perturb(image, truth, name, strength, rng)
            yield name, strength, spoiled, [[b.class_id, *map(float, b.box)] for b in moved]


def main(folder: Path) -> None:
    with (folder / PROGRESS).open("a") as progress:

        def tell(done: int, total: int) -> None:
            progress.write(json.dumps({"done": done, "total": total}) + "\n")
            progress.flush()

        write(folder, tell)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
