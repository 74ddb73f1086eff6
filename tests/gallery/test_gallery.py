"""Congruence: the gallery must agree with brute force over what PostgreSQL keeps, always."""

import random
import subprocess
import sys
import uuid

import numpy as np
import pytest
from numpy.typing import NDArray

from regard.gallery import codes as codes_module
from regard.gallery.codes import ERROR, Codes
from regard.gallery.gallery import Gallery
from regard.store import collections, faces, keys, users
from regard.store.collections import Collection
from regard.store.database import Database
from regard.store.faces import NewFace
from regard.vision.cohort import Cohort, Comparison

ACCOUNT = "123456789012"
DIMENSION = 128
Vectors = NDArray[np.float32]


def people(rng: np.random.Generator, count: int, each: int, spread: float = 0.05) -> Vectors:
    """`count` people with `each` embeddings near one another, as faces are; unit vectors [count·each, d]."""
    centres = rng.standard_normal((count, 1, DIMENSION))
    centres /= np.linalg.norm(centres, axis=-1, keepdims=True)
    vectors = (centres + spread * rng.standard_normal((count, each, DIMENSION))).reshape(-1, DIMENSION)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def crowds(seed: int) -> Comparison:
    """A comparison with a cohort that some of the people of `people(default_rng(seed), …)` are close to."""
    near = people(np.random.default_rng(seed), 60, 6, spread=0.2)
    return Comparison(Cohort(near[:200:5], nearest=3))


COSINE = Comparison()


def collection_of(database: Database, name: str = "staff") -> Collection:
    with database.begin() as connection:
        found = collections.find(connection, ACCOUNT, name)
        if found is None:
            if keys.first_account(connection) is None:
                keys.create_account(connection, ACCOUNT)
            collections.create(connection, ACCOUNT, name, "m")
            found = collections.find(connection, ACCOUNT, name)
    assert found is not None
    return found


def enrol(database: Database, vectors: Vectors) -> list[faces.Face]:
    new = [
        NewFace(face_id, uuid.uuid4(), uuid.uuid4(), None, (0, 0, 1, 1), 99, vector)
        for face_id, vector in zip((uuid.uuid4() for _ in vectors), vectors, strict=True)
    ]
    collection_of(database)
    with database.begin() as connection:
        locked = collections.find(connection, ACCOUNT, "staff", lock=True)
        assert locked is not None
        return faces.add(connection, locked, new)


def brute_force(
    database: Database, probe: Vectors, limit: int, floor: float, comparison: Comparison
) -> list[tuple[uuid.UUID, float]]:
    with database.begin() as connection:
        rows = faces.page(connection, collection_of(database).key, 0, 1 << 20)
    if not rows:
        return []
    scores = comparison.scores(np.stack([row.embedding for row in rows]), probe[None])[:, 0].tolist()
    ranked = sorted(zip(rows, scores, strict=True), key=lambda pair: (-pair[1], pair[0].face_id.bytes))
    return [(row.face_id, score) for row, score in ranked if score >= floor][:limit]


def search(
    gallery: Gallery, database: Database, probe: Vectors, limit: int, floor: float, comparison: Comparison = COSINE
) -> list[tuple[uuid.UUID, float]]:
    matches = gallery.search_faces(collection_of(database), probe, limit, floor, comparison)
    return [(match.row.face_id, match.score) for match in matches]


@pytest.mark.parametrize("normalised", [False, True], ids=["cosine", "cohort"])
@pytest.mark.parametrize("seed", range(3))
def test_random_changes_and_searches_agree_with_brute_force(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int, normalised: bool
) -> None:
    comparison = crowds(seed) if normalised else COSINE
    monkeypatch.setattr(codes_module, "BLOCK", 64)  # many blocks, partly emptied and filled again
    rng, choose = np.random.default_rng(seed), random.Random(seed)
    mine, others = Gallery(database), Gallery(database)
    everyone = people(rng, 60, 6)
    enrolled: list[faces.Face] = []
    for _ in range(40):
        if choose.random() < 0.6 or not enrolled:
            chosen = rng.choice(len(everyone), choose.randint(1, 25))
            enrolled += enrol(database, everyone[chosen])  # some vectors more than once: equals in rank
        else:
            gone = [enrolled.pop(choose.randrange(len(enrolled))) for _ in range(min(len(enrolled), 9))]
            with database.begin() as connection:
                locked = collections.find(connection, ACCOUNT, "staff", lock=True)
                assert locked is not None
                faces.delete(connection, locked, [face.key for face in gone])
        probe = people(rng, 1, 1)[0] if choose.random() < 0.2 else everyone[choose.randrange(len(everyone))]
        limit = choose.choice([1, 2, 7, 50, 4096])
        floor = choose.choice([-np.inf, 0.0, 0.3, 0.75, 0.99999])
        expected = brute_force(database, probe, limit, floor, comparison)
        for gallery in (mine, others):
            assert search(gallery, database, probe, limit, floor, comparison) == expected
        others = others if choose.random() < 0.7 else Gallery(database)  # as after a restart


