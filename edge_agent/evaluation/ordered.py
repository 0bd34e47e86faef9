"""Work on many items side by side, with the answers in the items' order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def in_order(
    work: Callable[[Item], Answer], items: Iterable[Item], workers: int, ahead: int
) -> Generator[Answer, None, None]:
    """What `work` makes of each item, by `workers` threads, in the items' order.

    At most `ahead` items are begun whose answers were not taken yet. The first exception of
    `work` comes out where its answer would have. A caller that stops early closes the
    iterator: what is begun is ended, nothing more is begun.
    """
    waiting: deque[Future[Answer]] = deque()
    pool = ThreadPoolExecutor(workers, "evaluate")
    try:
        for item in items:
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
