from __future__ import annotations

import threading

from edge_agent.ledger import ERROR, NO_MODEL, NOBODY, SUPERSEDED, Ledger, Share
from edge_agent.update.slot import Slot
from tests.fixtures.seeing import fake_bundle


def test_every_frame_is_inferred_dropped_or_in_flight() -> None:
    ledger = Ledger(["a", "b"])

    def count() -> None:
        for _ in range(500):
            ledger.captured("a")
            ledger.inferred("a")
            ledger.captured("a")
            ledger.dropped("a", ERROR)
            ledger.unreadable("a")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    account = ledger.account("a")
    assert (account.captured, account.inferred, account.dropped) == (4000, 2000, {ERROR: 2000})
    assert account.in_flight == 0
    assert account.unreadable == 2000
    assert ledger.account("b").captured == 0


def test_frames_are_charged_to_what_serves_and_failures_to_who_had_the_frame() -> None:
    slot, old, new = Slot("tiny"), fake_bundle("a" * 64), fake_bundle("b" * 64)
    ledger = Ledger(["a", "b"], {"a": slot})
    for camera in ("a", "b"):
        ledger.captured(camera)
        ledger.dropped(camera, NO_MODEL)
    slot.exchange(old)
    ledger.captured("a")
    slot.exchange(new)
    for _ in range(3):
        ledger.captured("a")
    ledger.dropped("a", SUPERSEDED, 2)
    before = {share.digest: share for share in ledger.shares("a")}
    ledger.dropped("a", ERROR, by=old.digest)
    shares = ledger.shares("a")
    assert shares == [
        Share("tiny", old.digest, False, 1, {ERROR: 1}),
        Share("tiny", new.digest, True, 3, {SUPERSEDED: 2}),
        Share("tiny", NOBODY, False, 1, {NO_MODEL: 1}),
    ]
    since = [share.since(before.get(share.digest)) for share in shares]
    assert since == [(0, {ERROR: 1}), (0, {}), (0, {})]
    account = ledger.account("a")
    assert sum(share.captured for share in shares) == account.captured
    assert account.dropped == {NO_MODEL: 1, SUPERSEDED: 2, ERROR: 1}
    ledger.dropped("b", ERROR, by=old.digest)
    assert ledger.shares("b") == [Share("", NOBODY, True, 1, {NO_MODEL: 1, ERROR: 1})]
