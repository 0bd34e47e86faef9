"""Which machine can do a task, and what is said while none is there that can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud.building.worker_schemas import PlanOrder, RunOrder
from protocol.builds import BuildIdentity, Capabilities, Fit, Format, match

HEARD_S = 300.0
"""A worker that was silent for longer is not counted upon; it asks once a minute at least."""


@dataclass(frozen=True)
class Ordered:
    """What is laid down.

    Attributes:
        identity: the build that it is about; a plan's GPU and TensorRT are its worker's.
        files: what the order names, by digest.
        folder: for what the worker brings.
    """

    order: RunOrder | PlanOrder
    identity: BuildIdentity
    files: Mapping[str, Path]
    folder: Path


def fit(ordered: Ordered, machine: Capabilities) -> Fit:
    """Whether a machine can do a task exactly as it is meant."""
    identity = ordered.identity
    if isinstance(ordered.order, PlanOrder):
        if machine.compute_capability is None or machine.tensorrt_version is None:
            return Fit(False, ("builds plans only where GPU and TensorRT are known",))
        identity = bound_to(identity, machine)
    return match(identity, machine)


def bound_to(identity: BuildIdentity, machine: Capabilities) -> BuildIdentity:
    """A plan's identity once it is known where it is built."""
    here = {
        "compute_capability": machine.compute_capability,
        "tensorrt_version": machine.tensorrt_version,
    }
    return identity.model_copy(update=here if identity.format is Format.TENSORRT else {})


def lack(ordered: Ordered | None, machines: Sequence[Capabilities], wait_s: float) -> str:
    """What is said where no machine that is there can do a task, any task where none is named,
    and how long it is waited for; empty where one can."""
    if any(ordered is None or fit(ordered, machine).fits for machine in machines):
        return ""
    why = "no GPU worker has been heard of"
    if machines and ordered is not None:
        why = f"no GPU worker that is there can do {ordered.identity.label()}"
    long = f"{wait_s / 3600:g} h" if wait_s >= 3600 else f"{wait_s:g} s"
    return f"{why}; it waits up to {long}: argosy worker run --cache FOLDER"
