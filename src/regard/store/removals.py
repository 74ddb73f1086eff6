"""What collections have lost: the keys of removed faces and users, by which galleries in memory drop them, too.

A collection keeps its newest removals. Who has seen less of it than those tell reads the collection anew.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from regard.store.database import Database
from regard.store.tables import collections, removals

KEPT = 10_000  # of a collection, or as many as it has faces and users: more take longer to read than the collection
_AT_ONCE = 10_000  # that one transaction forgets, which keeps other writers of the collection waiting


def note(connection: Connection, collection_key: int, version: int, keys: Sequence[int], *, of_users: bool) -> None:
    """Tell of faces or users that a collection has lost with a version."""
    rows = [{"collection_key": collection_key, "version": version, "key": key, "of_user": of_users} for key in keys]
    connection.execute(sa.insert(removals), rows)


def since(connection: Connection, collection_key: int, version: int, *, of_users: bool) -> list[int] | None:
    """The keys of faces or users that a collection has lost after a version; None where not all are known any more."""
    statement = sa.select(collections.c.removals_kept_after).where(collections.c.key == collection_key)
    kept_after = connection.execute(statement).scalar_one_or_none()
    if kept_after is None or kept_after > version:
        return None
    gone = sa.select(removals.c.key).where(
        removals.c.collection_key == collection_key, removals.c.version > version, removals.c.of_user == of_users
    )
    return list(connection.execute(gone).scalars())


def forget(database: Database) -> int:
    """Forget the oldest of collections that keep more than they should; how many. To be done by one at a time."""
    most = sa.func.greatest(KEPT, collections.c.face_count + collections.c.user_count)
    count = sa.func.count()
    crowded = (
        sa.select(collections.c.key, count - most)
        .join(removals, removals.c.collection_key == collections.c.key)
        .group_by(collections.c.key)
        .having(count > most)
    )
    with database.read() as connection:
        excesses = connection.execute(crowded).all()
    forgotten = 0
    for key, excess in excesses:
        left = excess
        while left > 0:
            with database.begin() as connection:
                gone = _forget(connection, key, min(_AT_ONCE, left))
            if not gone:  # the collection has been deleted meanwhile
                break
            left -= gone
            forgotten += gone
    return forgotten


def _forget(connection: Connection, collection_key: int, count: int) -> int:
    """Forget so many of a collection's oldest, and those that went with the last of them; how many."""
    of_collection = removals.c.collection_key == collection_key
    last = sa.select(removals.c.version).where(of_collection).order_by(removals.c.version).limit(1).offset(count - 1)
    kept_after = (
        sa.update(collections)
        .where(collections.c.key == collection_key)
        .values(removals_kept_after=sa.func.coalesce(last.scalar_subquery(), collections.c.removals_kept_after))
        .returning(collections.c.removals_kept_after)
    )
    version = connection.execute(kept_after).scalar_one_or_none()
    return connection.execute(sa.delete(removals).where(of_collection, removals.c.version <= version)).rowcount
