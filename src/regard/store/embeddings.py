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

_ROWS = 1 << 13  # that come as one value: a message for each row would take longer than what is in it


def bounds(connection: Connection, table: sa.Table, collection_key: int) -> tuple[int, int] | None:
    """The least and greatest key of the collection's rows in `table`, faces or users; None if there are none."""
    statement = sa.select(sa.func.min(table.c.key), sa.func.max(table.c.key)).where(
        table.c.collection_key == collection_key
    )
    least, greatest = connection.execute(statement).one()
    return None if least is None else (least, greatest)


def parts(
    connection: "psycopg.Connection[Any]",
    table: sa.Table,
    collection_key: int,
    keys: tuple[int, int] | None = None,
    after: int | None = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Keys [n] and embeddings [n, d] of a collection, some thousands at a time, in the order of keys; only of keys
    from the first of `keys` to the second, or of what changed after version `after`.

    `connection` must be in a transaction. Users without an embedding are left out.
    """
    conditions = [sql.SQL("collection_key = %(collection)s AND embedding IS NOT NULL")]
    if keys is not None:
        conditions.append(sql.SQL("key BETWEEN %(first)s AND %(last)s"))
    if after is not None:
        conditions.append(sql.SQL("version > %(after)s"))
    first, last = keys or (None, None)
    query = sql.SQL(
        "SELECT string_agg(int8send(key), ''::bytea), string_agg(embedding, ''::bytea) FROM ("
        "SELECT key, embedding, (row_number() OVER (ORDER BY key) - 1) / %(rows)s AS part FROM {} WHERE {}"
        ") AS numbered GROUP BY part ORDER BY part"
    ).format(sql.Identifier(table.name), sql.SQL(" AND ").join(conditions))
    values = {"collection": collection_key, "first": first, "last": last, "after": after, "rows": _ROWS}
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
