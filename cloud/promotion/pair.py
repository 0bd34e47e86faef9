"""What a gate looks at: two models' answers to the same images, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cloud.evaluation.matching import Floats, Matches

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Side:
    """One model's answers.

    Attributes:
        matches: of all its detections with the truth, at an overlap of one half.
        served: (images,), detections that a device would serve.
        duplicates: (images,), of those, boxes that another class of the same place has too.
        calibrated: by class id, what each confidence of `matches` is worth, in its order.
    """

    matches: Matches
    served: Floats
    duplicates: Floats
    calibrated: Mapping[int, Floats]

    @classmethod
    def of(cls, matches: Matches) -> Side:
        """A side of which only the detections are known: no duplicate, confidences as they are."""
        served = np.zeros(matches.images)
        for found in matches.per_class.values():
            served += np.bincount(found.images, minlength=matches.images)
        raw = {c: found.confidences for c, found in matches.per_class.items()}
        return cls(matches, served, np.zeros(matches.images), raw)


@dataclass(frozen=True)
class PairedSet:
    """The same images under both models.

    Attributes:
        images: their digests: resampling goes by these, so their order changes nothing.
        incumbent: None where there is none.
    """

    images: tuple[str, ...]
    candidate: Side
    incumbent: Side | None


@dataclass(frozen=True)
class CriticalObject:
    """An object of a critical class that one of the models serves and the other does not."""

    image: str
    class_id: int
    box: Box


@dataclass(frozen=True)
class Latency:
    """Median milliseconds of one frame, and what it was measured on."""

    median_ms: float
    machine: str


@dataclass(frozen=True)
class PairedEvidence:
    """Everything that a verdict rests on.

    Attributes:
        known: class ids that the incumbent was trained on; all where there is no incumbent to
            be compared with is as good as none.
        recent: newest random images from the lines; None: none are labelled.
        newly_missed, newly_found: critical objects that only the incumbent, only the candidate
            serves.
        robustness: mAP50 under each perturbation relative to clean, by its name; None: it was
            measured, and is of no meaning because the clean mAP50 is 0.
    """

    class_names: tuple[str, ...]
    known: frozenset[int]
    golden: PairedSet
    recent: PairedSet | None = None
    newly_missed: tuple[CriticalObject, ...] = ()
    newly_found: tuple[CriticalObject, ...] = ()
    candidate_robustness: Mapping[str, float] | None = field(default_factory=dict)
    incumbent_robustness: Mapping[str, float] | None = field(default_factory=dict)
    candidate_latency: Latency | None = None
    incumbent_latency: Latency | None = None

    def robustness_unshown(self) -> str:
        """Why the two cannot be compared under perturbation."""
        sides = (
            ("candidate", self.candidate_robustness),
            ("incumbent", self.incumbent_robustness),
        )
        blind = " and the ".join(name for name, of in sides if of is None)
        if not blind:
            return "not measured for both"
        return f"measured, but undefined: the clean mAP50 of the {blind} is 0"
