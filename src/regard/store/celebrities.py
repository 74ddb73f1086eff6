"""Queries about celebrities: whom RecognizeCelebrities may name, and who must never be named.

Their faces and vectors are those of users in a collection that belongs to no account, so that no client of the
AWS API can reach it.
"""

from collections.abc import Collection as AnyOf
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from regard.store import collections, faces, users
from regard.store.collections import Collection
from regard.store.database import Executor
from regard.store.faces import NewFace
from regard.store.tables import among, celebrities, celebrity_opt_outs

COLLECTION_ID = "celebrities"


@dataclass(frozen=True, slots=True)
class Celebrity:
    """A person of public life. `known_gender` is one of AWS's KnownGenderType."""

    celebrity_id: str
    name: str
    urls: tuple[str, ...]
    known_gender: str


@dataclass(frozen=True, slots=True)
class OptOut:
    """Somebody who is not to be recognised."""

    celebrity_id: str
    name: str | None
    reason: str
    created_at: datetime


def _select() -> "sa.Select[Any]":
    return sa.select(celebrities.c.celebrity_id, celebrities.c.name, celebrities.c.urls, celebrities.c.known_gender)


def _celebrity(row: "sa.Row[*tuple[Any, ...]]") -> Celebrity:
    celebrity_id, name, urls, known_gender = row
    return Celebrity(celebrity_id, name, tuple(urls), known_gender)


def by_ids(connection: Connection, celebrity_ids: AnyOf[str]) -> dict[str, Celebrity]:
    """Those of the celebrities that there are and that have not opted out, by id."""
    refused = sa.or_(
        celebrity_opt_outs.c.celebrity_id == celebrities.c.celebrity_id,
        sa.func.lower(celebrity_opt_outs.c.name) == sa.func.lower(celebrities.c.name),
    )
    statement = _select().where(
        among(celebrities.c.celebrity_id, celebrity_ids), ~sa.exists().where(refused).correlate(celebrities)
    )
    return {row.celebrity_id: _celebrity(row) for row in connection.execute(statement)}


def every(connection: Connection) -> list[Celebrity]:
    """All celebrities by name."""
    return [_celebrity(row) for row in connection.execute(_select().order_by(celebrities.c.name))]


def gallery(connection: Executor) -> Collection | None:
    """The collection of their faces, once there is one."""
    return collections.find(connection, None, COLLECTION_ID)


def lock_gallery(connection: Connection) -> Collection | None:
    """The same to change it: other writers wait until this transaction ends."""
    return collections.lock(connection, None, COLLECTION_ID)


def open_gallery(connection: Connection, face_model_version: str) -> Collection:
    """The locked collection of their faces for an embedder; of another embedder, everybody in it is let go first."""
    while (found := lock_gallery(connection)) is None or found.face_model_version != face_model_version:
        if found is not None:
            collections.delete(connection, found.key)
            connection.execute(sa.delete(celebrities))
        collections.create(connection, None, COLLECTION_ID, face_model_version)
    return found


def put(connection: Connection, collection: Collection, celebrity: Celebrity, new: Sequence[NewFace]) -> None:
    """Let a celebrity be recognised by these faces and no others, in the locked collection of celebrities."""
    remove(connection, collection, celebrity.celebrity_id)
    connection.execute(
        insert(celebrities).values(
            celebrity_id=celebrity.celebrity_id,
            name=celebrity.name,
            urls=list(celebrity.urls),
            known_gender=celebrity.known_gender,
        )
    )
    while (user := users.find(connection, collection.key, celebrity.celebrity_id)) is None:
        users.create(connection, collection, celebrity.celebrity_id)
    users.associate(connection, collection, user, [face.key for face in faces.add(connection, collection, new)])


def remove(connection: Connection, collection: Collection, celebrity_id: str) -> bool:
    """Forget a celebrity of the locked collection with faces and vector; False if there is none of that id."""
    removed = connection.execute(sa.delete(celebrities).where(celebrities.c.celebrity_id == celebrity_id)).rowcount == 1
    user = users.find(connection, collection.key, celebrity_id)
    if user is not None:
        kept = faces.page(connection, collection.key, 0, users.count_faces(connection, user), user_id=user.user_id)
        faces.delete(connection, collection, [face.key for face in kept])
        users.delete(connection, collection, user)
    return removed


def opt_out(connection: Connection, celebrity_id: str, name: str | None, reason: str) -> None:
    """Note that somebody must not be recognised; a later reason replaces the first."""
    statement = insert(celebrity_opt_outs).values(celebrity_id=celebrity_id, name=name, reason=reason)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[celebrity_opt_outs.c.celebrity_id],
            set_={
                "name": sa.func.coalesce(statement.excluded.name, celebrity_opt_outs.c.name),
                "reason": statement.excluded.reason,
            },
        )
    )


def withdraw_opt_out(connection: Connection, celebrity_id: str) -> bool:
    """Take such a note back; False if there was none."""
    return (
        connection.execute(
            sa.delete(celebrity_opt_outs).where(celebrity_opt_outs.c.celebrity_id == celebrity_id)
        ).rowcount
        == 1
    )


def opt_outs(connection: Connection) -> list[OptOut]:
    """All such notes, oldest first."""
    columns = celebrity_opt_outs.c
    statement = sa.select(columns.celebrity_id, columns.name, columns.reason, columns.created_at)
    return [OptOut(*row) for row in connection.execute(statement.order_by(columns.created_at))]
