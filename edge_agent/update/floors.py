"""The lowest version of each model that may still serve, as the hub said it last.

A floor outlives its rollout: a version that was revoked stays so over restarts and offline.
The word of the newest generation counts, so a floor can be lowered again; a generation that
says nothing of a model leaves its floor as it is. Pure; whoever learns persists.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field

from edge_agent.store import StateFile
from protocol.messages import Desired

FLOORS = "floors"
MODELS_MAX = 256


class Floor(BaseModel):
    """A model's floor and the generation that said it."""

    version: int = Field(ge=1)
    generation: int = Field(ge=0)


class Floors(StateFile):
    """The floors of all models that this device heard of (state/floors.json)."""

    version: int = 1
    models: dict[str, Floor] = Field(default_factory=dict)

    def by_model(self) -> Mapping[str, int]:
        """The lowest version that may serve, by model."""
        return {model: floor.version for model, floor in self.models.items()}


def learned(known: Floors, desired: Desired) -> Floors:
    """The floors after a desired state; `known` itself where it says nothing new.

    Where two slots name the same model, or one and `floors`, the higher floor counts. Of more
    models than `MODELS_MAX` those are forgotten that were named longest ago.
    """
    said = dict(desired.floors)
    for wanted in desired.slots.values():
        said[wanted.model] = max(wanted.floor, said.get(wanted.model, 1))
    models = dict(known.models)
    for model, version in said.items():
        before = models.get(model)
        if before is None or before.generation <= desired.generation:
            models[model] = Floor(version=version, generation=desired.generation)
    if models == known.models:
        return known
    kept = sorted(models.items(), key=lambda item: item[1].generation)[-MODELS_MAX:]
    return Floors(models=dict(kept))
