"""Queries about the audit log, which is only added to.

Whoever appends holds the lock of the chain's head until the end of the transaction, so the log has one order
whatever number of processes write it. These queries take psycopg's own connections: an appended record is waited
for by a request, and one round trip to the database is all that it should cost.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from regard.store.database import Executor
from regard.store.direct import Direct

Connection = psycopg.Connection[Any]

_HEAD_LOCK = 0x41756469_74  # "Audit"
_SERVER_LOCKS = 0x4175_6469  # the class of locks that say which processes live
_HEAD = """
    SELECT seq, hash, convert_from(content, 'UTF8')::json ->> 'ts' FROM audit_records ORDER BY seq DESC LIMIT 1"""
_TIME = """
    SELECT convert_from(content, 'UTF8')::json ->> 'ts' FROM audit_records WHERE seq >= %s ORDER BY seq LIMIT 1"""
_APPEND = (
    "SELECT audit_append(%s, %b, %t::bigint[], %t::bytea[], %t::bytea[], %t::bytea[], %t::bigint[], %s, %t::bigint[])"
)
_COPY = """
    COPY (SELECT seq, content, hash, seal FROM audit_records WHERE seq BETWEEN %s AND %s ORDER BY seq)
    TO STDOUT (FORMAT BINARY)"""
_COPY_HEADER_BYTES = 19
_COPY_TRAILER_BYTES = 2
_BEGINNING = struct.Struct(
    "!hiqi"
).pack  # of a row: the number of its fields, the first of them, the length of the next
_CONTENT_AT = struct.calcsize("!hiqi")
_DIGEST_BYTES = 32
_DIGEST_LENGTH = _DIGEST_BYTES.to_bytes(4, "big")
_INSERT = """
    INSERT INTO audit_records (seq, content, hash, seal)
    SELECT * FROM unnest(%t::bigint[], %t::bytea[], %t::bytea[], %t::bytea[])"""
_KEPT_OR_ADDED = """
    WITH unhurried AS (SELECT set_config('synchronous_commit', 'off', true)),
    added AS (
        INSERT INTO audit_pseudonyms (lookup, salt)
        SELECT new.lookup, new.salt
        FROM unhurried, unnest(%(lookups)t::bytea[], %(salts)t::bytea[]) AS new (lookup, salt)
        ON CONFLICT DO NOTHING RETURNING lookup, salt
    )
    SELECT lookup, salt FROM added
    UNION ALL SELECT lookup, salt FROM audit_pseudonyms WHERE lookup = ANY (%(lookups)t::bytea[])"""


@dataclass(frozen=True, slots=True)
class Record:
    """A record: canonical JSON, its SHA-256, and a keyed digest of that."""

    seq: int
    content: bytes
    hash: bytes
    seal: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The last record of the log: its number, hash and time."""

    seq: int
    hash: bytes
    ts: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed checkpoint as it is kept."""

    size: int
    note: str
    made_at: datetime


def locked_head(connection: Connection) -> Head | None:
    """The end of the log, locked until the transaction ends; None while there is no record."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_HEAD_LOCK,))
    return head(connection)  # a statement of its own: it sees what was committed while the lock was waited for


@contextmanager
def at_head(connection: Connection) -> Iterator[Head | None]:
    """A transaction that begins with `locked_head`, all in one round trip; of a connection outside the pool."""
    try:
        cursor = connection.execute(f"BEGIN; SELECT pg_advisory_xact_lock({_HEAD_LOCK}); {_HEAD}", prepare=False)
        cursor.nextset()
        cursor.nextset()
        row = cursor.fetchone()
        yield None if row is None else Head(*row)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(psycopg.Error):
            connection.rollback()
        raise


def head(connection: Connection) -> Head | None:
    """The end of the log; None while there is no record."""
    row = connection.execute(_HEAD).fetchone()
    return None if row is None else Head(*row)


def size(connection: Connection) -> int:
    """How many records there should be: the number of the last one, whatever is in it."""
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM audit_records").fetchone() or (0,)
    return int(last)


