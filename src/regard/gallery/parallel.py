"""Work of one search shared by the cores that no other search uses."""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

CORES = len(os.sched_getaffinity(0))

_count = threading.Lock()
_working = 0  # threads that are in `in_parallel`, for themselves or for others


def in_parallel(work: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> list[ResultT]:
    """The results of `work` for each item, in order. The caller works, too, and alone if all cores are busy:
    one search at a time is fastest on all cores, and many at a time on one each.
    """
    waiting = list(items)
    if not waiting:
        return []
    results: list[ResultT] = [None] * len(waiting)  # type: ignore[list-item]
    numbers = iter(range(len(waiting)))
    taking = threading.Lock()

    def take() -> None:
        while True:
            with taking:
                number = next(numbers, None)
            if number is None:
                return
            results[number] = work(waiting[number])

    helpers = _reserve(len(waiting))
    helping: list[Future[None]] = []
    try:
        helping += (_pool().submit(take) for _ in range(helpers))
        take()
    finally:
        for future in helping:
            if not future.cancel():
                future.exception()  # waits
        _give_back(1 + helpers)
    for future in helping:
        if not future.cancelled():
            future.result()
    return results


def _reserve(items: int) -> int:
    """Count the caller in; how many may help it."""
    global _working
    with _count:
        helpers = max(0, min(CORES - 1 - _working, items - 1))
        _working += 1 + helpers
        return helpers


def _give_back(threads: int) -> None:
    global _working
    with _count:
        _working -= threads


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(CORES - 1, 1), "gallery")
