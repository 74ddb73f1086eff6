"""How glibc's malloc keeps memory that was freed. Another libc does without.

Networks allocate and free hundreds of megabytes, in sizes that follow the picture and in all threads at once. What is
freed is kept for next time, scattered over as many heaps as threads have met, and each grows to the most that was ever
needed there.
"""

import ctypes
import threading
import time
from contextlib import suppress
from functools import cache

_M_ARENA_MAX = -8  # of glibc's malloc.h
_EVERY_S = 60.0  # giving 100 MB back and taking them again is 40 ms of work


def keep_small(most: int) -> None:
    """Have memory kept in so many heaps, and what is free of it given back every minute, until the process ends.

    To be called before there are threads: each that allocates has a heap of its own, up to eight for each core.
    """
    bound(most)
    _keep_trimmed()


def bound(most: int) -> None:
    """Have no more than so many heaps made from now on."""
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, most)


def trim() -> None:
    """Give whole pages that nobody uses back to the system."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@cache
def _keep_trimmed() -> None:
    threading.Thread(target=_run, name="heap", daemon=True).start()


def _run() -> None:
    while True:
        time.sleep(_EVERY_S)
        trim()
