"""`python -m tests.integration.rollouts.teaching DATA START OUT EPOCHS LR0`: train a detector.

On one thread, so that it takes as long on a busy machine as its share of it says, and comes to
the same each time. START is a checkpoint, of which is kept what fits the classes of DATA.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from tests.integration.rollouts.worse import SIDE_PX


def fitting(start: Path, class_names: dict[int, str]) -> Any:
    """A network for these classes, as wide as one from scratch, with what fits of `start`.

    Ultralytics' own warm start keeps the width of 80 classes in the head.
    """
    import torch
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

    known = torch.load(start, map_location="cpu", weights_only=False)["model"].float()
    network = DetectionModel("yolo26n.yaml", nc=len(class_names), verbose=False)
    own = network.state_dict()
    network.load_state_dict(
        {k: v for k, v in known.state_dict().items() if k in own and own[k].shape == v.shape},
        strict=False,
    )
    network.names = class_names
    model = YOLO("yolo26n.yaml", task="detect", verbose=False)
    model.model, model.ckpt = network, {"model": network}
    return model


def main(data: str, start: str, out: str, epochs: str, lr0: str) -> None:
    import torch
    import yaml
    from ultralytics import SETTINGS

    SETTINGS.update({key: False for key, value in SETTINGS.items() if isinstance(value, bool)})
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = fitting(Path(start), yaml.safe_load(Path(data).read_text())["names"])
    # Ultralytics sets the number of threads by itself when it begins.
    model.add_callback("on_train_start", lambda _trainer: torch.set_num_threads(1))
    model.train(
        data=data, project=str(Path(out).parent / "runs"), name=Path(out).stem,
        epochs=int(epochs), imgsz=SIDE_PX, batch=8, nbs=8, optimizer="AdamW", lr0=float(lr0),
        lrf=0.05, warmup_epochs=0.5, seed=0, deterministic=True, cache=False, workers=0,
        amp=False, device="cpu", mosaic=0.0, close_mosaic=0, hsv_h=0.01, hsv_s=0.3, hsv_v=0.2,
        scale=0.2, translate=0.1, val=False, plots=False, nms=False, verbose=False,
    )  # fmt: skip
    shutil.copyfile(model.trainer.last, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
