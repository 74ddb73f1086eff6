"""Makes deleted rows leave the disk, not only the tables.

PostgreSQL marks a deleted row and reuses its place some day; until then its bytes are in the table's file, in the
write-ahead log, in the planner's statistics, and in files that a crash left behind. A scrub goes through these:

1. it waits for the transactions that might still see the deleted rows,
2. writes each table that holds something about people anew (`VACUUM FULL`: heap, TOAST, indexes), and then, when
   nobody sees the old ones any more, the planner's statistics,
3. starts a new segment of the log and makes a checkpoint, after which the old files and segments are gone,
4. removes files of the database that no table owns.

Killed anywhere, it is done by running it again: what was deleted counts as there until a scrub has ended.
Steps 3 and 4 need the embedded PostgreSQL, or a role that may do them; docs/privacy.md says what an operator of
another PostgreSQL has to see to.
"""

import time
from collections.abc import Collection as AnyOf
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from psycopg.errors import InsufficientPrivilege, LockNotAvailable
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError, ProgrammingError

from regard.store import deletions
from regard.store.database import Database
from regard.store.tables import scrubs

# Tables that hold something about people, and the counter of PostgreSQL that says whether a rewrite is due. A change
# of a face leaves an older copy of a person who is still enrolled: the faces are rewritten after deletions alone.
PERSONAL = {
    "faces": "n_tup_del",
    "users": "n_tup_upd + n_tup_del",
    "interactions": "n_tup_del",
    "removals": "n_tup_del",
    "consents": "n_tup_upd + n_tup_del",
    "legal_holds": "n_tup_upd + n_tup_del",
    "tags": "n_tup_upd + n_tup_del",
    "idempotency_tokens": "n_tup_upd + n_tup_del",
    "human_loops": "n_tup_upd + n_tup_del",
    "probes": "n_tup_del",
    "jobs": "n_tup_del",
    "job_parts": "n_tup_del",
    "job_results": "n_tup_upd + n_tup_del",
    "audit_pseudonyms": "n_tup_del",
    "reviews": "n_tup_upd + n_tup_del",
    "verdicts": "n_tup_upd + n_tup_del",
}
_STATISTICS = "pg_statistic"

_SCRUB_LOCK = 0x53637275_62  # "Scrub": one process scrubs at a time
_OLDER_PATIENCE_S = 60.0
_LOCK_PATIENCE_S = 2  # others queue behind a rewrite that waits for its lock, so it gives up and comes again
_LOCK_ATTEMPTS = 30
_PAUSE_S = 0.1
_WORD = 8
_READ = 1 << 22
PIECE = 32  # bytes of an embedding that are searched for as one: eight numbers


