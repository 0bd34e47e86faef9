"""Every table of the hub, in one metadata: what migrations are compared with."""

from __future__ import annotations

from sqlmodel import SQLModel

from cloud.access import models as access_models
from cloud.blobs import models as blobs_models
from cloud.fleet import models as fleet_models

TABLE_MODULES = (access_models, blobs_models, fleet_models)
"""Importing a module of tables registers them; this names them all."""

metadata = SQLModel.metadata
