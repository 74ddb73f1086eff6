"""Spreads over the cores what a picture has several of, or is looked at for, where they have nothing else to do."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, ParamSpec, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")
Arguments = ParamSpec("Arguments")


class Spreader:
    """Threads that help whoever asks, at most one for each further core. Any number may ask at once.

    Nobody waits for a helper that has not begun: where all are busy with others, everybody does their own. So what is
    done may ask itself.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._helpers = ThreadPoolExecutor(threads - 1, name) if threads > 1 else None

    def offer(
        self, work: Callable[Arguments, Made], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> "Offer[Made]":
        """`work`, for a helper to do while who asks does something else, and comes back for what it has made."""
        return Offer(lambda: work(*args, **kwargs), self._helpers)

    def each(self, work: Callable[[Item], Made], items: Sequence[Item]) -> list[Made]:
        """What `work` makes of each of `items`, in their order. Raises what `work` does, and then begins no more.

        Who asks begins from one end and the helpers from the other.
        """
        if self._helpers is None or len(items) < 2:
            return [work(item) for item in items]
        others = [self.offer(work, item) for item in items[:-1]]
        try:
            made = [work(items[-1]), *(other.made() for other in reversed(others))]
        finally:
            for other in others:
                other.withdraw()
        return made[::-1]


class Offer(Generic[Made]):
    """Something that a helper may do, or else who offers it."""

    def __init__(self, work: Callable[[], Made], helpers: ThreadPoolExecutor | None) -> None:
        self._work = work
        self._helped = helpers.submit(work) if helpers else None

    def made(self) -> Made:
        """What the work makes, or raises; where no helper has begun it, it is done here."""
        return self._work() if self._helped is None or self._helped.cancel() else self._helped.result()

    def withdraw(self) -> None:
        """No helper begins it any more."""
        if self._helped is not None:
            self._helped.cancel()
