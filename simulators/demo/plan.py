"""What the demo does and for how long: two plans, the whole one and the fast one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from simulators.scenes import Drift

FACTORY, SHELF = "factory", "shelf"
LINE_1, LINE_2, AISLE = "factory-line-1", "factory-line-2", "retail-shelf"


@dataclass(frozen=True)
class Place:
    """One device with one camera over one scene."""

    device: str
    camera: str
    scene: str
    seed: int
    site: str


PLACES = (
    Place("line-1", LINE_1, FACTORY, 1, "plant-north"),
    Place("line-2", LINE_2, FACTORY, 2, "plant-north"),
    Place("shelf-1", AISLE, SHELF, 3, "store-7"),
)


@dataclass(frozen=True)
class Recipe:
    """One training: what Ultralytics is told, beside the data."""

    epochs: int
    lr0: float
    warmup_epochs: float
    imgsz: int = 160
    batch: int = 8

    def parameters(self, seed: int) -> dict[str, Any]:
        return {
            "epochs": self.epochs,
            "imgsz": self.imgsz,
            "batch": self.batch,
            "nbs": self.batch,
            "optimizer": "AdamW",
            "lr0": self.lr0,
            "warmup_epochs": self.warmup_epochs,
            "seed": seed,
            "mosaic": 0.0,
            "close_mosaic": 0,
            "hsv_h": 0.01,
            "hsv_s": 0.3,
            "hsv_v": 0.2,
            "scale": 0.2,
            "translate": 0.1,
            "val": False,
            "plots": False,
        }


@dataclass(frozen=True)
class Images:
    """How many images a scene's first data set has."""

    train: int
    val: int


@dataclass(frozen=True)
class Goals:
    """What the story has to show; see `summary` for how each is held against the figures."""

    drift_cost_map50_min: float = 0.15
    recovery_share_min: float = 0.9
    recovery_gain_map50_min: float = 0.15
    undrifted_loss_map50_max: float = 0.03
    loop_overhead_s_max: float = 30.0


@dataclass(frozen=True)
class Plan:
    """All dials of one run. Times in seconds, rates per second."""

    name: str
    seed: int
    images: dict[str, Images]
    first: dict[str, Recipe]
    again: Recipe
    watch_s: float
    drifted_s: float
    harvest_images: int
    harvest_other_images: int
    harvest_per_s: float
    random_share: float
    """Of the harvest: a version that sees nothing at all in a frame has no doubt about it."""
    uncertainty_min: float
    rehearsal_images: int
    """Images of the first data set that a retraining sees again."""
    harvest_timeout_s: float
    total_s_max: float
    drift: Drift = field(
        default_factory=lambda: Drift(lighting=0.48, blur=0.1, shift=0.1, packaging=0.43)
    )
    fps: float = 10.0
    soak_s: float = 2.0
    probation_s: float = 3.0
    telemetry_window_s: float = 2.0
    exclusion_frames: int = 72
    """How far from a harvested frame a version that learnt from it is measured: a part crosses
    the picture in fewer frames."""
    settle_s: float = 2.0
    """Left out after a change, so that a window holds one state of the world only."""
    bucket_s: float = 4.0
    goals: Goals = Goals()


FULL = Plan(
    name="full",
    seed=0,
    images={FACTORY: Images(400, 40), SHELF: Images(240, 40)},
    first={FACTORY: Recipe(8, 0.002, 0.5), SHELF: Recipe(6, 0.002, 0.5)},
    again=Recipe(5, 0.0015, 0.3),
    watch_s=36.0,
    drifted_s=30.0,
    harvest_images=90,
    harvest_other_images=6,
    harvest_per_s=4.0,
    random_share=0.3,
    uncertainty_min=0.2,
    rehearsal_images=160,
    harvest_timeout_s=60.0,
    total_s_max=480.0,
)
FAST = replace(
    FULL,
    name="fast",
    images={FACTORY: Images(240, 30), SHELF: Images(160, 30)},
    first={FACTORY: Recipe(8, 0.003, 0.5), SHELF: Recipe(6, 0.002, 0.5)},
    again=Recipe(7, 0.0012, 0.5),
    watch_s=14.0,
    drifted_s=18.0,
    harvest_images=60,
    harvest_per_s=4.0,
    rehearsal_images=90,
    harvest_timeout_s=40.0,
    soak_s=1.0,
    probation_s=2.0,
    total_s_max=240.0,
)
