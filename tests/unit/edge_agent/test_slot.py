from __future__ import annotations

import threading

import pytest

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.update.slot import Slot
from tests.fixtures.seeing import FakeDetector, fake_bundle


def _detector(bundle: LoadedBundle) -> FakeDetector:
    assert isinstance(bundle.detector, FakeDetector)
    return bundle.detector


def test_an_exchange_returns_the_previous_bundle_still_open() -> None:
    slot, old, new = Slot("tiny"), fake_bundle("a" * 64), fake_bundle("b" * 64)
    assert slot.current() is None
    assert slot.exchange(old) is None
    assert slot.exchange(new) is old
    assert slot.current() is new
    assert not _detector(old).closed
    assert slot.exchange(old) is new, "an exchange can be taken back"


def test_a_released_bundle_is_closed_at_once_when_nobody_uses_it() -> None:
    slot, old = Slot("tiny"), fake_bundle()
    slot.exchange(old)
    slot.exchange(None)
    slot.release(old)
    assert _detector(old).closed


def test_a_leased_bundle_is_closed_after_its_last_use() -> None:
    slot, old = Slot("tiny"), fake_bundle()
    slot.exchange(old)
    with slot.lease() as first, slot.lease() as second:
        assert first is second is old
        slot.exchange(fake_bundle("b" * 64))
        slot.release(old)
        assert not _detector(old).closed
        with pytest.raises(ValueError, match="released"):
            slot.exchange(old)
    assert _detector(old).closed


def test_the_serving_bundle_cannot_be_released() -> None:
    slot, bundle = Slot("tiny"), fake_bundle()
    slot.exchange(bundle)
    with pytest.raises(ValueError, match="serves"):
        slot.release(bundle)


def test_no_lease_ever_holds_a_closed_bundle() -> None:
    slot, found_closed = Slot("tiny"), threading.Event()
    slot.exchange(fake_bundle())
    stopping = threading.Event()

    def use() -> None:
        while not stopping.is_set():
            with slot.lease() as bundle:
                if bundle is None or _detector(bundle).closed:
                    found_closed.set()

    users = [threading.Thread(target=use) for _ in range(3)]
    for user in users:
        user.start()
    for _ in range(500):
        old = slot.exchange(fake_bundle())
        assert old is not None
        slot.release(old)
    stopping.set()
    for user in users:
        user.join(10)
    assert not found_closed.is_set()
