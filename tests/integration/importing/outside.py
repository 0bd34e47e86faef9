"""Files that somebody may bring: whole ones and hostile ones, made here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

NAMES = ["cap", "screw"]


def network(
    names: list[str], description: str = "yolo26n.yaml", kind: str = "DetectionModel"
) -> Any:
    """An untrained network of Ultralytics'."""
    import torch
    from ultralytics.nn import tasks

    torch.manual_seed(0)
    made = getattr(tasks, kind)(description, ch=3, nc=len(names), verbose=False)
    made.names = dict(enumerate(names))
    made.args = {"task": "detect", "imgsz": 64}
    return made


def save(path: Path, model: Any, **more: Any) -> Path:
    import torch

    torch.save({"epoch": -1, "model": model, "ema": None, "train_args": {}, **more}, path)
    return path


def checkpoint(path: Path, names: list[str] = NAMES, *, half: bool = True) -> Path:
    """As Ultralytics saves one at the end of a training."""
    made = network(names)
    return save(path, made.half() if half else made)


class Bomb:
    """Runs a command in whoever unpickles it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)
