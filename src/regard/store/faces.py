"""Queries about the faces of a collection."""

from collections.abc import Collection as AnyOf
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, LiteralString
from uuid import NAMESPACE_DNS, UUID, uuid5

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from regard.store import collections, removals
from regard.store.database import Executor, short
from regard.store.tables import among, among_given, faces, text_of, users

_IDS = uuid5(NAMESPACE_DNS, "regard")


def image_id_of(digest: bytes) -> UUID:
    """The ImageId of the picture whose file has this SHA-256."""
    return uuid5(_IDS, digest.hex())


@dataclass(frozen=True, slots=True)
class NewFace:
    """A face to be kept. `box` is (left, top, width, height) as ratios of the picture.

    `face_id` comes from the picture alone, `qualified_face_id` also from the ExternalImageId; the latter is
    taken when the former already belongs to a face with another ExternalImageId.
    """

    face_id: UUID
    qualified_face_id: UUID
    image_id: UUID
    external_image_id: str | None
    box: tuple[float, float, float, float]
    confidence: float
    embedding: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Face:
    """A kept face. `embedding` is float32 [d] of length one."""

    key: int
    face_id: UUID
    image_id: UUID
    external_image_id: str | None
    box: tuple[float, float, float, float]
    confidence: float
    user_id: str | None
    embedding: NDArray[np.float32]


def _select() -> "sa.Select[Any]":
    columns = (
        faces.c.key,
        faces.c.face_id,
        faces.c.image_id,
        faces.c.external_image_id,
        faces.c.left,
        faces.c.top,
        faces.c.width,
        faces.c.height,
        faces.c.confidence,
        users.c.user_id,
        faces.c.embedding,
    )
    return sa.select(*columns).select_from(faces.outerjoin(users, faces.c.user_key == users.c.key))


_BY_FACE_IDS = text_of(
    _select().where(faces.c.collection_key == sa.bindparam("collection_key"), among_given(faces.c.face_id, "face_ids"))
)
_BY_KEYS = text_of(_select().where(among_given(faces.c.key, "keys")))
# `collections.advance` and the rows in one statement.
_ADD = """
    WITH advanced AS (
        UPDATE collections SET version = version + 1, face_count = face_count + %s WHERE key = %s {condition}
        RETURNING key, version
    )
    INSERT INTO faces (
        collection_key, version, face_id, image_id, external_image_id, "left", top, width, height, confidence, embedding
    )
    SELECT advanced.key, advanced.version, new.* FROM advanced, (VALUES {rows}) AS new
    RETURNING face_id, key"""
_IF_NEW = """
    AND face_count <= %s
    AND NOT EXISTS (SELECT FROM faces WHERE faces.collection_key = collections.key AND faces.face_id = ANY (%s))"""
_ROW = "(%s::uuid, %s::uuid, %s::text, %s::real, %s::real, %s::real, %s::real, %s::real, %s::bytea)"
_AT_ONCE = 500  # rows of a statement, which may have 65,535 parameters


def _face(row: Sequence[Any]) -> Face:
    key, face_id, image_id, external_image_id, left, top, width, height, confidence, user_id, embedding = row
    return Face(
        key,
        face_id,
        image_id,
        external_image_id,
        (left, top, width, height),
        confidence,
        user_id,
        np.frombuffer(embedding, "<f4"),
    )


def add(connection: Connection, collection: collections.Collection, new: Sequence[NewFace]) -> list[Face]:
    """Keep faces in a locked collection and return them as kept, in order.

    A face that is there already, with the same ExternalImageId, is returned and not stored again.
    """
    with short(connection) as cursor:
        known = {face.face_id: face for face in by_face_ids(cursor, collection.key, _ids_of(new))}
        chosen: list[UUID] = []
        rows: dict[UUID, NewFace] = {}
        for face in new:
            holder = known.get(face.face_id) or rows.get(face.face_id)
            free = holder is None and face.qualified_face_id not in known
            mine = free or (holder is not None and holder.external_image_id == face.external_image_id)
            face_id = face.face_id if mine else face.qualified_face_id
            chosen.append(face_id)
            if face_id not in known:
                rows[face_id] = face
        for start in range(0, len(rows), _AT_ONCE):
            known |= _insert(cursor, collection.key, dict(islice(rows.items(), start, start + _AT_ONCE)))
    return [known[face_id] for face_id in chosen]


