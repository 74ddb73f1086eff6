"""Queries about people: what is held about one across collections, whose time is up, and their erasure.

A person is known by a `subject` reference: the ExternalImageId of their faces, `<subject>` or
`<subject>:<consent-id>`, or their UserId.
"""

from collections.abc import Collection as AnyOf
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, insert
from sqlalchemy.engine import Connection

from regard.store import faces, users
from regard.store.collections import Collection
from regard.store.database import raw
from regard.store.faces import image_id_of
from regard.store.human_loops import review_digest
from regard.store.jobs import Job
from regard.store.tables import (
    among,
    consents,
    human_loops,
    idempotency_tokens,
    interactions,
    job_results,
    jobs,
    reviews,
)
from regard.store.tables import collections as collections_table
from regard.store.tables import faces as faces_table
from regard.store.tables import users as users_table

SEARCH = "FaceSearch"
"""The kind of job whose results name people."""

_MATCHED = sa.text("""
SELECT DISTINCT match -> 'Face' ->> 'FaceId' FROM job_results, json_array_elements(body -> 'FaceMatches') AS match
WHERE job_key = :job_key""")
_MATCHES = sa.text("""
EXISTS (
    SELECT FROM json_array_elements(job_results.body -> 'FaceMatches') AS match
    WHERE match -> 'Face' ->> 'FaceId' = ANY(:face_ids)
)""").bindparams(sa.bindparam("face_ids", type_=ARRAY(sa.Text)))


@dataclass(frozen=True, slots=True)
class HeldFace:
    """A face of a person, with all that is kept of it. `embedding` is float32 [d]; `last_interaction` a day."""

    collection_key: int
    collection_id: str
    face_model_version: str
    face: faces.Face
    created_at: datetime
    last_interaction: date


@dataclass(frozen=True, slots=True)
class HeldUser:
    """A user of a collection who stands for a person."""

    collection_key: int
    collection_id: str
    user: users.User
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """A face, by key and id, and what says whose it is: ExternalImageId and the UserId that it is associated with."""

    key: int
    external_image_id: str | None
    user_id: str | None
    face_id: UUID


def _subject_of(external: Any) -> Any:
    return sa.func.split_part(external, ":", 1)


def _consented(external: Any) -> "sa.ColumnElement[bool]":
    """Whether an ExternalImageId is `<subject>:<consent-id>` of a consent that is kept, not a name with a colon."""
    return sa.exists().where(
        consents.c.account_id == collections_table.c.account_id,
        consents.c.subject == _subject_of(external),
        external == consents.c.subject + ":" + consents.c.consent_id,
    )


def faces_of(connection: Connection, account_id: str, ref: str) -> list[HeldFace]:
    """The faces of a person in all collections of an account, and those of the users that these belong to.

    `ref` is a subject, an ExternalImageId, a UserId, or a FaceId, which names that face alone.
    """
    external = faces_table.c.external_image_id
    mine = sa.select(faces_table.c.key, faces_table.c.user_key).join(collections_table)
    mine = mine.where(collections_table.c.account_id == account_id)
    named = mine.where(
        _subject_of(external) == _subject_of(ref),
        sa.or_(external == ref, sa.and_(_subject_of(external) == ref, _consented(external))),
    )
    found = list(connection.execute(named))
    known = [row.key for row in connection.execute(_users_named(account_id, ref))]
    user_keys = {row.user_key for row in found if row.user_key is not None} | set(known)
    of_users = connection.execute(sa.select(faces_table.c.key).where(among(faces_table.c.user_key, user_keys)))
    keys = {row.key for row in found} | set(of_users.scalars())
    if (face_id := _uuid(ref)) is not None:
        keys |= {row.key for row in connection.execute(mine.where(faces_table.c.face_id == face_id))}
    return held(connection, account_id, keys)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def held(connection: Connection, account_id: str, keys: AnyOf[int]) -> list[HeldFace]:
    """These faces of an account with all that is kept of them, oldest first."""
    columns = faces_table.c
    statement = (
        sa.select(
            columns.key,
            columns.created_at,
            sa.func.coalesce(interactions.c.day, sa.cast(columns.created_at, sa.Date)).label("day"),
            collections_table.c.key.label("collection_key"),
            collections_table.c.collection_id,
            collections_table.c.face_model_version,
        )
        .select_from(faces_table.join(collections_table).outerjoin(interactions))
        .where(among(columns.key, keys), collections_table.c.account_id == account_id)
        .order_by(columns.key)
    )
    rows = list(connection.execute(statement))
    by_key = {face.key: face for face in faces.by_keys(raw(connection), [row.key for row in rows])}
    return [
        HeldFace(
            row.collection_key, row.collection_id, row.face_model_version, by_key[row.key], row.created_at, row.day
        )
        for row in rows
        if row.key in by_key
    ]


