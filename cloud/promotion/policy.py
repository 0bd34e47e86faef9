"""What a candidate must show before it takes an incumbent's place: margins, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.errors import InvalidError

ROUNDS_MIN = 200
ROUNDS_MAX = 20_000

Share = Annotated[float, Field(ge=0, le=1)]
ClassName = Annotated[str, Field(min_length=1, max_length=128)]


class GatePolicy(BaseModel):
    """The demands of a gate; a model's own override the defaults one by one.

    Attributes:
        map50_margin: mAP50 that a candidate may lose over all classes.
        class_map50_margin: AP50 that it may lose in one class.
        class_boxes_min: labelled boxes from which a class is judged; smaller ones are reported.
        alpha: probability of accepting, in any one component, what is worse by its margin.
        bootstrap_rounds: resamples of the images for each interval.
        seed: of the resampling, so that a gate can be repeated to the last figure.
        images_min: labelled images without which nothing is judged.
        recent_images: how many of the newest random images are taken at most.
        recent_images_min: from how many on they are judged; fewer are reported.
        ece_rise_max: rise of the expected calibration error (0..1).
        duplicate_rate_rise_max: rise of the share of served boxes that are the same object twice.
        robustness_margin: loss of mean relative mAP50 over the suite's perturbations.
        robustness_required: whether a candidate without that suite can pass.
        latency_ratio_max: median latency on the target, candidate's / incumbent's.
        map50_bar: mAP50 to be shown where there is no incumbent.
        class_map50_bar: AP50 to be shown in a class that the incumbent does not know.
        critical_classes: an object of these that the incumbent found must be found.
        licence: of the model, for its cards; judges nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    map50_margin: Share = 0.02
    class_map50_margin: Share = 0.05
    class_boxes_min: int = Field(default=50, ge=1, le=1_000_000)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    bootstrap_rounds: int = Field(default=2000, ge=ROUNDS_MIN, le=ROUNDS_MAX)
    seed: int = Field(default=1, ge=0, le=2**32 - 1)
    images_min: int = Field(default=30, ge=2, le=1_000_000)
    recent_images: int = Field(default=300, ge=0, le=5000)
    recent_images_min: int = Field(default=100, ge=2, le=5000)
    ece_rise_max: Share = 0.05
    duplicate_rate_rise_max: Share = 0.02
    robustness_margin: Share = 0.05
    robustness_required: bool = True
    latency_ratio_max: float = Field(default=1.2, gt=0, le=1000)
    map50_bar: Share = 0.5
    class_map50_bar: Share = 0.5
    critical_classes: tuple[ClassName, ...] = Field(default=(), max_length=256)
    licence: str | None = Field(default=None, min_length=1, max_length=200)


def of_model(overrides: Mapping[str, Any], class_names: tuple[str, ...]) -> GatePolicy:
    """The policy of a model that overrides some of the defaults.

    Its fields that were set are those that the model overrides.

    Raises:
        InvalidError: an override is unknown or out of range, or a critical class is none of
            the model's.
    """
    try:
        policy = GatePolicy.model_validate(dict(overrides))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "policy"
        raise InvalidError(
            f"the model's gate policy: {field[:80]}: {first['msg']}",
            f"it may set {', '.join(GatePolicy.model_fields)}",
        ) from error
    unknown = sorted(set(policy.critical_classes) - set(class_names))
    if unknown:
        raise InvalidError(
            f"the model's gate policy calls {', '.join(unknown)} critical, which it has not",
            f"its classes are {', '.join(class_names)}",
        )
    return policy