def add_if_new(connection: Connection, collection_key: int, new: Sequence[NewFace], most: int) -> list[Face] | None:
    """Keep faces in a collection of at most so many, not locked, and return them as kept, in order: one statement.

    None, and nothing is kept, where the collection is gone, there is no room, or any of them may be there already:
    see `add` for those.
    """
    rows = {face.face_id: face for face in new}
    if not 0 < len(new) == len(rows) <= _AT_ONCE:
        return None
    try:
        with short(connection) as cursor:
            kept = _insert(cursor, collection_key, rows, _IF_NEW, [most - len(new), list(_ids_of(new))])
    except sa.exc.IntegrityError:  # another added one meanwhile
        return None
    return [kept[face_id] for face_id in rows] if kept else None


def _ids_of(new: Sequence[NewFace]) -> set[UUID]:
    return {id_ for face in new for id_ in (face.face_id, face.qualified_face_id)}


def _insert(
    cursor: Executor,
    collection_key: int,
    new: Mapping[UUID, NewFace],
    condition: LiteralString = "",
    asked: Sequence[Any] = (),
) -> dict[UUID, Face]:
    """Keep faces by their ids and raise the version of the collection; none, unless it meets the condition."""
    parameters: list[Any] = [len(new), collection_key, *asked]
    for face_id, face in new.items():
        embedding = np.asarray(face.embedding, "<f4").tobytes()
        parameters += (face_id, face.image_id, face.external_image_id, *face.box, face.confidence, embedding)
    kept = {}
    statement = _ADD.format(condition=condition, rows=",".join([_ROW] * len(new)))
    for face_id, key in cursor.execute(statement, parameters):
        face = new[face_id]
        kept[face_id] = Face(
            key, face_id, face.image_id, face.external_image_id, face.box, face.confidence, None, face.embedding
        )
    return kept


def by_face_ids(connection: Executor, collection_key: int, face_ids: AnyOf[UUID]) -> list[Face]:
    """The faces of the collection that have one of these ids, in no order."""
    parameters = {"collection_key": collection_key, "face_ids": list(face_ids)}
    return [_face(row) for row in connection.execute(_BY_FACE_IDS, parameters)]


def by_keys(connection: Executor, keys: Sequence[int]) -> list[Face]:
    """The faces with these keys, in no order."""
    return [_face(row) for row in connection.execute(_BY_KEYS, {"keys": list(keys)})]


def last_key(connection: Connection, collection_key: int) -> int | None:
    """The greatest key of a face in a collection."""
    statement = sa.select(sa.func.max(faces.c.key)).where(faces.c.collection_key == collection_key)
    last: int | None = connection.execute(statement).scalar_one()
    return last


def another(connection: Connection, collection_key: int, near: int, except_names: AnyOf[str]) -> Face | None:
    """A face of a collection with a key of about `near` and an ExternalImageId that is none of those given."""
    statement = (
        _select()
        .where(
            faces.c.collection_key == collection_key,
            faces.c.key >= near,
            faces.c.external_image_id.is_not(None),
            ~among(faces.c.external_image_id, except_names),
        )
        .order_by(faces.c.key)
        .limit(1)
    )
    row = connection.execute(statement).first()
    return None if row is None else _face(row)


def page(
    connection: Connection,
    collection_key: int,
    after: int,
    limit: int,
    *,
    user_id: str | None = None,
    face_ids: AnyOf[UUID] | None = None,
) -> list[Face]:
    """Up to `limit` faces, keys greater than `after`, oldest first; only of one user or of these ids, if given."""
    statement = _select().where(faces.c.collection_key == collection_key, faces.c.key > after)
    if user_id is not None:
        statement = statement.where(users.c.user_id == user_id)
    if face_ids is not None:
        statement = statement.where(among(faces.c.face_id, face_ids))
    return [_face(row) for row in connection.execute(statement.order_by(faces.c.key).limit(limit))]


def delete(connection: Connection, collection: collections.Collection, keys: Sequence[int]) -> None:
    """Remove faces from a locked collection."""
    if not keys:
        return
    version = collections.advance(connection, collection.key, faces=-len(keys))
    connection.execute(sa.delete(faces).where(among(faces.c.key, keys)))
    removals.note(connection, collection.key, version, keys, of_users=False)
