"""Spreads over the cores what a picture has several of, where they have nothing else to do."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class Spreader:
    """Threads that help whoever asks, at most one for each further core. Any number may ask at once.

    Who asks begins from one end and the helpers from the other, so that nobody waits for a helper while there is
    something left to do: where all are busy with others, everybody does their own. So `work` may ask itself.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._helpers = ThreadPoolExecutor(threads - 1, name) if threads > 1 else None

    def each(self, work: Callable[[Item], Made], items: Sequence[Item]) -> list[Made]:
        """What `work` makes of each of `items`, in their order. Raises what `work` does, and then begins no more."""
        if self._helpers is None or len(items) < 2:
            return [work(item) for item in items]
        others = [self._helpers.submit(work, item) for item in items[:-1]]
        try:
            made = [work(items[-1])]
            for item, other in zip(reversed(items[:-1]), reversed(others), strict=True):
                made.append(work(item) if other.cancel() else other.result())
        finally:
            for other in others:
                other.cancel()
        return made[::-1]
