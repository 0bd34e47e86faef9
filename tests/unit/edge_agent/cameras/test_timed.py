"""A driver that hangs: its thread is left behind, and nothing else is."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.opening import Opener
from edge_agent.cameras.source import CameraSpec, Grab, Source
from edge_agent.cameras.timed import TimedSource
from edge_agent.errors import CameraError
from tests.fixtures.seeing import MemorySource, eventually, image


@dataclass
class Device:
    """A source that answers only while `free` is set."""

    free: threading.Event = field(default_factory=threading.Event)
    opened: int = 0
    closed: int = 0
    fps: float | None = 12.5

    def open(self) -> Source:
        self.free.wait(30)
        self.opened += 1
        return self

    def read(self, decode: bool = True) -> Grab | None:
        self.free.wait(30)
        return MemorySource([image()], 1).read(decode)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def device() -> Device:
    device = Device()
    device.free.set()
    return device


def timed(device: Device) -> TimedSource:
    return TimedSource("usb:0", device.open, read_timeout_s=0.05)


def test_a_device_that_answers_is_read_and_closed(device: Device) -> None:
    source = timed(device)
    source.open(5)
    assert source.fps == 12.5
    grab = source.read()
    passed_over = source.read(decode=False)
    source.close()
    assert grab is not None
    assert grab.image.shape == (48, 64, 3)
    assert passed_over is not None
    assert passed_over.image.size == 0
    assert not source.hangs
    assert device.closed == 1


def test_an_error_of_the_device_is_raised_where_it_is_read() -> None:
    def refuses() -> Source:
        raise CameraError("no device")

    source = TimedSource("usb:0", refuses, 1)
    with pytest.raises(CameraError, match="no device"):
        source.open(5)
    with pytest.raises(CameraError, match="not open"):
        source.read()
    source.close()
    assert not source.hangs


def test_a_device_that_hangs_while_it_is_read_is_given_up_and_closed_when_it_returns(
    device: Device,
) -> None:
    source = timed(device)
    source.open(5)
    device.free.clear()
    with pytest.raises(CameraError, match=r"did not answer for 0\.05 s; check its cable"):
        source.read()
    assert source.hangs
    assert device.closed == 0
    device.free.set()
    eventually(lambda: not source.hangs, "the thread ends")
    assert device.closed == 1


def test_a_device_that_hangs_while_it_is_opened_is_given_up(device: Device) -> None:
    device.free.clear()
    source = timed(device)
    with pytest.raises(CameraError, match="did not answer"):
        source.open(0.05)
    assert source.hangs
    device.free.set()
    eventually(lambda: not source.hangs, "the thread ends")
    assert (device.opened, device.closed) == (1, 1)


def test_while_it_hangs_no_other_thread_is_spent_on_it(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.cameras.opening._video", lambda *_: device.open())
    spec, limits = CameraSpec("a", "usb:0", "tiny"), CaptureLimits(open_timeout_s=0.05)
    opener = Opener()
    device.free.clear()
    with pytest.raises(CameraError, match="did not answer"):
        opener(spec, "t", limits)
    threads = threading.active_count()
    for _ in range(3):
        with pytest.raises(CameraError, match="still hangs in its driver; unplug it"):
            opener(spec, "t", limits)
    assert threading.active_count() == threads
    device.free.set()
    eventually(lambda: device.closed, "the hanging thread ends")
    opener(spec, "t", CaptureLimits()).close()
    assert device.closed == 2
