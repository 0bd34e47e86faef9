"""The optimisation profile: the batch may vary, height and width are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.detect.tensorrt.errors import EngineBuildError

DYNAMIC = -1
BATCH_MAX = 256

Shape = tuple[int, ...]


@dataclass(frozen=True)
class BatchProfile:
    """Shapes (batch, 3, H, W) that a plan takes, and the one that it is tuned for."""

    input_name: str
    minimum: Shape
    optimum: Shape
    maximum: Shape


def batch_profile(input_name: str, shape: Sequence[int], batch: int) -> BatchProfile | None:
    """The profile for 1 to `batch` frames, tuned for `batch`; None where the shape is static.

    Args:
        shape: of the network's input; -1 where it is dynamic.

    Raises EngineBuildError where another axis than the batch is dynamic, or where a static
    batch is not `batch`.
    """
    if not 1 <= batch <= BATCH_MAX:
        raise EngineBuildError(f"a batch of {batch}; 1 to {BATCH_MAX} are possible")
    first, *rest = shape if len(shape) == 4 else (DYNAMIC, DYNAMIC)
    if any(side < 1 for side in rest):
        raise EngineBuildError(
            f"input {input_name} has shape {tuple(shape)}; export it as (batch, 3, H, W) "
            "with fixed height and width"
        )
    if first == DYNAMIC:
        return BatchProfile(input_name, (1, *rest), (batch, *rest), (batch, *rest))
    if first != batch:
        raise EngineBuildError(
            f"input {input_name} takes {first} frames at once, {batch} were asked for; "
            "export it with a dynamic batch or with that one"
        )
    return None
