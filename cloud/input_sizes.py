"""The sides, in px, that a detector's input may have: of a training, an import and a build."""

from __future__ import annotations

SIDE_STEP_PX = 32
SIDE_PX_MIN, SIDE_PX_MAX = 32, 8192
