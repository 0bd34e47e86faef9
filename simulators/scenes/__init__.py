"""Rendered scenes with ground truth and drift that can be dialled in."""

from __future__ import annotations

from collections.abc import Callable

from simulators.scenes.factory import FactoryScene
from simulators.scenes.scene import Box, Drift, Scene
from simulators.scenes.shelf import ShelfScene

SCENES: dict[str, Callable[[int], Scene]] = {
    "factory": FactoryScene,
    "shelf": ShelfScene,
}
"""Scene by name; each is made from its seed."""

__all__ = ["SCENES", "Box", "Drift", "Scene"]