def _users_named(account_id: str, ref: str) -> "sa.Select[Any]":
    return (
        sa.select(users_table.c.key)
        .join(collections_table)
        .where(collections_table.c.account_id == account_id, users_table.c.user_id == ref)
    )


def users_of(connection: Connection, account_id: str, ref: str, face_keys: AnyOf[int]) -> list[HeldUser]:
    """The users of that name, and those with one of these faces, in all collections of an account."""
    with_a_face = sa.select(faces_table.c.user_key).where(among(faces_table.c.key, face_keys))
    columns = users_table.c
    statement = (
        sa.select(
            columns.collection_key,
            collections_table.c.collection_id,
            columns.key,
            columns.user_id,
            columns.embedding,
            columns.created_at,
        )
        .join(collections_table)
        .where(
            collections_table.c.account_id == account_id,
            sa.or_(columns.key.in_(_users_named(account_id, ref)), columns.key.in_(with_a_face)),
        )
        .order_by(columns.key)
    )
    return [
        HeldUser(
            row.collection_key,
            row.collection_id,
            users.User(row.key, row.user_id, _vector(row.embedding)),
            row.created_at,
        )
        for row in connection.execute(statement)
    ]


def _vector(embedding: bytes | None) -> NDArray[np.float32] | None:
    return None if embedding is None else np.frombuffer(embedding, "<f4")


def _persons(collection_key: int) -> "sa.Select[Any]":
    return (
        sa.select(faces_table.c.key, faces_table.c.external_image_id, users_table.c.user_id, faces_table.c.face_id)
        .select_from(faces_table.outerjoin(users_table, faces_table.c.user_key == users_table.c.key))
        .where(faces_table.c.collection_key == collection_key)
    )


def persons(
    connection: Connection, collection_key: int, *, face_ids: AnyOf[UUID] = (), user_ids: AnyOf[str] = ()
) -> list[Person]:
    """Whose faces these are, and those of these users."""
    statement = _persons(collection_key)
    found: list[Any] = []
    if face_ids:
        found += connection.execute(statement.where(among(faces_table.c.face_id, face_ids)))
    if user_ids:
        chosen = sa.select(users_table.c.key).where(
            users_table.c.collection_key == collection_key, among(users_table.c.user_id, user_ids)
        )
        found += connection.execute(statement.where(faces_table.c.user_key.in_(chosen)))
    return [Person(*row) for row in found]


def of_collection(connection: Connection, collection_key: int) -> list[Person]:
    """Whose the faces of a collection are."""
    return [Person(*row) for row in connection.execute(_persons(collection_key).order_by(faces_table.c.key))]


def met(connection: Connection, account_id: str, who: AnyOf[tuple[str, UUID | str]], day: date) -> None:
    """Note that people were recognised on a day, by (CollectionId, FaceId as UUID or UserId as str).

    Who is gone by now is left out. Of a user's faces one will do: their clocks are one.
    """
    by_face = sa.tuple_(collections_table.c.collection_id, faces_table.c.face_id)
    by_user = sa.tuple_(collections_table.c.collection_id, users_table.c.user_id)
    of_account = collections_table.c.account_id == account_id
    of_faces = (
        sa.select(faces_table.c.key)
        .join(collections_table)
        .where(of_account, by_face.in_([(place, id_) for place, id_ in who if isinstance(id_, UUID)]))
    )
    of_users = (
        sa.select(sa.func.min(faces_table.c.key))
        .select_from(users_table.join(collections_table).join(faces_table, faces_table.c.user_key == users_table.c.key))
        .where(of_account, by_user.in_([(place, id_) for place, id_ in who if isinstance(id_, str)]))
        .group_by(users_table.c.key)
    )
    keys = sorted({*connection.execute(of_faces).scalars(), *connection.execute(of_users).scalars()})
    if not keys:
        return
    # In order, so that no two processes wait for each other; a face that goes meanwhile is not there for the insert.
    there = (
        sa.select(faces_table.c.key, sa.literal(day)).where(among(faces_table.c.key, keys)).order_by(faces_table.c.key)
    )
    statement = insert(interactions).from_select(["face_key", "day"], there.with_for_update(key_share=True))
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[interactions.c.face_key],
            set_={"day": statement.excluded.day},
            where=interactions.c.day < statement.excluded.day,
        )
    )


