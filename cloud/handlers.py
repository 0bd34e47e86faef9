"""Who does which kind of job: the hub's one list of them."""

from __future__ import annotations

from collections.abc import Sequence

from cloud.building import importing
from cloud.building.bringing import BringIn
from cloud.building.matrix import KIND as BUILD
from cloud.building.matrix import KIND_GPU as BUILD_GPU
from cloud.building.matrix import MatrixBuilder
from cloud.building.remote import ByRuntime
from cloud.building.worker_desk import Desk
from cloud.evaluation.lookup import Evaluations
from cloud.jobs.context import Handler, JobContext
from cloud.promotion import service as promotion
from cloud.promotion.handler import gate_handler
from cloud.registry.service import OnBuildRegistered
from cloud.settings import Settings
from cloud.training import rebuild

APART = (BUILD_GPU,)
"""Kinds that wait for others, and must not hold up the rest."""


def handlers(
    settings: Settings, hooks: Sequence[OnBuildRegistered], desk: Desk | None = None
) -> dict[str, Handler]:
    """The handlers of a hub's jobs.

    Args:
        hooks: told of each admitted build, in the transaction that registers it.
        desk: where GPU workers take what needs them.
    """
    builder = MatrixBuilder(settings.building, hooks, ByRuntime(desk=desk), desk)

    def evaluations(context: JobContext) -> Evaluations:
        return Evaluations(context, settings.building, builder.agent)

    return {
        BUILD: builder,
        BUILD_GPU: builder,
        importing.KIND: importing.handler(BringIn(builder)),
        rebuild.KIND: rebuild.handler(),
        promotion.GATE: gate_handler(evaluations, settings.datasets.near_distance_bits_max),
    }
