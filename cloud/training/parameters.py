"""What a user may set of a training. All else is Ultralytics' default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud.input_sizes import SIDE_PX_MAX, SIDE_PX_MIN, SIDE_STEP_PX

Share = Annotated[float, Field(ge=0, le=1)]


class TrainingParameters(BaseModel):
    """Parameters of one training, with Ultralytics' names where they are Ultralytics'.

    Attributes:
        epochs: 0 takes the weights as they are: they are exported and evaluated, not trained.
        imgsz: side of the square input, in pixels.
        nbs: images whose gradients make one optimizer step; None: one batch.
        val: validate on the selection split after every epoch and keep the best epoch;
            False: once at the end, and keep the last. Ultralytics pads the images for it,
            so that the figure differs from the build's, which is evaluated as it ships.
        rehearsal_images_max: at most so many images that did not come from annotated
            samples, drawn by the seed; None: all.
        freeze: the first so many layers stay bit for bit what they were, in the checkpoint and
            in the exported file.
        plots: have Ultralytics draw curves and confusion matrices; they are kept with the
            version. They take some seconds.
        device: `cpu`, `0`, …; None: a GPU where there is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=30, ge=0, le=10_000)
    imgsz: int = Field(default=640, ge=SIDE_PX_MIN, le=SIDE_PX_MAX, multiple_of=SIDE_STEP_PX)
    batch: int = Field(default=16, ge=1, le=4096)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    optimizer: Literal["auto", "SGD", "MuSGD", "Adam", "AdamW", "NAdam", "RAdam"] = "AdamW"
    lr0: float = Field(default=0.001, gt=0, le=1)
    lrf: float = Field(default=0.05, gt=0, le=1)
    momentum: Share = 0.937
    weight_decay: float = Field(default=0.0005, ge=0, le=1)
    warmup_epochs: float = Field(default=1.0, ge=0, le=1000)
    cos_lr: bool = False
    nbs: int | None = Field(default=None, ge=1, le=65_536)
    patience: int = Field(default=0, ge=0, le=10_000)
    freeze: int | None = Field(default=None, ge=0, le=24)
    hsv_h: Share = 0.015
    hsv_s: Share = 0.7
    hsv_v: Share = 0.4
    degrees: float = Field(default=0.0, ge=0, le=180)
    translate: Share = 0.1
    scale: Share = 0.5
    fliplr: Share = 0.5
    flipud: Share = 0.0
    mosaic: Share = 1.0
    mixup: Share = 0.0
    close_mosaic: int = Field(default=10, ge=0, le=10_000)
    val: bool = True
    cache: Literal["ram", "disk"] | None = "ram"
    workers: int = Field(default=0, ge=0, le=64)
    amp: bool = False
    deterministic: bool = False
    plots: bool = True
    device: str | None = Field(default=None, max_length=32, pattern=r"^(cpu|[0-9]+(,[0-9]+)*)$")
    rehearsal_images_max: int | None = Field(default=None, ge=1)

    def ultralytics(self) -> dict[str, Any]:
        """The keyword arguments of `YOLO.train` that these are."""
        given = self.model_dump(exclude={"rehearsal_images_max"}, exclude_none=True)
        given["nbs"] = self.nbs or self.batch
        given["close_mosaic"] = min(self.close_mosaic, self.epochs)
        # nms=False validates the end-to-end head, the one that ships; the default another.
        fixed = {"nms": False, "verbose": False}
        return {**given, "cache": self.cache or False, **fixed}
