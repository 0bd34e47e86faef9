"""Making a bundle: a folder with its files, and the manifest that names it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud.registry import golden
from cloud.shipped import ShippedRunner
from protocol import bundles
from protocol.builds import BuildIdentity, Format, Precision
from protocol.bundles import BundleFile, GoldenSet, Manifest, Preprocessing, Thresholds
from protocol.chunks import describe

RUNTIME = "onnxruntime"


@dataclass(frozen=True)
class BundleSpec:
    """What a bundle is made of.

    Attributes:
        golden_images: released images for the golden frames; none: patterns are drawn.
    """

    model: str
    version: int
    class_names: tuple[str, ...]
    side_px: int
    opset: int
    golden_images: tuple[Path, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    lineage: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> BuildIdentity:
        return BuildIdentity(
            format=Format.ONNX,
            precision=Precision.FP32,
            runtime=RUNTIME,
            runtime_precision=Precision.FP32,
            input_width=self.side_px,
            input_height=self.side_px,
            opset=self.opset,
        )


@dataclass(frozen=True)
class Assembled:
    """A bundle on disk: `folder` holds its manifest and every file of it."""

    folder: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        return bundles.digest(self.manifest)


def assemble(spec: BundleSpec, onnx: Path, folder: Path, agent: ShippedRunner) -> Assembled:
    """Make the bundle in `folder`, its golden outputs computed by `agent`.

    Raises:
        ChildFailed, ChildCanceled: the run over the golden frames did not end well.
    """
    folder.mkdir(parents=True)
    shutil.copyfile(onnx, folder / bundles.MODEL_PATH)
    images = golden.write_frames(spec.golden_images, folder / "golden")
    names = [str(path.relative_to(folder)) for path in images]
    _write(spec, folder, names, golden.provisional(names))
    results = agent.run(folder, images, folder.parent / "golden-run")
    manifest = _write(spec, folder, names, golden.expected(names, results))
    return Assembled(folder, manifest)


def _write(
    spec: BundleSpec, folder: Path, images: Sequence[str], golden_set: GoldenSet
) -> Manifest:
    (folder / bundles.GOLDEN_PATH).write_text(golden_set.model_dump_json())
    manifest = Manifest(
        model=spec.model,
        version=spec.version,
        build=spec.identity,
        head="end2end",
        class_names=spec.class_names,
        thresholds=spec.thresholds,
        preprocessing=Preprocessing(),
        files=tuple(
            BundleFile(path=path, blob=describe((folder / path).read_bytes()))
            for path in (bundles.MODEL_PATH, bundles.GOLDEN_PATH, *images)
        ),
        lineage=spec.lineage,
    )
    (folder / bundles.MANIFEST_PATH).write_bytes(bundles.canonical(manifest))
    return manifest
