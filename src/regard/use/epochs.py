"""What a process keeps of the database until the policies' epoch rises, which is read together with the access key."""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from regard.store.database import Database


class _OfEpoch(Protocol):
    @property
    def epoch(self) -> int: ...


KeptT = TypeVar("KeptT", bound=_OfEpoch)


class ByEpoch(Generic[KeptT]):
    """What `read` gives, which says of which epoch it is. Any number of threads may use it at once."""

    def __init__(self, read: Callable[[Database], KeptT]) -> None:
        self._read = read
        self._kept: KeptT | None = None
        self._reading = threading.Lock()

    def at(self, database: Database, epoch: int) -> KeptT:
        """That of this epoch or a later one."""
        kept = self._kept
        if kept is not None and kept.epoch >= epoch:
            return kept
        with self._reading:
            if self._kept is None or self._kept.epoch < epoch:
                self._kept = self._read(database)
            return self._kept
