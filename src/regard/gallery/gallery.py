"""The galleries of a process: the codes of each collection, kept in step with PostgreSQL.

PostgreSQL is the system of record. A search first asks for the collection's version, takes in what has
changed since the version that it knows, scans its codes for a superset of the matches, and ranks those on
the full-precision vectors that PostgreSQL returns. So a committed face is found by the next search of every
process, a removed one is not, and a killed process loses nothing. Memory has a limit: what was searched
longest ago goes, and comes back from PostgreSQL when it is searched again.
"""

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import psutil
import psycopg
import sqlalchemy as sa
import structlog
from fasteners import ReaderWriterLock
from numpy.typing import NDArray
from sqlalchemy.engine import Connection
from threadpoolctl import threadpool_limits

from regard import metrics
from regard.gallery.codes import Codes
from regard.gallery.parallel import CORES
from regard.store import collections, embeddings, faces, removals, users
from regard.store.collections import Collection
from regard.store.database import Database, Executor, raw
from regard.store.tables import collections as collections_table
from regard.store.tables import faces as faces_table
from regard.store.tables import users as users_table
from regard.vision.cohort import Comparison

_LARGE = 100_000  # faces from which on a collection is loaded through several connections
_CONNECTIONS = max(2, min(CORES, 4))
_RANGES = 8  # of keys that each of them loads, so that all end at about the same time where keys are not even
_TIDY_EVERY_S = 60.0
_QUIET_S = 5.0  # between lines of the log about a collection that is being loaded

_NONE = np.empty(0, np.int64)

_log = structlog.get_logger("regard")


class _Row(Protocol):
    @property
    def embedding(self) -> NDArray[np.float32] | None: ...


RowT = TypeVar("RowT", bound=_Row)


@dataclass(frozen=True, slots=True)
class Match(Generic[RowT]):
    """A face or user and its score with the probe."""

    row: RowT
    score: float


