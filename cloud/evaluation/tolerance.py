"""Whether a build is admitted: its figures against those of the original, within a tolerance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cloud.evaluation.parity import Parity

MAP50_BLIND = 0.001
"""Below it a network finds nothing: two such are alike within any tolerance."""

BLIND = "it finds none of the labelled objects, so a tolerance against it says nothing"


@dataclass(frozen=True)
class Tolerance:
    """How much worse than its original a build may be.

    Attributes:
        map50_drop_max, map50_95_drop_max: over all classes.
        class_map50_drop_max: of each class with `class_boxes_min` boxes or more; of fewer, one
            box more or less is a large drop and says nothing.
        box_error_px_max, confidence_error_max, unmatched_max: parity on golden frames, asked of
            builds that compute in fp32; a lower precision moves single answers far.
        duplicate_rate_rise_max: against the baseline, where each of the two serves
            `served_boxes_min` boxes or more; of fewer, one pair is a large rise.
        ece_rise_max: against the baseline, where each was taken over `ece_detections_min`
            detections or more.
        latency_ratio_max: median latency ÷ the baseline's; None: a slow build is admitted.
        blind_boxes_min: of an import: one that finds none of so many labelled objects or more
            is refused. A training that sees nothing yet is admitted with a warning.
    """

    map50_drop_max: float = 0.02
    map50_95_drop_max: float = 0.02
    class_map50_drop_max: float = 0.05
    class_boxes_min: int = 50
    box_error_px_max: float = 1.5
    confidence_error_max: float = 0.02
    unmatched_max: int = 0
    duplicate_rate_rise_max: float = 0.02
    served_boxes_min: int = 100
    ece_rise_max: float = 0.05
    ece_detections_min: int = 100
    latency_ratio_max: float | None = None
    blind_boxes_min: int = 10


@dataclass(frozen=True)
class Verdict:
    """Admitted or not, why not in an engineer's words, and the figures that were compared.

    Attributes:
        figures: by name, {"build", "baseline", "change", "allowed"}; `unjudged` lists what
            could not be compared, and `parity` holds its figures.
    """

    admitted: bool
    reasons: tuple[str, ...]
    figures: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        return {**asdict(self), "reasons": list(self.reasons)}


@dataclass(frozen=True)
class _Check:
    """One comparison: how far it may go the wrong way, and how it reads when it went further."""

    name: str
    words: str
    build: float | None
    baseline: float | None
    worse: float | None
    allowed: float
    unit: str = ""

    @property
    def fails(self) -> bool:
        # A figure that is no number fails too.
        return self.worse is not None and not self.worse <= self.allowed

    def reason(self) -> str:
        return (
            f"{self.words} {self.build:.4g}{self.unit} against {self.baseline:.4g}{self.unit} of "
            f"the original: worse by {self.worse:.4g}, tolerance {self.allowed:.4g}"
        )


def judge(
    figures: Mapping[str, Any],
    baseline: Mapping[str, Any] | None,
    parity: Parity | None,
    diagnosis: Sequence[str],
    tolerance: Tolerance,
    *,
    faults: Sequence[str] = (),
    exact: bool | None = None,
    trainer_map50: float | None = None,
    must_see: bool = False,
) -> Verdict:
    """Admit a build or say why not.

    Args:
        figures: of the build, as `report.evaluation_report` gives them.
        baseline: of the fp32 ONNX build of the same version and input size; None for that
            build itself, which parity with PyTorch and the trainer's figure judge.
        parity: with PyTorch on golden frames; None where there is no original to run.
        diagnosis: hints to what may be wrong, told beside the reasons of a refusal.
        faults: what is known to be wrong (`diagnosis.diagnose`): refuses by itself.
        exact: whether parity binds; None: for the baseline build only. A build of another
            runtime that computes in fp32 should be held to it too.
        trainer_map50: the trainer's own figure on the same images.
        must_see: refuse a build that finds none of `blind_boxes_min` labelled objects or more.
    """
    checks: list[_Check] = []
    unjudged: list[str] = []
    sees_nothing = _sees_nothing(figures, tolerance) if must_see else []
    if figures.get("map50") is None:
        unjudged.append("accuracy: the images hold no labelled object")
    elif not sees_nothing and _blind(figures) and (baseline is None or _blind(baseline)):
        unjudged.append(f"accuracy: {BLIND}")
    if baseline is not None:
        checks += _against(figures, baseline, tolerance)
        for of_few, few in _of_few(figures, baseline, tolerance):
            checks += [] if few else [of_few]
            unjudged += [few] if few else []
    if trainer_map50 is not None:
        checks.append(
            _fall("map50_trainer", "mAP50 is", figures.get("map50"), trainer_map50,
                  tolerance.map50_drop_max)
        )  # fmt: skip
    binds = baseline is None if exact is None else exact
    if binds and parity is None:
        unjudged.append("parity: there is no original to run on the golden frames")
    reasons = [*faults, *sees_nothing, *(c.reason() for c in checks if c.fails)]
    reasons += _lost(figures, baseline)
    if binds and parity is not None:
        reasons += _parity_reasons(parity, tolerance)
    if reasons:
        reasons += [hint for hint in diagnosis if hint not in reasons]
    compared: dict[str, Any] = {
        c.name: {"build": c.build, "baseline": c.baseline, "change": c.worse, "allowed": c.allowed}
        for c in checks
    }
    compared["parity"] = None if parity is None else parity.as_dict()
    return Verdict(not reasons, tuple(reasons), {**compared, "unjudged": unjudged})


def accuracy_warnings(verdict: Mapping[str, Any]) -> list[str]:
    """What a stored verdict could not say of a build's accuracy."""
    unjudged = (verdict.get("figures") or {}).get("unjudged") or []
    return [line for line in unjudged if line.startswith("accuracy:")]


