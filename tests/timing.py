"""How long a call takes, for ratios within one run: seconds by themselves say more about the machine than the code."""

import time
from collections.abc import Callable


def least_time(call: Callable[[], object], tries: int = 3) -> float:
    """Seconds of CPU time of this thread, the least of some tries: Python's collector may come into any one."""
    found = []
    for _ in range(tries):
        began = time.thread_time()
        call()
        found.append(time.thread_time() - began)
    return min(found)