class _Side:
    """The faces or the users of one collection."""

    def __init__(self, table: sa.Table) -> None:
        self.table = table
        self.codes: Codes | None = None  # made when the first vector tells the dimension
        self.version = -1
        self._removed = -1  # the version up to which what was removed is gone from the codes

    @property
    def nbytes(self) -> int:
        return 0 if self.codes is None else self.codes.nbytes

    def take(
        self, database: Database, connection: Connection, collection_key: int, version: int, comparison: Comparison
    ) -> None:
        """Take in what changed after `self.version` in the snapshot of `connection`."""
        self.remove(connection, collection_key, version)
        if self.codes is None:
            self.codes = self._load(database, connection, collection_key, comparison)
            self._removed = version
        else:
            for keys, vectors in embeddings.changed(raw(connection), self.table, collection_key, self.version):
                self.codes.put(keys, comparison.rough_references(vectors))
        self.version = version

    def may_hold_removed(self, version: int) -> bool:
        """Whether there are codes from which not all is gone that was removed up to `version`."""
        return self.codes is not None and self._removed < version

    def remove(self, connection: Connection, collection_key: int, version: int) -> None:
        """Drop what was removed up to `version` at least, which the snapshot of `connection` has; all, if that is not
        known any more."""
        if self.codes is None or self._removed >= version:
            return
        gone = removals.since(connection, collection_key, self._removed, of_users=self.table is users_table)
        if gone is None:
            self._drop()
            return
        self.codes.remove(np.array(gone, np.int64))
        self._removed = version

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A change of the codes; if it fails they may hold a part of it, and are read anew."""
        try:
            yield
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        """Drop all codes: what is there is read anew by the next search."""
        self.codes, self.version = None, -1

    def _load(
        self, database: Database, connection: Connection, collection_key: int, comparison: Comparison
    ) -> Codes | None:
        """The codes of all that is there in the snapshot of `connection`; None if there is nothing."""
        bounds = embeddings.bounds(connection, self.table, collection_key)
        if bounds is None:
            return None
        total = connection.execute(
            sa.select(
                collections_table.c.face_count if self.table is faces_table else collections_table.c.user_count
            ).where(collections_table.c.key == collection_key)
        ).scalar_one()
        progress = _Progress(collection_key, total)
        share = total / (bounds[1] - bounds[0] + 1)

        def take(connection: "psycopg.Connection[Any]", ranges: Iterator[tuple[int, int]]) -> Codes | None:
            codes = None
            for own in ranges:
                for keys, vectors in embeddings.between(connection, self.table, collection_key, own, share):
                    references = comparison.rough_references(vectors)
                    codes = codes or Codes(references.shape[1])
                    codes.add(keys, references)
                    progress.add(len(keys))
            return codes

        if total < _LARGE:
            return take(raw(connection), iter([bounds]))
        snapshot = embeddings.export(connection)
        waiting = _split(bounds, _CONNECTIONS * _RANGES)

        def take_apart(_number: int) -> Codes | None:
            with embeddings.joined(database, snapshot) as own:
                return take(own, _drained(waiting))

        # One thread a connection: those that BLAS adds to each would wait for one another most of the time.
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_CONNECTIONS) as threads:
            loaded = [codes for codes in threads.map(take_apart, range(_CONNECTIONS)) if codes is not None]
        for other in loaded[1:]:
            loaded[0].absorb(other)
        progress.end()
        return loaded[0] if loaded else None


class _Progress:
    """Says in the log how far the loading of a large collection is."""

    def __init__(self, collection_key: int, total: int) -> None:
        self._log = _log.bind(collection_key=collection_key, vectors=total)
        self._lock = threading.Lock()
        self._count = 0
        self._started = self._said = time.monotonic()

    def add(self, count: int) -> None:
        with self._lock:
            self._count += count
            now = time.monotonic()
            if now - self._said > _QUIET_S:
                self._said = now
                self._log.info("loading a collection", loaded=self._count, seconds=round(now - self._started, 1))

    def end(self) -> None:
        seconds = time.monotonic() - self._started
        self._log.info("loaded a collection", loaded=self._count, seconds=round(seconds, 1))


def _split(bounds: tuple[int, int], count: int) -> "queue.SimpleQueue[tuple[int, int]]":
    """Keys from the first to the last in up to `count` ranges."""
    ranges: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    first, last = bounds
    width = -(-(last - first + 1) // count)
    for start in range(first, last + 1, width):
        ranges.put((start, min(start + width - 1, last)))
    return ranges


def _drained(waiting: "queue.SimpleQueue[tuple[int, int]]") -> Iterator[tuple[int, int]]:
    while True:
        try:
            yield waiting.get_nowait()
        except queue.Empty:
            return


class _Entry:
    def __init__(self) -> None:
        self.lock = ReaderWriterLock()
        self.faces = _Side(faces_table)
        self.users = _Side(users_table)
        self.nbytes = 0  # as of the last change


class Gallery:
    """Search over the collections of a database, with codes of up to `memory` bytes: half of the machine's, unless
    given. A collection that needs more than that alone is searched all the same.
    """

    def __init__(self, database: Database, memory: int | None = None) -> None:
        self._database = database
        self._memory = psutil.virtual_memory().total // 2 if memory is None else memory
        self._entries: OrderedDict[int, _Entry] = OrderedDict()  # searched longest ago first
        self._guard = threading.Lock()

    def search_faces(
        self, collection: Collection, probe: NDArray[np.float32], limit: int, floor: float, comparison: Comparison
    ) -> list[Match[faces.Face]]:
        """The `limit` faces most like `probe` [d] with a score of `floor` or more, best first.

        Exact: the same faces in the same order as comparing with every stored vector; equals by FaceId. A
        collection must always be searched with the same `comparison`, that of its face model.
        """
        return self._search(
            collection, lambda e: e.faces, probe, limit, floor, comparison, faces.by_keys, lambda f: f.face_id.bytes
        )

    def search_users(
        self, collection: Collection, probe: NDArray[np.float32], limit: int, floor: float, comparison: Comparison
    ) -> list[Match[users.User]]:
        """The `limit` users most like `probe` [d] with a score of `floor` or more, best first.

        Exact, as `search_faces`; equals by UserId.
        """
        return self._search(
            collection, lambda e: e.users, probe, limit, floor, comparison, users.by_keys, lambda u: u.user_id.encode()
        )

    def nbytes(self, collection: Collection) -> int:
        """Bytes of memory that hold the collection's faces here: codes and keys."""
        with self._guard:
            entry = self._entries.get(collection.key)
        return 0 if entry is None else entry.faces.nbytes

    def held(self) -> tuple[int, int]:
        """Faces and users of all collections that are held here, and the bytes of memory that hold them."""
        with self._guard:
            entries = list(self._entries.values())
        codes = [side.codes for entry in entries for side in (entry.faces, entry.users) if side.codes is not None]
        return sum(map(len, codes)), sum(code.nbytes for code in codes)

    def forget(self, collection_key: int) -> None:
        """Free the memory of a deleted collection."""
        with self._guard:
            self._entries.pop(collection_key, None)

    def tidy(self) -> None:
        """Free the memory of collections, faces and users that are no more, whoever has deleted them."""
        with self._guard:
            entries = dict(self._entries)
        with self._database.read() as connection:
            versions = collections.versions(connection, list(entries))
        for key, entry in entries.items():
            version = versions.get(key)
            if version is None:
                self.forget(key)
                continue
            for side in (entry.faces, entry.users):
                if side.may_hold_removed(version):
                    with entry.lock.write_lock(), self._database.snapshot() as connection, side.changing():
                        side.remove(connection, key, version)

    def keep_tidy(self, every_s: float = _TIDY_EVERY_S) -> None:
        """Have `tidy` done every so many seconds by a thread, until the process ends."""
        threading.Thread(target=self._keep_tidy, args=(every_s,), name="gallery", daemon=True).start()

    def _keep_tidy(self, every_s: float) -> None:
        while True:
            time.sleep(every_s)
            try:
                self.tidy()
            except sa.exc.OperationalError:
                pass  # the database is away, which others tell: next time
            except Exception:
                _log.exception("removed faces stay in memory")

    def _search(
        self,
        collection: Collection,
        side_of: Callable[[_Entry], _Side],
        probe: NDArray[np.float32],
        limit: int,
        floor: float,
        comparison: Comparison,
        fetch: Callable[[Executor, Sequence[int]], list[RowT]],
        tie: Callable[[RowT], bytes],
    ) -> list[Match[RowT]]:
        with self._guard:
            entry = self._entries.setdefault(collection.key, _Entry())
            self._entries.move_to_end(collection.key)
        side = side_of(entry)
        query = comparison.probes(probe[None])[0]
        keys = None
        while keys is None:
            if side.version < collection.version and not self._catch_up(collection.key, entry, side, comparison):
                return []
            with entry.lock.read_lock():
                if side.version >= collection.version:  # unless another's catching up has failed meanwhile
                    keys = _NONE if side.codes is None else side.codes.candidates(query, limit, floor)
        with self._database.at_hand() as connection:
            rows = fetch(connection, keys.tolist())
        ranked = sorted(_scored(rows, probe, comparison), key=lambda match: (-match.score, tie(match.row)))
        return [match for match in ranked if match.score >= floor][:limit]

    def _catch_up(self, collection_key: int, entry: _Entry, side: _Side, comparison: Comparison) -> bool:
        """Take in what is new; False if the collection is no more."""
        with entry.lock.write_lock(), self._database.snapshot() as connection:
            version = collections.versions(connection, [collection_key]).get(collection_key)
            if version is None:
                self.forget(collection_key)
                return False
            if side.version < version:
                with metrics.CATCH_UP_SECONDS.time(), side.changing():
                    side.take(self._database, connection, collection_key, version, comparison)
                self._make_room(entry)
            return True

    def _make_room(self, entry: _Entry) -> None:
        """Drop what was searched longest ago while all take more than there is; not what has just grown."""
        with self._guard:
            entry.nbytes = entry.faces.nbytes + entry.users.nbytes
            total = sum(other.nbytes for other in self._entries.values())
            for key, other in list(self._entries.items()):
                if total <= self._memory:
                    break
                if other is not entry and other.nbytes:
                    del self._entries[key]
                    total -= other.nbytes
                    _log.info("dropped a collection from memory", collection_key=key, bytes=other.nbytes)


def _scored(rows: Sequence[RowT], probe: NDArray[np.float32], comparison: Comparison) -> list[Match[RowT]]:
    kept = [row for row in rows if row.embedding is not None]
    vectors = [row.embedding for row in rows if row.embedding is not None]
    if not vectors:
        return []
    (scores,) = comparison.scores(probe[None], np.stack(vectors))
    return [Match(row, float(score)) for row, score in zip(kept, scores, strict=True)]