@pytest.mark.parametrize("comparison", [COSINE, crowds(7)], ids=["cosine", "cohort"])
def test_users_agree_with_brute_force(database: Database, comparison: Comparison) -> None:
    rng = np.random.default_rng(7)
    vectors = people(rng, 12, 4)
    kept = enrol(database, vectors)
    gallery = Gallery(database)
    for number in range(12):
        with database.begin() as connection:
            locked = collections.find(connection, ACCOUNT, "staff", lock=True)
            assert locked is not None
            users.create(connection, locked, f"user-{number}")
            user = users.find(connection, locked.key, f"user-{number}")
            assert user is not None
            users.associate(connection, locked, user, [face.key for face in kept[4 * number : 4 * number + 4]])
            if number == 3:  # no faces left: cannot be found any more
                users.disassociate(connection, locked, user, [face.key for face in kept[12:16]])
            if number == 5:
                users.delete(connection, locked, user)
        probe = vectors[4 * number]
        with database.begin() as connection:
            rows = users.page(connection, collection_of(database).key, 0, 100)
        vectors_of = {row.user_id: row.embedding for row in rows if row.embedding is not None}
        vectors_now = np.array(list(vectors_of.values()), np.float32).reshape(-1, DIMENSION)
        scores = comparison.scores(vectors_now, probe[None])[:, 0].tolist()
        expected = sorted(zip(vectors_of, scores, strict=True), key=lambda pair: (-pair[1], pair[0]))
        found = gallery.search_users(collection_of(database), probe, 500, -np.inf, comparison)
        assert [(match.row.user_id, match.score) for match in found] == expected
    assert {"user-3", "user-5"}.isdisjoint(match.row.user_id for match in found)


_OTHER_PROCESS = """
import sys, uuid
import numpy as np
from sqlalchemy.engine import make_url
from regard.store import collections, faces
from regard.store.database import Database
database = Database(make_url(sys.argv[1]), pool_size=1)
vector = np.eye(128, dtype=np.float32)[3]
with database.begin() as connection:
    collection = collections.find(connection, "123456789012", "staff", lock=True)
    faces.add(connection, collection, [
        faces.NewFace(uuid.UUID(sys.argv[2]), uuid.uuid4(), uuid.uuid4(), None, (0, 0, 1, 1), 99, vector)])
"""


def test_a_face_enrolled_by_another_process_is_found_by_the_next_search(database: Database) -> None:
    enrol(database, people(np.random.default_rng(0), 5, 2))
    gallery, probe = Gallery(database), np.eye(DIMENSION, dtype=np.float32)[3]
    assert search(gallery, database, probe, 1, 0.9) == []
    face_id = uuid.uuid4()
    url = database.engine.url.render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-c", _OTHER_PROCESS, url, str(face_id)], check=True)
    assert search(gallery, database, probe, 1, 0.9) == [(face_id, 1.0)]


@pytest.mark.parametrize("comparison", [COSINE, crowds(1)], ids=["cosine", "cohort"])
def test_codes_never_err_by_more_than_they_say(comparison: Comparison) -> None:
    rng = np.random.default_rng(1)
    vectors = np.concatenate([people(rng, 500, 1), np.eye(DIMENSION, dtype=np.float32)])
    probes = np.concatenate([people(rng, 20, 1), np.eye(DIMENSION, dtype=np.float32)[:5], vectors[:20]])
    exact, queries = comparison.references(vectors), comparison.probes(probes)
    halves = exact.astype(np.float16).astype(np.float64)
    error = np.abs(queries @ (halves - exact).T)
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(exact, axis=1)
    assert (error < ERROR * lengths).all()


def test_every_vector_whose_score_reaches_the_floor_is_a_candidate() -> None:
    comparison = crowds(3)
    vectors = people(np.random.default_rng(3), 60, 40, spread=0.2)
    codes = Codes(DIMENSION + 2)
    codes.put(np.arange(len(vectors)), comparison.references(vectors))
    for probe in vectors[:200:10]:
        scores = comparison.scores(vectors, probe[None])[:, 0]
        for floor in np.sort(scores)[-50::7]:
            found = codes.candidates(comparison.probes(probe[None])[0], len(vectors), floor)
            assert set(np.flatnonzero(scores >= floor)) <= set(found.tolist())
            assert len(found) < len(vectors) / 4


def test_replaced_and_unknown_keys() -> None:
    codes = Codes(DIMENSION)
    basis = np.eye(DIMENSION, dtype=np.float32)
    codes.put(np.array([1, 2]), basis[:2])
    codes.put(np.array([2]), basis[2:3])
    codes.remove([1, 99])
    assert len(codes) == 1
    assert codes.candidates(basis[2], 5, 0.5).tolist() == [2]
    assert codes.candidates(basis[1], 5, 0.5).tolist() == []