def stale(connection: Connection, collection_key: int, before: date) -> list[int]:
    """The keys of the faces of people whom nobody has met since `before`.

    A person's clock is that of all of their faces: those of one user, else those of one subject.
    """
    external = faces_table.c.external_image_id
    subject = sa.case((_consented(external), _subject_of(external)), else_=external)
    key = sa.cast(faces_table.c.key, sa.Text)
    person = sa.case(
        (faces_table.c.user_key.is_not(None), "user " + sa.cast(faces_table.c.user_key, sa.Text)),
        else_=sa.func.coalesce("subject " + subject, "face " + key),
    )
    last = sa.func.greatest(sa.cast(faces_table.c.created_at, sa.Date), interactions.c.day)
    clocks = (
        sa.select(faces_table.c.key, sa.func.max(last).over(partition_by=person).label("last"))
        .select_from(faces_table.join(collections_table).outerjoin(interactions))
        .where(faces_table.c.collection_key == collection_key)
        .subquery()
    )
    statement = sa.select(clocks.c.key).where(clocks.c.last < before).order_by(clocks.c.key)
    return list(connection.execute(statement).scalars())


def digest(connection: Connection, collection_key: int) -> bytes:
    """SHA-256 over the SHA-256s of a collection's FaceIds in their order, as `regard.use.receipts` has it."""
    statement = sa.text(
        "SELECT sha256(coalesce(string_agg(sha256(convert_to(face_id::text, 'UTF8')), ''::bytea ORDER BY face_id), ''))"
        " FROM faces WHERE collection_key = :collection_key"
    )
    return bytes(connection.execute(statement, {"collection_key": collection_key}).scalar_one())


def by_digests(connection: Connection, collection_key: int, digests: Sequence[bytes] | None) -> list[int]:
    """The keys of a collection's faces whose FaceIds have these SHA-256s; of all for None."""
    statement = sa.select(faces_table.c.key).where(faces_table.c.collection_key == collection_key)
    if digests is not None:
        hashed = sa.func.sha256(sa.func.convert_to(sa.cast(faces_table.c.face_id, sa.Text), "UTF8"))
        statement = statement.where(hashed == sa.any_(sa.literal(list(digests), ARRAY(BYTEA))))
    return list(connection.execute(statement.order_by(faces_table.c.key)).scalars())


def delete_faces(connection: Connection, collection: Collection, keys: Sequence[int]) -> tuple[list[UUID], list[str]]:
    """Remove faces from a locked collection, and the users who are left without any; the ids of both.

    A user who keeps other faces gets a vector of those alone.
    """
    gone = faces.by_keys(raw(connection), keys)
    emptied = []
    for user_id in sorted({face.user_id for face in gone if face.user_id is not None}):
        user = users.find(connection, collection.key, user_id)
        assert user is not None  # noqa: S101  the collection is locked
        users.disassociate(connection, collection, user, [face.key for face in gone if face.user_id == user_id])
        if users.count_faces(connection, user) == 0:
            users.delete(connection, collection, user)
            emptied.append(user_id)
    faces.delete(connection, collection, [face.key for face in gone])
    left = sa.select(sa.func.count()).select_from(faces_table).where(among(faces_table.c.key, keys))
    if remaining := connection.execute(left).scalar_one():
        raise RuntimeError(f"{remaining} of {len(keys)} deleted faces are there still")
    return [face.face_id for face in gone], emptied


