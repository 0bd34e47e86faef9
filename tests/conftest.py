"""Rules for all tests: what a missing part of the machine means."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import cv2
import hypothesis
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


def lacking(reason: str) -> NoReturn:
    """Skip with the reason; under CI=true, where everything should be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI lacks a part that this test needs: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The read-only folder of real data beside the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        lacking("the real data folder ../shared/data is not beside the project")
    return folder


# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("untimed", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("untimed")

_OPEN, _READ, _WRITE = Image.open, cv2.imread, cv2.imwrite


@pytest.fixture(autouse=True)
def image_libraries_as_they_are() -> Iterator[None]:
    """Ultralytics replaces functions of both libraries where it is imported. The hub never
    imports it; a test that does must not change what the ones after it see."""
    yield
    Image.open, cv2.imread, cv2.imwrite = _OPEN, _READ, _WRITE
