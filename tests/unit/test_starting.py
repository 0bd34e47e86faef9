"""A process for a test starts though the machine stumbles, and never hides a real fault."""

from __future__ import annotations

import errno
import io
from typing import Any
from unittest.mock import Mock

import pytest

from tests.starting import TRIES, start_process


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.starting.PAUSE_S", 0.0)


def start(popen: Mock) -> Any:
    return start_process(["program"], log=io.BytesIO(), popen=popen)


def test_a_bad_address_is_tried_again() -> None:
    popen = Mock(side_effect=[OSError(errno.EFAULT, "Bad address"), "running"])
    assert start(popen) == "running"


def test_a_bad_address_that_stays_is_told() -> None:
    popen = Mock(side_effect=OSError(errno.EFAULT, "Bad address"))
    with pytest.raises(OSError, match="Bad address"):
        start(popen)
    assert popen.call_count == TRIES


def test_any_other_error_is_told_at_once() -> None:
    popen = Mock(side_effect=FileNotFoundError(errno.ENOENT, "No such file"))
    with pytest.raises(FileNotFoundError):
        start(popen)
    assert popen.call_count == 1
