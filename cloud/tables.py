"""Every table of the hub, in one metadata: what migrations are compared with."""

from __future__ import annotations

from sqlmodel import SQLModel

from cloud.access import models as access_models
from cloud.annotation import models as annotation_models
from cloud.blobs import models as blobs_models
from cloud.datasets import models as datasets_models
from cloud.evaluation import models as evaluation_models
from cloud.fleet import models as fleet_models
from cloud.jobs import models as jobs_models
from cloud.promotion import models as promotion_models
from cloud.registry import models as registry_models
from cloud.rollouts import models as rollouts_models
from cloud.telemetry import models as telemetry_models
from cloud.tracking import models as tracking_models
from cloud.training import models as training_models

TABLE_MODULES = (
    access_models,
    blobs_models,
    jobs_models,
    fleet_models,
    telemetry_models,
    annotation_models,
    datasets_models,
    registry_models,
    evaluation_models,
    training_models,
    promotion_models,
    tracking_models,
    rollouts_models,
)
"""Importing a module of tables registers them; this names them all."""

metadata = SQLModel.metadata