def forget_tokens(connection: Connection, account_id: str, mentioned: Sequence[str]) -> int:
    """Remove the remembered responses that mention one of these ids; how many there were."""
    statement = sa.delete(idempotency_tokens).where(
        idempotency_tokens.c.account_id == account_id,
        sa.cast(idempotency_tokens.c.response, sa.Text).like(sa.any_(sa.literal(_patterns(mentioned)))),
    )
    return connection.execute(statement).rowcount


def _patterns(texts: Sequence[str]) -> list[str]:
    """What a JSON string with exactly one of these texts matches."""
    quoted = [orjson.dumps(text).decode() for text in texts]
    return ["%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%" for text in quoted]


def forget_in_jobs(connection: Connection, account_id: str, face_ids: Sequence[str]) -> int:
    """Take these faces out of the matches that results of face searches in videos keep; how many results had one."""
    searches = sa.select(jobs.c.key).where(jobs.c.account_id == account_id, jobs.c.kind == SEARCH)
    return _forget_matches(connection, job_results.c.job_key.in_(searches), face_ids)


def forget_gone(connection: Connection, job: Job) -> int:
    """Take faces that are no longer in their collection out of a search's results, which are not committed yet; how
    many results had one.

    A deletion that comes now waits until they are, and finds them.
    """
    columns = collections_table.c
    place = columns.account_id == job.account_id, columns.collection_id == job.request["CollectionId"]
    key = connection.execute(sa.select(columns.key).where(*place).with_for_update(read=True)).scalar()  # or it is gone
    matched = set(connection.execute(_MATCHED, {"job_key": job.key}).scalars())
    there = sa.select(sa.cast(faces_table.c.face_id, sa.Text)).where(
        faces_table.c.collection_key == key, among(faces_table.c.face_id, [UUID(face_id) for face_id in matched])
    )
    gone = matched.difference(connection.execute(there).scalars())
    return _forget_matches(connection, job_results.c.job_key == job.key, gone) if gone else 0


def _forget_matches(connection: Connection, which: "sa.ColumnElement[bool]", face_ids: AnyOf[str]) -> int:
    rows = connection.execute(
        sa.select(job_results.c.job_key, job_results.c.aggregate, job_results.c.by_time, job_results.c.body)
        .where(which, _MATCHES.bindparams(face_ids=list(face_ids)))
        .with_for_update(of=job_results)
    ).all()
    left_out = set(face_ids)
    for row in rows:
        kept = [match for match in row.body["FaceMatches"] if match["Face"]["FaceId"] not in left_out]
        connection.execute(
            sa.update(job_results)
            .where(
                job_results.c.job_key == row.job_key,
                job_results.c.aggregate == row.aggregate,
                job_results.c.by_time == row.by_time,
            )
            .values(body=row.body | {"FaceMatches": kept})
        )
    return len(rows)


def forget_reviews(connection: Connection, account_id: str, ids: Sequence[str]) -> int:
    """Remove the reviews that have these faces or users among their candidates; how many there were."""
    is_candidate = sa.or_(*(reviews.c.candidates.contains([{"id": one}]) for one in ids), sa.false())
    return connection.execute(sa.delete(reviews).where(reviews.c.account_id == account_id, is_candidate)).rowcount


def forget_loops(connection: Connection, account_id: str, image_ids: AnyOf[UUID]) -> int:
    """Remove the human loops about the pictures that faces came from, with their reviews; how many there were."""
    columns = human_loops.c
    loops = connection.execute(
        sa.select(columns.key, columns.image_digest, columns.flow_definition_arn, columns.name).where(
            columns.account_id == account_id
        )
    )
    gone = [row for row in loops if image_id_of(bytes(row.image_digest)) in image_ids]
    digests = [review_digest(row.flow_definition_arn, row.name) for row in gone]
    connection.execute(
        sa.delete(reviews).where(reviews.c.account_id == account_id, among(reviews.c.request_digest, digests))
    )
    return connection.execute(sa.delete(human_loops).where(among(columns.key, [row.key for row in gone]))).rowcount
