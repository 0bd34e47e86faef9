"""Which rollout a request's path names: by its whole id, or by the digits that it begins with."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from cloud.dependencies import DatabaseDep, PrincipalDep
from cloud.rollouts import service


def _rollout_id(rollout_id: str, database: DatabaseDep, principal: PrincipalDep) -> str:
    with database.reading() as session:  # closed at once: what follows may take its time
        return service.id_of(session, principal, rollout_id)


RolloutIdDep = Annotated[str, Depends(_rollout_id)]
