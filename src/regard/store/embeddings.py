"""The embeddings of a collection in bulk, as galleries take them in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
import sqlalchemy as sa
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy.engine import Connection

from regard.store.database import Database

# Rows that come as one value: a message for each would take longer than what is in it, and a large value takes longer
# than several small ones.
_ROWS = 1 << 10
_WIDEST = 1 << 16  # keys of which the rows come as one value, however few of them are the collection's

_Parts = Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]


def bounds(connection: Connection, table: sa.Table, collection_key: int) -> tuple[int, int] | None:
    """The least and greatest key of the collection's rows in `table`, faces or users; None if there are none."""
    statement = sa.select(sa.func.min(table.c.key), sa.func.max(table.c.key)).where(
        table.c.collection_key == collection_key
    )
    least, greatest = connection.execute(statement).one()
    return None if least is None else (least, greatest)


def between(
    connection: "psycopg.Connection[Any]", table: sa.Table, collection_key: int, keys: tuple[int, int], share: float
) -> _Parts:
    """Keys [n] and embeddings [n, d] of a collection from the first of `keys` to the second, some hundreds at a time.

    `share` is how many of these keys are the collection's, 0–1, as far as one knows. `connection` must be in a
    transaction. Users without an embedding are left out.
    """
    # A range of keys after the other, for numbering the rows would take four times as long as reading them.
    query = sql.SQL(
        "SELECT part.keys, part.embeddings FROM generate_series(%(first)s::bigint, %(last)s, %(step)s) AS start "
        "CROSS JOIN LATERAL (SELECT string_agg(int8send(key), ''::bytea) AS keys, "
        "string_agg(embedding, ''::bytea) AS embeddings FROM {} WHERE collection_key = %(collection)s "
        "AND key BETWEEN start AND least(start + %(step)s - 1, %(last)s) AND embedding IS NOT NULL"
        ") AS part WHERE part.keys IS NOT NULL"
    ).format(sql.Identifier(table.name))
    step = int(min(_ROWS / max(share, _ROWS / _WIDEST), _WIDEST))
    yield from _parts(
        connection, query, {"collection": collection_key, "first": keys[0], "last": keys[1], "step": step}
    )


def changed(connection: "psycopg.Connection[Any]", table: sa.Table, collection_key: int, after: int) -> _Parts:
    """Keys [n] and embeddings [n, d] of what changed in a collection after version `after`, otherwise as `between`."""
    query = sql.SQL(
        "SELECT string_agg(int8send(key), ''::bytea), string_agg(embedding, ''::bytea) FROM ("
        "SELECT key, embedding, (row_number() OVER (ORDER BY key) - 1) / %(rows)s AS part FROM {} "
        "WHERE collection_key = %(collection)s AND version > %(after)s AND embedding IS NOT NULL"
        ") AS numbered GROUP BY part"
    ).format(sql.Identifier(table.name))
    yield from _parts(connection, query, {"collection": collection_key, "after": after, "rows": _ROWS})


def _parts(connection: "psycopg.Connection[Any]", query: sql.Composed, values: dict[str, int]) -> _Parts:
    with connection.cursor("parts", binary=True) as cursor:
        cursor.itersize = 1
        cursor.execute(query, values)
        for part_keys, embeddings in cursor:
            numbers = np.frombuffer(part_keys, ">i8").astype(np.int64)
            yield numbers, np.frombuffer(embeddings, "<f4").reshape(len(numbers), -1)


def export(connection: Connection) -> str:
    """A name by which other connections can see what this transaction sees, as long as it lasts."""
    name: str = connection.execute(sa.select(sa.func.pg_export_snapshot())).scalar_one()
    return name


@contextmanager
def joined(database: Database, snapshot: str) -> "Iterator[psycopg.Connection[Any]]":
    """A connection of its own, outside the pool, in a transaction that sees what `export` named."""
    with database.connect_apart() as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        yield connection
