"""The hub's settings as the arguments that reading and splitting take."""

from __future__ import annotations

from cloud.datasets.folder import FolderLimits
from cloud.datasets.images import ImageLimits
from cloud.datasets.splits import SplitRules
from cloud.settings import DatasetSettings


def image_limits(settings: DatasetSettings) -> ImageLimits:
    return ImageLimits(
        file_bytes_max=settings.image_bytes_max, pixels_max=settings.image_pixels_max
    )


def folder_limits(settings: DatasetSettings) -> FolderLimits:
    return FolderLimits(
        images_max=settings.import_images_max,
        problems_max=settings.import_problems_max,
        image=image_limits(settings),
    )


def split_rules(settings: DatasetSettings) -> SplitRules:
    return SplitRules(
        selection_share=settings.selection_share,
        calibration_share=settings.calibration_share,
        held_out_min=settings.held_out_images_min,
        near_distance_max=settings.near_distance_bits_max,
        seed=settings.split_seed,
    )
