"""Class names as the model of the moment knows them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.detect.detector import Ints


@dataclass(frozen=True)
class ClassNotice:
    """A class that a rule or shelf names and that its camera's model has no more, or again.

    Attributes:
        owner: the rule's or shelf's id.
    """

    owner: str
    camera: str
    class_name: str
    lost: bool


class Binding:
    """Finds the ids of named classes, and says once which are lost or have come back.

    Args:
        names: None stands for every class of the model.
    """

    def __init__(self, owner: str, camera: str, names: Sequence[str] | None) -> None:
        self._owner, self._camera = owner, camera
        self._names = None if names is None else tuple(dict.fromkeys(names))
        self._digest: str | None = None
        self._ids: dict[str, Ints] = {}
        self._all_ids: Ints | None = None
        self._lost: frozenset[str] = frozenset()

    @property
    def lost(self) -> tuple[str, ...]:
        """Named classes that the model does not have, in the order of their naming."""
        return tuple(name for name in self._names or () if name in self._lost)

    @property
    def bound(self) -> bool:
        """Whether any class is left that could be seen."""
        return self._names is None or len(self._lost) < len(self._names)

    @property
    def ids(self) -> Ints | None:
        """Ids of all named classes that the model has, int32 (K,); None stands for all."""
        return self._all_ids

    def ids_of(self, name: str) -> Ints:
        """The ids of one named class, int32 (K,); empty where it is lost."""
        return self._ids[name]

    def follow(self, digest: str, class_names: Sequence[str]) -> tuple[ClassNotice, ...]:
        """Bind to the model of a frame; what changed by that, empty for the same bundle."""
        if digest == self._digest:
            return ()
        self._digest = digest
        if self._names is None:
            return ()
        places: dict[str, list[int]] = {name: [] for name in self._names}
        for class_id, name in enumerate(class_names):
            if name in places:
                places[name].append(class_id)
        self._ids = {name: np.array(ids, np.int32) for name, ids in places.items()}
        self._all_ids = np.concatenate(list(self._ids.values()))
        before, self._lost = self._lost, frozenset(n for n, ids in places.items() if not ids)
        return tuple(
            ClassNotice(self._owner, self._camera, name, lost=name in self._lost)
            for name in self._names
            if (name in self._lost) != (name in before)
        )
