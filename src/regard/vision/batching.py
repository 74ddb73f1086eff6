"""Runs together what many threads ask a network for at the same time: a GPU takes little longer for several pictures.

While the network works, requests for it pile up; who is next takes along what waits. So nobody waits for a batch to
fill, and a request that comes alone runs alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = tuple[NDArray[np.float32], ...]


@dataclass(slots=True, eq=False)
class _Request:
    inputs: tuple[NDArray[Any], ...]
    outputs: Arrays | None = None
    error: BaseException | None = None

    @property
    def answered(self) -> bool:
        return self.outputs is not None or self.error is not None

    @property
    def kind(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of one picture; requests that have the same can run together."""
        return tuple(array.shape[1:] for array in self.inputs)


class Batcher:
    """`run`, for any number of threads, on at most `most` rows at a time unless one request has more.

    `run` takes and gives arrays whose first axis counts pictures, and may not let one picture's answer depend on
    another. It is never run by two threads at once.
    """

    def __init__(self, run: Callable[..., Arrays], most: int) -> None:
        self._run, self._most = run, most
        self._waiting: list[_Request] = []
        self._changing = Lock()
        self._turn = Lock()

    def run(self, *inputs: NDArray[Any]) -> Arrays:
        """The outputs for `inputs`. A failure is that of all that ran together."""
        request = _Request(inputs)
        with self._changing:
            self._waiting.append(request)
        with self._turn:
            if not request.answered:
                self._answer(self._taken(request))
        if request.outputs is None:
            raise request.error or AssertionError
        return request.outputs

    def _taken(self, first: _Request) -> list[_Request]:
        """A request and those that wait and fit it, the longest waiting first; they wait no more."""
        with self._changing:
            batch, rows = [first], len(first.inputs[0])
            for request in self._waiting:
                more = len(request.inputs[0])
                if request is not first and request.kind == first.kind and rows + more <= self._most:
                    batch.append(request)
                    rows += more
            self._waiting = [request for request in self._waiting if request not in batch]
        return batch

    def _answer(self, batch: list[_Request]) -> None:
        try:
            inputs = batch[0].inputs
            if len(batch) > 1:
                inputs = tuple(np.concatenate(arrays) for arrays in zip(*(one.inputs for one in batch), strict=True))
            outputs = self._run(*inputs)
            ends = np.cumsum([len(request.inputs[0]) for request in batch])[:-1]
            parts = zip(*(np.split(array, ends) for array in outputs), strict=True)
            for request, part in zip(batch, parts, strict=True):
                request.outputs = tuple(part)
        except BaseException as error:
            for request in batch:
                request.error = error
