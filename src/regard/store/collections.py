"""Queries about collections."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from regard.store.database import Executor, short
from regard.store.tables import among, collections, text_of


@dataclass(frozen=True, slots=True)
class Collection:
    """A row of `collections`; see there for `version`."""

    key: int
    collection_id: str
    face_model_version: str
    version: int
    face_count: int
    user_count: int
    created_at: datetime


_COLUMNS = (
    collections.c.key,
    collections.c.collection_id,
    collections.c.face_model_version,
    collections.c.version,
    collections.c.face_count,
    collections.c.user_count,
    collections.c.created_at,
)
_NAMED = sa.select(*_COLUMNS).where(collections.c.collection_id == sa.bindparam("collection_id"))
_OF_ACCOUNT = text_of(_NAMED.where(collections.c.account_id == sa.bindparam("account_id")))
_OF_DEPLOYMENT = text_of(_NAMED.where(collections.c.account_id.is_(None)))
_ADVANCE = (
    sa.update(collections)
    .where(collections.c.key == sa.bindparam("collection_key"))
    .values(
        version=collections.c.version + 1,
        face_count=collections.c.face_count + sa.bindparam("faces"),
        user_count=collections.c.user_count + sa.bindparam("users"),
    )
    .returning(collections.c.version)
)


def create(connection: Connection, account_id: str | None, collection_id: str, face_model_version: str) -> bool:
    """Add a collection, of the deployment itself without an account; False if one of that name is there."""
    statement = (
        insert(collections)
        .values(account_id=account_id, collection_id=collection_id, face_model_version=face_model_version)
        .on_conflict_do_nothing()
        .returning(collections.c.key)
    )
    return connection.execute(statement).first() is not None


def find(connection: Executor, account_id: str | None, collection_id: str) -> Collection | None:
    """The collection of that name, of the deployment itself without an account."""
    statement, parameters = _named(account_id, collection_id)
    row = connection.execute(statement, parameters).fetchone()
    return None if row is None else Collection(*row)


def lock(connection: Connection, account_id: str | None, collection_id: str) -> Collection | None:
    """The same to change it: other writers wait until this transaction ends."""
    statement, parameters = _named(account_id, collection_id)
    with short(connection) as cursor:
        row = cursor.execute(f"{statement} FOR UPDATE", parameters).fetchone()
    return None if row is None else Collection(*row)


def _named(account_id: str | None, collection_id: str) -> tuple[str, dict[str, Any]]:
    statement = _OF_DEPLOYMENT if account_id is None else _OF_ACCOUNT
    return statement, {"account_id": account_id, "collection_id": collection_id}


def page(connection: Connection, account_id: str, after: int, limit: int) -> list[Collection]:
    """Up to `limit` collections with keys greater than `after`, oldest first."""
    statement = (
        sa.select(*_COLUMNS)
        .where(collections.c.account_id == account_id, collections.c.key > after)
        .order_by(collections.c.key)
        .limit(limit)
    )
    return [Collection(*row) for row in connection.execute(statement)]


def every(connection: Connection, account_id: str) -> list[Collection]:
    """All collections of an account, oldest first."""
    statement = sa.select(*_COLUMNS).where(collections.c.account_id == account_id).order_by(collections.c.key)
    return [Collection(*row) for row in connection.execute(statement)]


def versions(connection: Connection, keys: Sequence[int]) -> dict[int, int]:
    """The versions of those of these collections that are there."""
    statement = sa.select(collections.c.key, collections.c.version).where(among(collections.c.key, keys))
    return {row.key: row.version for row in connection.execute(statement)}


def delete(connection: Connection, key: int) -> None:
    """Remove a collection with its faces and users."""
    connection.execute(sa.delete(collections).where(collections.c.key == key))


def advance(connection: Connection, key: int, *, faces: int = 0, users: int = 0) -> int:
    """Raise the version of a locked collection and change its counts; returns the new version."""
    parameters = {"collection_key": key, "faces": faces, "users": users}
    return int(connection.execute(_ADVANCE, parameters).scalar_one())