class ScrubError(Exception):
    """A scrub could not be finished; the text tells the operator why. Running it again goes on."""


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What a scrub did: the tables written anew, each with the seconds that it was locked, and what it could not do."""

    tables: dict[str, float] = field(default_factory=dict)
    removed_files: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def scrub(database: Database, *, everything: bool) -> Scrubbed:
    """Let what was deleted leave the disk: from every table, or from those whose turn it is.

    A table cannot be read while it is rewritten. Raises `ScrubError` if another process scrubs, or if an old
    transaction or a busy table did not make way.
    """
    with database.read() as connection, _alone(connection):
        receipts = deletions.unscrubbed(connection)
        changes = _changes(connection)
        due = list(changes) if everything else _due(connection, changes, deleted=bool(receipts))
        if not due:
            return Scrubbed()
        _outlive_older_transactions(connection)
        locked = {table: _rewrite(connection, table) for table in due}
        _outlive_older_transactions(connection)  # the statistics of deleted rows were replaced only now
        locked[_STATISTICS] = _rewrite(connection, _STATISTICS)
        left = _drop_log(connection, embedded=database.folder is not None)
        removed = _remove_orphans(connection, database.folder) if database.folder else ()
        for table in due:
            _note(connection, table, changes[table])
        if not left:
            deletions.mark_scrubbed(connection, receipts)
        return Scrubbed(locked, removed, left)


def traces(folder: Path, secrets: Sequence[bytes]) -> list[Path]:
    """The files below `folder` that hold a piece of `PIECE` bytes of one of the secrets, wherever in the file.

    The pieces of a secret follow one another, so that one is found by halves, too, as across two pages or chunks of
    TOAST. Pieces that begin with nothing but zeros are everywhere and are left out.
    """
    pieces = {secret[start : start + PIECE] for secret in secrets for start in range(0, len(secret) - PIECE + 1, PIECE)}
    sought = _Sought.of({piece for piece in pieces if any(piece[:_WORD])})
    return [file for file in sorted(folder.rglob("*")) if file.is_file() and sought.are_in(file)]


@dataclass(frozen=True, slots=True)
class _Sought:
    """Pieces by their first eight bytes as a number, and which low ends of such numbers there are.

    However many pieces there are, a file is gone through once for each of the eight places that a word may start at.
    """

    pieces: frozenset[bytes]
    heads: NDArray[np.uint64]
    low_ends: NDArray[np.bool_]

    @classmethod
    def of(cls, pieces: AnyOf[bytes]) -> "_Sought":
        heads = np.unique(np.array([int.from_bytes(piece[:_WORD], "little") for piece in pieces], np.uint64))
        low_ends = np.zeros(1 << 16, bool)
        low_ends[heads & np.uint64(0xFFFF)] = True
        return cls(frozenset(pieces), heads, low_ends)

    def are_in(self, file: Path) -> bool:
        """Whether any of the pieces is in a file; not in one that is removed meanwhile."""
        try:
            with file.open("rb") as opened:
                kept = b""
                while read := opened.read(_READ):
                    content = kept + read
                    if any(self._at(content, start) for start in range(_WORD)):
                        return True
                    kept = content[-PIECE:]
        except FileNotFoundError:
            pass
        return False

    def _at(self, content: bytes, start: int) -> bool:
        count = (len(content) - start) // _WORD
        if count < 1:
            return False
        words = np.frombuffer(content, "<u8", count, start)
        likely = np.flatnonzero(self.low_ends[words & np.uint64(0xFFFF)])
        found = likely[np.isin(words[likely], self.heads)] * _WORD + start
        return any(content[place : place + PIECE] in self.pieces for place in found.tolist())


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(_SCRUB_LOCK))).scalar_one():
        raise ScrubError("another process is scrubbing; try again when it is done")
    try:
        yield
    finally:
        connection.execute(sa.select(sa.func.pg_advisory_unlock(_SCRUB_LOCK)))


def _changes(connection: Connection) -> dict[str, int]:
    """What PostgreSQL has counted of changes of each of the tables that there are."""
    counts = {}
    for table, counter in PERSONAL.items():
        statement = sa.text(f"SELECT {counter} FROM pg_stat_user_tables WHERE relid = to_regclass(:table)")  # noqa: S608
        if (count := connection.execute(statement, {"table": table}).scalar()) is not None:
            counts[table] = int(count)
    return counts


def _due(connection: Connection, changes: dict[str, int], *, deleted: bool) -> list[str]:
    """The tables that have changed since they were rewritten; a crash, which resets the counters, counts as one.

    The counters lag, so those with vectors have also changed if a deletion says so.
    """
    known = {
        row.table_name: row.changes for row in connection.execute(sa.select(scrubs.c.table_name, scrubs.c.changes))
    }
    return [
        table
        for table, count in changes.items()
        if count != known.get(table, 0) or (deleted and table in ("faces", "users"))
    ]


def _note(connection: Connection, table: str, count: int) -> None:
    statement = insert(scrubs).values(table_name=table, changes=count)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[scrubs.c.table_name], set_={"changes": count, "finished_at": sa.func.now()}
        )
    )


def _outlive_older_transactions(connection: Connection) -> None:
    """Wait until every transaction has ended that might see what was deleted before now: a rewrite keeps that."""
    now = connection.execute(sa.text("SELECT pg_current_xact_id()::text")).scalar_one()
    older = sa.text(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND greatest(age(backend_xid), age(backend_xmin)) > age(CAST(:now AS xid8)::xid) LIMIT 1"
    )
    deadline = time.monotonic() + _OLDER_PATIENCE_S
    while (pid := connection.execute(older, {"now": now}).scalar()) is not None:
        if time.monotonic() > deadline:
            raise ScrubError(
                f"PostgreSQL's process {pid} has had a transaction open for {_OLDER_PATIENCE_S:.0f} seconds"
            )
        time.sleep(_PAUSE_S)


def _rewrite(connection: Connection, table: str) -> float:
    """Write a table anew; the seconds that it took."""
    connection.execute(sa.text(f"SET lock_timeout = '{_LOCK_PATIENCE_S}s'"))
    try:
        for _ in range(_LOCK_ATTEMPTS):
            started = time.monotonic()
            try:
                connection.execute(sa.text(f"VACUUM (FULL, ANALYZE) {table}"))
                return time.monotonic() - started
            except OperationalError as error:
                if not isinstance(error.orig, LockNotAvailable):
                    raise
            time.sleep(_PAUSE_S)
    finally:
        connection.execute(sa.text("RESET lock_timeout"))
    raise ScrubError(f"the table {table} is in use all the time")


def _drop_log(connection: Connection, *, embedded: bool) -> tuple[str, ...]:
    """Let the segments of the write-ahead log go that were written so far; what could not be done."""
    try:
        if embedded:
            _use_up(connection)
        connection.execute(sa.text("SELECT pg_switch_wal()"))
        connection.execute(sa.text("CHECKPOINT"))
    except (ProgrammingError, OperationalError) as error:
        if isinstance(error.orig, InsufficientPrivilege):
            return ("the write-ahead log: this role may not switch it (pg_switch_wal, CHECKPOINT)",)
        raise
    return ()


def _use_up(connection: Connection) -> None:
    """Write through the segments that lie ready: old ones, from before PostgreSQL was told not to reuse any."""
    last = connection.execute(sa.text("SELECT max(name) FROM pg_ls_waldir()")).scalar_one()
    current = sa.text("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    while connection.execute(current).scalar_one() < last:
        connection.execute(sa.text("SELECT pg_logical_emit_message(false, 'regard', '')"))
        connection.execute(sa.text("SELECT pg_switch_wal()"))


def _remove_orphans(connection: Connection, folder: Path) -> tuple[str, ...]:
    """Remove the files of tables that a crash left half-written, which PostgreSQL itself never does."""
    # Of a file that a running transaction makes only that transaction knows the table: so look again after it.
    first = _orphans(connection)
    if not first:
        return ()
    _outlive_older_transactions(connection)
    own = sa.text("SELECT oid FROM pg_database WHERE datname = current_database()")
    place = folder / "base" / str(connection.execute(own).scalar_one())
    removed = sorted(first & _orphans(connection))
    for name in removed:
        (place / name).unlink(missing_ok=True)
    return tuple(removed)


def _orphans(connection: Connection) -> set[str]:
    statement = sa.text(
        "SELECT file FROM pg_database, pg_ls_dir('base/' || oid) AS file WHERE datname = current_database()"
        " AND file ~ '^[0-9]+' AND pg_filenode_relation(0, substring(file FROM '^[0-9]+')::oid) IS NULL"
    )
    return set(connection.execute(statement).scalars())