def append(connection: Connection, records: Sequence[Record]) -> None:
    """Add records after the locked head."""
    connection.execute(_INSERT, _columns(records))


def append_to(
    direct: Direct,
    head: Head,
    records: Sequence[Record],
    opened: Sequence[int],
    server: int,
    closed: Sequence[int],
) -> bool:
    """Add records, open and close intents, and commit, all in one round trip; False, with nothing done, if `head` is
    not the end of the log any more. The function of the database holds the lock."""
    parameters = (head.seq, head.hash, *_columns(records), _numbers(opened), server, _numbers(closed))
    return direct.execute(_APPEND, parameters).fetchone() == (True,)


def _columns(records: Sequence[Record]) -> tuple[str, str, str, str]:
    """Numbers, contents, hashes and seals as arrays."""
    return (
        _numbers([record.seq for record in records]),
        _bytes([record.content for record in records]),
        _bytes([record.hash for record in records]),
        _bytes([record.seal for record in records]),
    )


def _numbers(values: Sequence[int]) -> str:
    """A bigint[] as PostgreSQL reads it; psycopg takes longer to write an array."""
    return "{" + ",".join(map(str, values)) + "}"


def _bytes(values: Sequence[bytes]) -> str:
    """A bytea[] as PostgreSQL reads it."""
    return "{" + ",".join(f'"\\\\x{value.hex()}"' for value in values) + "}"


def hashes(connection: Connection, first: int, last: int) -> list[bytes]:
    """The hashes of the records first … last."""
    rows = connection.execute("SELECT hash FROM audit_records WHERE seq BETWEEN %s AND %s ORDER BY seq", (first, last))
    return [hashed for (hashed,) in rows]


def nodes(connection: Connection, level: int, start: int, stop: int) -> list[bytes]:
    """The kept hashes start … stop-1 of a level of the tree."""
    rows = connection.execute(
        "SELECT hash FROM audit_nodes WHERE level = %s AND index >= %s AND index < %s ORDER BY index",
        (level, start, stop),
    )
    return [hashed for (hashed,) in rows]


def add_node(connection: Connection, level: int, index: int, hashed: bytes) -> None:
    connection.execute("INSERT INTO audit_nodes (level, index, hash) VALUES (%s, %s, %s)", (level, index, hashed))


def find(connection: Connection, seq: int) -> Record | None:
    row = connection.execute("SELECT seq, content, hash, seal FROM audit_records WHERE seq = %s", (seq,)).fetchone()
    return None if row is None else Record(*row)


def first_at(connection: Connection, moment: str) -> int:
    """The seq of the first record not before a time (as records write it); one past the last if there is none.

    Times never go back, so a search by halves finds it, and no index needs to be kept or checked.
    """
    end = head(connection)
    low, high = 1, 1 if end is None else end.seq + 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_TIME, (middle,)).fetchone()
        if row is not None and row[0] < moment:
            low = middle + 1
        else:
            high = middle
    return low


def stream(connection: Connection, first: int, last: int) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """Seq, content, hash and seal of the records first … last in order, however many: they are not held at once."""
    with connection.cursor() as cursor, cursor.copy(_COPY, (first, last)) as copy:
        copy.set_types(["int8", "bytea", "bytea", "bytea"])
        yield from copy.rows()


def raw_rows(connection: Connection, first: int, last: int) -> Iterator[bytes]:
    """The same as PostgreSQL sends it, which takes half the time: rows of binary COPY, see `fields`."""
    with connection.cursor() as cursor, cursor.copy(_COPY, (first, last)) as copy:
        skipped = _COPY_HEADER_BYTES
        for chunk in copy:
            row = bytes(chunk[skipped:])
            skipped = 0
            if len(row) > _COPY_TRAILER_BYTES:
                yield row


