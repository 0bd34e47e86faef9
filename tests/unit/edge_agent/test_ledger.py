from __future__ import annotations

import threading

from edge_agent.ledger import ERROR, Ledger


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
