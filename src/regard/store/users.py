"""Queries about the users of a collection and their vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from regard.store import collections, removals
from regard.store.database import Executor
from regard.store.tables import among, among_given, faces, text_of, users


@dataclass(frozen=True, slots=True)
class User:
    """A user. `embedding` is float32 [d] of length one, or None while no face is associated."""

    key: int
    user_id: str
    embedding: NDArray[np.float32] | None


_COLUMNS = (users.c.key, users.c.user_id, users.c.embedding)
_BY_KEYS = text_of(sa.select(*_COLUMNS).where(among_given(users.c.key, "keys")))


def _user(row: Sequence[Any]) -> User:
    key, user_id, embedding = row
    return User(key, user_id, None if embedding is None else np.frombuffer(embedding, "<f4"))


def create(connection: Connection, collection: collections.Collection, user_id: str) -> bool:
    """Add a user to a locked collection; False if one of that name is there."""
    statement = (
        insert(users)
        .values(collection_key=collection.key, user_id=user_id, version=collection.version + 1)
        .on_conflict_do_nothing()
        .returning(users.c.key)
    )
    created = connection.execute(statement).first() is not None
    if created:
        collections.advance(connection, collection.key, users=1)
    return created


def find(connection: Connection, collection_key: int, user_id: str) -> User | None:
    statement = sa.select(*_COLUMNS).where(users.c.collection_key == collection_key, users.c.user_id == user_id)
    row = connection.execute(statement).first()
    return None if row is None else _user(row)


def by_keys(connection: Executor, keys: Sequence[int]) -> list[User]:
    """The users with these keys, in no order."""
    return [_user(row) for row in connection.execute(_BY_KEYS, {"keys": list(keys)})]


def page(connection: Connection, collection_key: int, after: int, limit: int) -> list[User]:
    """Up to `limit` users with keys greater than `after`, oldest first."""
    statement = (
        sa.select(*_COLUMNS)
        .where(users.c.collection_key == collection_key, users.c.key > after)
        .order_by(users.c.key)
        .limit(limit)
    )
    return [_user(row) for row in connection.execute(statement)]


def delete(connection: Connection, collection: collections.Collection, user: User) -> None:
    """Remove a user from a locked collection; the faces stay, without a user."""
    version = collections.advance(connection, collection.key, users=-1)
    connection.execute(sa.update(faces).where(faces.c.user_key == user.key).values(user_key=None))
    connection.execute(sa.delete(users).where(users.c.key == user.key))
    removals.note(connection, collection.key, version, [user.key], of_users=True)


def count_faces(connection: Connection, user: User) -> int:
    return int(
        connection.execute(
            sa.select(sa.func.count()).select_from(faces).where(faces.c.user_key == user.key)
        ).scalar_one()
    )


def associate(connection: Connection, collection: collections.Collection, user: User, face_keys: Sequence[int]) -> None:
    """Give faces to a user of a locked collection and make the user's vector anew."""
    _assign(connection, collection, user, face_keys, user.key)


def disassociate(
    connection: Connection, collection: collections.Collection, user: User, face_keys: Sequence[int]
) -> None:
    """Take faces from a user of a locked collection and make the user's vector anew."""
    _assign(connection, collection, user, face_keys, None)


def _assign(
    connection: Connection,
    collection: collections.Collection,
    user: User,
    face_keys: Sequence[int],
    user_key: int | None,
) -> None:
    if not face_keys:
        return
    version = collections.advance(connection, collection.key)
    connection.execute(sa.update(faces).where(among(faces.c.key, face_keys)).values(user_key=user_key))
    rows = connection.execute(sa.select(faces.c.embedding).where(faces.c.user_key == user.key).order_by(faces.c.key))
    vector = user_vector([np.frombuffer(row.embedding, "<f4") for row in rows])
    connection.execute(
        sa.update(users)
        .where(users.c.key == user.key)
        .values(version=version, embedding=None if vector is None else vector.astype("<f4").tobytes())
    )
    if vector is None:  # nothing to find the user by: leaves the galleries that others hold in memory
        removals.note(connection, collection.key, version, [user.key], of_users=True)


def user_vector(embeddings: Sequence[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """The direction of the mean of a user's face embeddings [d], of length one; None without faces."""
    if not embeddings:
        return None
    mean = np.mean(np.stack(embeddings), axis=0, dtype=np.float64)
    length = np.linalg.norm(mean)
    # Opposite embeddings can cancel out: then the first stands for all, rather than a division by zero.
    return np.asarray(mean / length, np.float32) if length > 1e-6 else embeddings[0]
