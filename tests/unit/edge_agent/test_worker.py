"""One thing after another on one thread, and what becomes of them where one hangs."""

from __future__ import annotations

import threading
from functools import partial
from queue import SimpleQueue

from edge_agent.worker import Worker

WAIT_S = 30.0


def test_jobs_run_in_order_and_one_that_raises_ends_no_other() -> None:
    done: SimpleQueue[int] = SimpleQueue()
    worker = Worker("test")

    def job(number: int) -> None:
        if number == 2:
            raise RuntimeError("it fails")
        done.put(number)

    for number in range(5):
        worker.submit(partial(job, number))
    assert [done.get(timeout=WAIT_S) for _ in range(4)] == [0, 1, 3, 4]


def test_one_that_hangs_is_left_and_the_others_go_on() -> None:
    done: SimpleQueue[tuple[str, int]] = SimpleQueue()
    release, hung = threading.Event(), threading.Event()

    def job(name: str) -> None:
        done.put((name, threading.get_ident()))

    def hang() -> None:
        hung.set()
        release.wait(WAIT_S)
        job("hung")

    worker = Worker("test")
    worker.submit(hang)
    assert hung.wait(WAIT_S)
    worker.submit(lambda: job("next"))
    worker.renew()
    name, thread = done.get(timeout=WAIT_S)
    assert name == "next"
    release.set()
    assert done.get(timeout=WAIT_S)[0] == "hung"
    for _ in range(20):
        worker.submit(lambda: job("later"))
    assert {done.get(timeout=WAIT_S) for _ in range(20)} == {("later", thread)}
