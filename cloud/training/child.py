"""`python -m cloud.training.child JOB_DIR`: train and export in a process of its own.

Reads `job.json` and `data/data.yaml` in the folder; writes `progress.jsonl` as it goes and
at the end `weights.pt`, `model.onnx` and `result.json`. Whoever reads a result may trust
that the exported model has the end-to-end head and the dataset's class names.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from cloud.building import reference
from cloud.building.export import check_export, export
from cloud.training import frozen, progress
from cloud.training.parameters import TrainingParameters
from cloud.training.workspace import Workspace

PROGRESS_EVERY_S = 0.5


class Reporter:
    """Ultralytics callbacks that write progress lines, at most two a second in an epoch."""

    def __init__(self, path: Path, epochs: int) -> None:
        self._path, self._epochs = path, epochs
        self._started = self._written = time.monotonic()
        self._batches = self._epoch = 0
        self._known: dict[str, Any] = {}

    def attach(self, model: Any) -> None:
        model.add_callback("on_train_start", self._on_train_start)
        model.add_callback("on_train_batch_end", self._on_batch)
        model.add_callback("on_train_epoch_end", self._on_epoch)
        model.add_callback("on_fit_epoch_end", self._on_validated)

    def write(self, stage: progress.Stage, **more: Any) -> None:
        elapsed_s = time.monotonic() - self._started
        line = {"stage": stage, "epoch": self._epoch, "epochs": self._epochs, **self._known}
        progress.append(self._path, {**line, "elapsed_s": round(elapsed_s, 2), **more})

    def _on_train_start(self, trainer: Any) -> None:
        import torch

        # Ultralytics leaves one core to its data loader, which costs half of a small machine.
        torch.set_num_threads(os.cpu_count() or 1)
        self._started = time.monotonic()
        self._training(trainer)

    def _on_batch(self, trainer: Any) -> None:
        self._batches += 1
        if time.monotonic() - self._written >= PROGRESS_EVERY_S:
            self._training(trainer)

    def _on_epoch(self, trainer: Any) -> None:
        self._epoch = min(trainer.epoch + 1, self._epochs)
        self._batches = self._epoch * len(trainer.train_loader)
        self._training(trainer)

    def _on_validated(self, trainer: Any) -> None:
        found = {
            "map50": trainer.metrics.get("metrics/mAP50(B)"),
            "map50_95": trainer.metrics.get("metrics/mAP50-95(B)"),
        }
        self._known |= {k: float(v) for k, v in found.items() if v is not None and math.isfinite(v)}
        self._training(trainer)

    def _training(self, trainer: Any) -> None:
        self._written = time.monotonic()
        done = self._batches / max(1, self._epochs * len(trainer.train_loader))
        elapsed_s = self._written - self._started
        remaining_s = elapsed_s * (1 - done) / done if done > 0 else None
        self._known["losses"] = _losses(trainer)
        self.write(
            "training",
            remaining_s=None if remaining_s is None else round(max(0.0, remaining_s), 1),
        )


def _losses(trainer: Any) -> dict[str, float]:
    if trainer.tloss is None:
        return {}
    named = trainer.label_loss_items(trainer.tloss, prefix="train")
    finite = {k.split("/")[-1]: float(v) for k, v in named.items()}
    return {k: v for k, v in finite.items() if math.isfinite(v)}


def train(folder: Path, job: dict[str, Any], reporter: Reporter) -> Path:
    """Train; return the checkpoint to keep, without epochs the one to start from."""
    from ultralytics import SETTINGS, YOLO

    SETTINGS.update({key: False for key, value in SETTINGS.items() if isinstance(value, bool)})
    parameters = TrainingParameters.model_validate(job["parameters"])
    if parameters.epochs == 0:
        return Path(job["weights"])
    model = YOLO(job["weights"], task="detect")
    reporter.attach(model)
    model.train(
        data=str(folder / "data" / "data.yaml"),
        project=str(folder / "ultralytics"),
        name="train",
        exist_ok=True,
        **parameters.ultralytics(),
    )
    if model.trainer is None:
        raise RuntimeError("Ultralytics returned without having trained")
    best, last = Path(model.trainer.best), Path(model.trainer.last)
    return best if parameters.val and best.exists() else last


def keep_frozen(folder: Path, job: dict[str, Any]) -> dict[str, Any] | None:
    """Give frozen layers back what they started with; None where none was frozen.

    Raises:
        FrozenError: they are not the layers that training started from.
    """
    layers, trained = job["parameters"].get("freeze"), job["parameters"]["epochs"] > 0
    if not layers or not trained:
        return None
    return frozen.restore(folder / "weights.pt", Path(job["weights"]), layers)


def main(folder: Path) -> None:
    import torch
    import ultralytics

    job = json.loads((folder / "job.json").read_text())
    side_px, epochs = job["parameters"]["imgsz"], job["parameters"]["epochs"]
    reporter = Reporter(folder / "progress.jsonl", epochs)
    reporter.write("preparing")
    shutil.copyfile(train(folder, job, reporter), folder / "weights.pt")
    kept = keep_frozen(folder, job)
    reporter.write("exporting")
    shutil.copyfile(export(folder / "weights.pt", side_px, side_px), folder / "exported.onnx")
    facts = check_export(folder / "exported.onnx", side_px, side_px, job["class_names"])
    if kept is not None:
        parent = export(Path(job["weights"]), side_px, side_px)
        kept |= frozen.check_exports(folder / "exported.onnx", parent, kept["layers"])
    (folder / "exported.onnx").replace(folder / "model.onnx")
    frames = Workspace(folder).golden_frames()
    result = {
        **facts,
        "reference": reference.answers(folder / "weights.pt", frames, side_px, side_px),
        "frozen": kept,
        "ultralytics": ultralytics.__version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }
    (folder / "result.json").write_text(json.dumps(result))
    reporter.write("exported", remaining_s=0.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
