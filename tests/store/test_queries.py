"""Queries: what must hold of rows whoever writes them, and in whatever order."""

import threading
import uuid

import numpy as np
import pytest
import sqlalchemy as sa

from regard.store import collections, faces, keys, tokens, users
from regard.store.database import Database, raw
from regard.store.faces import NewFace
from regard.store.users import user_vector

ACCOUNT = "123456789012"


@pytest.fixture
def collection(database: Database) -> collections.Collection:
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
        collections.create(connection, ACCOUNT, "staff", "m")
        found = collections.find(raw(connection), ACCOUNT, "staff")
    assert found is not None
    return found


def new_face(seed: int, external: str | None = None) -> NewFace:
    face_id = uuid.uuid5(uuid.NAMESPACE_OID, str(seed))
    vector = np.random.default_rng(seed).standard_normal(8).astype(np.float32)
    return NewFace(face_id, uuid.uuid5(face_id, external or ""), face_id, external, (0, 0, 1, 1), 99, vector)


def add(database: Database, *new: NewFace) -> list[faces.Face]:
    with database.begin() as connection:
        locked = collections.lock(connection, ACCOUNT, "staff")
        assert locked is not None
        return faces.add(connection, locked, new)


def counts(database: Database) -> tuple[int, int]:
    with database.begin() as connection:
        found = collections.find(raw(connection), ACCOUNT, "staff")
    assert found is not None
    return found.face_count, found.user_count


@pytest.mark.usefixtures("collection")
def test_the_same_face_is_stored_once(database: Database) -> None:
    (first,) = add(database, new_face(1, "a"))
    (second,) = add(database, new_face(1, "a"))
    assert second.key == first.key
    assert counts(database) == (1, 0)


@pytest.mark.usefixtures("collection")
def test_the_same_face_under_another_external_id_is_another_face(database: Database) -> None:
    plain = add(database, new_face(1))[0]
    named = add(database, new_face(1, "a"))[0]
    again = add(database, new_face(1, "a"), new_face(1))
    assert plain.face_id == new_face(1).face_id
    assert named.face_id == new_face(1, "a").qualified_face_id
    assert [face.face_id for face in again] == [named.face_id, plain.face_id]
    assert counts(database) == (2, 0)


@pytest.mark.usefixtures("collection")
def test_concurrent_writers_of_one_face_store_it_once(database: Database) -> None:
    found: list[uuid.UUID] = []
    threads = [threading.Thread(target=lambda: found.append(add(database, new_face(1))[0].face_id)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 5
    assert len(set(found)) == 1
    assert counts(database) == (1, 0)


def add_if_new(database: Database, key: int, *new: NewFace, most: int = 100) -> list[faces.Face] | None:
    with database.read() as connection:
        return faces.add_if_new(connection, key, new, most)


def test_new_faces_are_added_in_order_without_a_lock(database: Database, collection: collections.Collection) -> None:
    new = [new_face(seed, "a") for seed in (3, 1, 2)]
    kept = add_if_new(database, collection.key, *new)
    assert kept is not None
    assert [face.face_id for face in kept] == [face.face_id for face in new]
    assert [face.key for face in add(database, *new)] == [face.key for face in kept]
    with database.begin() as connection:
        found = collections.find(raw(connection), ACCOUNT, "staff")
    assert found is not None
    assert (found.face_count, found.version) == (3, collection.version + 1)


def test_what_may_not_be_new_or_has_no_room_is_left_to_a_lock(
    database: Database, collection: collections.Collection
) -> None:
    assert add_if_new(database, collection.key, new_face(1)) is not None
    named = add(database, new_face(1, "a"))[0]
    for new in ([new_face(1)], [new_face(2), new_face(1)], [new_face(1, "a")], [new_face(3), new_face(3, "a")], []):
        assert add_if_new(database, collection.key, *new) is None
    assert add_if_new(database, collection.key, new_face(4), new_face(5), most=3) is None
    assert add_if_new(database, collection.key + 1, new_face(4)) is None
    assert named.face_id == new_face(1, "a").qualified_face_id
    assert counts(database) == (2, 0)
    assert add_if_new(database, collection.key, new_face(4), most=3) is not None


def test_of_two_that_add_the_same_new_face_one_is_left_to_a_lock(
    database: Database, collection: collections.Collection
) -> None:
    found: list[list[faces.Face] | None] = []
    waiting = threading.Thread(target=lambda: found.append(add_if_new(database, collection.key, new_face(1))))
    with database.begin() as connection:
        locked = collections.lock(connection, ACCOUNT, "staff")
        assert locked is not None
        waiting.start()
        while not connection.execute(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
            assert waiting.is_alive()
        faces.add(connection, locked, [new_face(1)])
    waiting.join()
    assert found == [None]
    assert counts(database) == (1, 0)


def test_a_user_has_the_mean_of_its_faces(database: Database, collection: collections.Collection) -> None:
    kept = add(database, new_face(1), new_face(2))
    with database.begin() as connection:
        assert users.create(connection, collection, "ann")
        assert not users.create(connection, collection, "ann")
        user = users.find(connection, collection.key, "ann")
        assert user is not None
        assert user.embedding is None
        users.associate(connection, collection, user, [face.key for face in kept])
        user = users.find(connection, collection.key, "ann")
    assert user is not None
    assert user.embedding is not None
    mean = kept[0].embedding + kept[1].embedding
    np.testing.assert_allclose(user.embedding, mean / np.linalg.norm(mean), rtol=1e-6)
    with database.begin() as connection:
        users.disassociate(connection, collection, user, [face.key for face in kept])
        user = users.find(connection, collection.key, "ann")
    assert user is not None
    assert user.embedding is None


def test_the_vector_of_opposite_faces_is_still_a_direction() -> None:
    vector = np.array([1, 0], np.float32)
    assert user_vector([]) is None
    np.testing.assert_array_equal(user_vector([vector, -vector]), vector)


def test_deleting_a_user_keeps_its_faces(database: Database, collection: collections.Collection) -> None:
    kept = add(database, new_face(1))
    with database.begin() as connection:
        users.create(connection, collection, "ann")
        user = users.find(connection, collection.key, "ann")
        assert user is not None
        users.associate(connection, collection, user, [kept[0].key])
        users.delete(connection, collection, user)
        (face,) = faces.page(connection, collection.key, 0, 10)
    assert face.user_id is None
    assert counts(database) == (1, 0)


def test_a_token_is_claimed_once_and_remembers_its_response(database: Database) -> None:
    with database.begin() as connection:
        assert tokens.claim(connection, ACCOUNT, "CreateUser", "t", b"request") is None
        tokens.keep(connection, ACCOUNT, "CreateUser", "t", {"UserStatus": "ACTIVE"})
    with database.begin() as connection:
        assert tokens.claim(connection, ACCOUNT, "CreateUser", "t", b"request") == {"UserStatus": "ACTIVE"}
        assert tokens.claim(connection, ACCOUNT, "DeleteUser", "t", b"request") is None
        with pytest.raises(tokens.TokenMismatch):
            tokens.claim(connection, ACCOUNT, "CreateUser", "t", b"another request")


def test_a_token_of_a_failed_request_is_free_again(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.begin() as connection:
        tokens.claim(connection, ACCOUNT, "CreateUser", "t", b"request")
        raise ZeroDivisionError
    with database.begin() as connection:
        assert tokens.claim(connection, ACCOUNT, "CreateUser", "t", b"another request") is None