def fields(row: bytes, seq: int) -> tuple[bytes, bytes, bytes] | None:
    """Content, hash and seal in a raw row; None unless it is record number `seq` with a hash and a seal of their size.

    A row is the number of its fields, and each field after its length, all in network byte order.
    """
    if row[:_CONTENT_AT] != _BEGINNING(4, 8, seq, len(row) - _CONTENT_AT - 2 * (4 + _DIGEST_BYTES)):
        return None
    if not row[-72:-68] == row[-36:-32] == _DIGEST_LENGTH:
        return None
    return row[_CONTENT_AT:-72], row[-68:-36], row[-32:]


def every_node(connection: Connection) -> dict[tuple[int, int], bytes]:
    """All kept hashes of the tree by level and index: one for 256 records."""
    rows = connection.execute("SELECT level, index, hash FROM audit_nodes")
    return {(level, index): hashed for level, index, hashed in rows}


def checkpoints(connection: Connection, limit: int | None = None) -> list[Checkpoint]:
    """The checkpoints, newest first."""
    rows = connection.execute("SELECT size, note, made_at FROM audit_checkpoints ORDER BY size DESC LIMIT %s", (limit,))
    return [Checkpoint(*row) for row in rows]


def add_checkpoint(connection: Connection, size: int, note: str) -> bool:
    """Keep a checkpoint; False if there is one of that size."""
    return bool(
        connection.execute(
            "INSERT INTO audit_checkpoints (size, note) VALUES (%s, %s) ON CONFLICT DO NOTHING", (size, note)
        ).rowcount
    )


def open_intents(connection: Connection, seqs: Sequence[int], server: int) -> None:
    """Remember that a process is about to do what these records announce."""
    connection.execute("INSERT INTO audit_intents SELECT unnest(%s::bigint[]), %s", (list(seqs), server))


def close_intents(connection: Connection, seqs: Iterable[int]) -> list[int]:
    """Forget intents that have their outcome; those that were still open."""
    rows = connection.execute("DELETE FROM audit_intents WHERE seq = ANY (%s) RETURNING seq", (list(seqs),))
    return sorted(seq for (seq,) in rows)


def pending_intents(connection: Connection) -> list[int]:
    """The seqs of intents whose outcome is to come."""
    return [seq for (seq,) in connection.execute("SELECT seq FROM audit_intents")]


def live(connection: Connection, server: int) -> None:
    """Say that the process `server` lives, for as long as this connection does."""
    connection.execute("SELECT pg_advisory_lock(%s, %s)", (_SERVER_LOCKS, server))


@contextmanager
def orphaned(connection: Connection) -> Iterator[list[int]]:
    """The intents of processes that live no more, which nobody else may conclude meanwhile."""
    servers = [server for (server,) in connection.execute("SELECT DISTINCT server FROM audit_intents")]
    taken = [
        server
        for server in servers
        if connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_SERVER_LOCKS, server)).fetchone() == (True,)
    ]
    try:
        rows = connection.execute("SELECT seq FROM audit_intents WHERE server = ANY (%s) ORDER BY seq", (taken,))
        yield [seq for (seq,) in rows]
    finally:
        for server in taken:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (_SERVER_LOCKS, server))


def salts(connection: Executor, lookups: Sequence[bytes]) -> dict[bytes, bytes]:
    """The salts that there are, by lookup."""
    return dict(
        connection.execute("SELECT lookup, salt FROM audit_pseudonyms WHERE lookup = ANY (%s)", (list(lookups),))
    )


def kept_or_added(connection: Executor, salts: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The salts that there are, by lookup, and those given for lookups that have none, which are kept now. One that
    another process keeps at the same time is missing. One statement, which commits by itself, and does not wait for the
    disk: the record that is written with them does, and what is committed before it is on disk then, too. In one order,
    so that two cannot wait for each other."""
    lookups = sorted(salts)
    values = {"lookups": _bytes(lookups), "salts": _bytes([salts[lookup] for lookup in lookups])}
    return dict(connection.execute(_KEPT_OR_ADDED, values))


def remove_salts(connection: Connection, lookups: Sequence[bytes]) -> int:
    """Destroy salts; how many there were."""
    return connection.execute("DELETE FROM audit_pseudonyms WHERE lookup = ANY (%s)", (list(lookups),)).rowcount