def _blind(figures: Mapping[str, Any]) -> bool:
    map50 = figures.get("map50")
    return map50 is not None and map50 < MAP50_BLIND


def _sees_nothing(figures: Mapping[str, Any], tolerance: Tolerance) -> list[str]:
    per_class = figures.get("per_class") or {}
    boxes = sum(entry.get("truth_boxes") or 0 for entry in per_class.values())
    if not _blind(figures) or boxes < tolerance.blind_boxes_min:
        return []
    return [
        f"it finds none of the {boxes} labelled objects (mAP50 is {figures['map50']:.2g}): its "
        "classes, its input or its output are not those of the dataset, or it sees nothing"
    ]


def _against(
    figures: Mapping[str, Any], baseline: Mapping[str, Any], tolerance: Tolerance
) -> list[_Check]:
    def both(key: str) -> tuple[float | None, float | None]:
        return figures.get(key), baseline.get(key)

    checks = [
        _fall("map50", "mAP50 is", *both("map50"), tolerance.map50_drop_max),
        _fall("map50_95", "mAP50-95 is", *both("map50_95"), tolerance.map50_95_drop_max),
    ]
    theirs = baseline.get("per_class", {})
    for name, entry in figures.get("per_class", {}).items():
        other = theirs.get(name, {})
        if (entry.get("truth_boxes") or 0) >= tolerance.class_boxes_min:
            checks.append(
                _fall(f"map50 of {name}", f"mAP50 of {name} is", entry.get("map50"),
                      other.get("map50"), tolerance.class_map50_drop_max)
            )  # fmt: skip
    if tolerance.latency_ratio_max is not None:
        mine, other = both("latency_ms_median")
        ratio = mine / other if mine is not None and other else None
        checks.append(
            _Check("latency_ms_median", "the median latency is", mine, other, ratio,
                   tolerance.latency_ratio_max, " ms")
        )  # fmt: skip
    return checks


def _of_few(
    figures: Mapping[str, Any], baseline: Mapping[str, Any], tolerance: Tolerance
) -> Iterator[tuple[_Check, str]]:
    """Shares of detections, each with the words why it is not judged: empty where it is."""
    yield (
        _rise("duplicate_rate", "the share of duplicates is", figures.get("duplicate_rate"),
              baseline.get("duplicate_rate"), tolerance.duplicate_rate_rise_max),
        _few("duplicates", "served boxes", figures.get("served_boxes"),
             baseline.get("served_boxes"), tolerance.served_boxes_min),
    )  # fmt: skip
    yield (
        _rise("ece", "the expected calibration error is", _ece(figures), _ece(baseline),
              tolerance.ece_rise_max),
        _few("calibration error", "detections", figures.get("ece_detections"),
             baseline.get("ece_detections"), tolerance.ece_detections_min),
    )  # fmt: skip


def _few(name: str, what: str, build: int | None, baseline: int | None, least: int) -> str:
    if build is not None and baseline is not None and min(build, baseline) >= least:
        return ""
    mine, other = ("no count" if n is None else n for n in (build, baseline))
    return f"{name}: judged from {least} {what} on; the build has {mine}, the original {other}"


def _fall(
    name: str, words: str, build: float | None, baseline: float | None, allowed: float
) -> _Check:
    worse = None if build is None or baseline is None else baseline - build
    return _Check(name, words, build, baseline, worse, allowed)


def _rise(
    name: str, words: str, build: float | None, baseline: float | None, allowed: float
) -> _Check:
    worse = None if build is None or baseline is None else build - baseline
    return _Check(name, words, build, baseline, worse, allowed)


def _ece(figures: Mapping[str, Any]) -> float | None:
    """What the device reports: calibrated where the build has a calibration."""
    calibrated: float | None = figures.get("ece_calibrated")
    raw: float | None = figures.get("ece_raw")
    return raw if calibrated is None else calibrated


def _lost(figures: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> list[str]:
    if baseline is None or baseline.get("map50") is None or figures.get("map50") is not None:
        return []
    return ["there is no mAP50, where the original has one: they saw different images"]


def _parity_reasons(parity: Parity, tolerance: Tolerance) -> list[str]:
    limits: list[tuple[float, float, str]] = [
        (parity.unmatched, tolerance.unmatched_max, "objects without a counterpart"),
        (parity.box_error_px_max, tolerance.box_error_px_max, "px between edges of the same box"),
        (parity.confidence_error_max, tolerance.confidence_error_max,
         "between confidences of the same object"),
    ]  # fmt: skip
    return [
        f"on {parity.frames} golden frames with {parity.objects} objects it differs from the "
        f"original by {found:.4g} {what}, tolerance {allowed:.4g}"
        for found, allowed, what in limits
        if not found <= allowed
    ]
