"""Who does which kind of job: the hub's one list of them."""

from __future__ import annotations

from collections.abc import Sequence

from cloud.building import importing
from cloud.building.bringing import BringIn
from cloud.building.matrix import KIND as BUILD
from cloud.building.matrix import MatrixBuilder
from cloud.jobs.context import Handler
from cloud.registry.service import OnBuildRegistered
from cloud.settings import Settings


def handlers(settings: Settings, hooks: Sequence[OnBuildRegistered]) -> dict[str, Handler]:
    """The handlers of a hub's jobs.

    Args:
        hooks: told of each admitted build, in the transaction that registers it.
    """
    builder = MatrixBuilder(settings.building, hooks)
    return {
        BUILD: builder,
        importing.KIND: importing.handler(BringIn(builder)),
    }
