"""The galleries of a process: the codes of each collection, kept in step with PostgreSQL.

PostgreSQL is the system of record. A search first asks for the collection's version, takes in what has
changed since the version that it knows, scans its codes for a superset of the matches, and ranks those on
the full-precision vectors that PostgreSQL returns. So a committed face is found by the next search of every
process, a removed one is not, and a killed process loses nothing.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import sqlalchemy as sa
from fasteners import ReaderWriterLock
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from regard.gallery.codes import Codes
from regard.store import faces, users
from regard.store.collections import Collection
from regard.store.database import Database
from regard.store.tables import collections as collections_table
from regard.store.tables import faces as faces_table
from regard.store.tables import removals
from regard.store.tables import users as users_table
from regard.vision.cohort import Comparison

_ROWS = 1 << 13  # taken from the database at a time; as rows they take ten times the memory of their codes


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

    def take(self, connection: Connection, collection_key: int, version: int, comparison: Comparison) -> None:
        """Take in what changed after `self.version` in the snapshot of `connection`."""
        if self.codes is not None:
            gone = sa.select(removals.c.key).where(
                removals.c.collection_key == collection_key,
                removals.c.version > self.version,
                removals.c.of_user == (self.table is users_table),
            )
            self.codes.remove(np.array(list(connection.execute(gone).scalars()), np.int64))
        changed = sa.select(self.table.c.key, self.table.c.embedding).where(
            self.table.c.collection_key == collection_key,
            self.table.c.version > self.version,
            self.table.c.embedding.is_not(None),
        )
        for rows in connection.execution_options(stream_results=True).execute(changed).partitions(_ROWS):
            keys = np.fromiter((row.key for row in rows), np.int64, len(rows))
            vectors = np.frombuffer(b"".join(row.embedding for row in rows), "<f4").reshape(len(rows), -1)
            references = comparison.references(vectors)
            if self.codes is None:
                self.codes = Codes(references.shape[1])
            self.codes.put(keys, references)
        self.version = version


class _Entry:
    def __init__(self) -> None:
        self.lock = ReaderWriterLock()
        self.faces = _Side(faces_table)
        self.users = _Side(users_table)


class Gallery:
    """Search over the collections of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries: dict[int, _Entry] = {}
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
        return 0 if entry is None or entry.faces.codes is None else entry.faces.codes.nbytes

    def forget(self, collection_key: int) -> None:
        """Free the memory of a deleted collection."""
        with self._guard:
            self._entries.pop(collection_key, None)

    def _search(
        self,
        collection: Collection,
        side_of: Callable[[_Entry], _Side],
        probe: NDArray[np.float32],
        limit: int,
        floor: float,
        comparison: Comparison,
        fetch: Callable[[Connection, Sequence[int]], list[RowT]],
        tie: Callable[[RowT], bytes],
    ) -> list[Match[RowT]]:
        with self._guard:
            entry = self._entries.setdefault(collection.key, _Entry())
        side = side_of(entry)
        if side.version < collection.version:
            self._catch_up(collection.key, entry, side, comparison)
        with entry.lock.read_lock():
            if side.codes is None:
                return []
            keys = side.codes.candidates(comparison.probes(probe[None])[0], limit, floor)
        with self._database.read() as connection:
            rows = fetch(connection, keys.tolist())
        ranked = sorted(_scored(rows, probe, comparison), key=lambda match: (-match.score, tie(match.row)))
        return [match for match in ranked if match.score >= floor][:limit]

    def _catch_up(self, collection_key: int, entry: _Entry, side: _Side, comparison: Comparison) -> None:
        with entry.lock.write_lock(), self._database.snapshot() as connection:
            version = connection.execute(
                sa.select(collections_table.c.version).where(collections_table.c.key == collection_key)
            ).scalar()
            if version is None:
                self.forget(collection_key)
            elif side.version < version:
                side.take(connection, collection_key, version, comparison)


def _scored(rows: Sequence[RowT], probe: NDArray[np.float32], comparison: Comparison) -> list[Match[RowT]]:
    kept = [row for row in rows if row.embedding is not None]
    vectors = [row.embedding for row in rows if row.embedding is not None]
    if not vectors:
        return []
    (scores,) = comparison.scores(probe[None], np.stack(vectors))
    return [Match(row, float(score)) for row, score in zip(kept, scores, strict=True)]
