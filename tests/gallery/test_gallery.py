"""Congruence: the gallery must agree with brute force over what PostgreSQL keeps, always."""

import random
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from regard.gallery import codes as codes_module
from regard.gallery import gallery as gallery_module
from regard.gallery.codes import SLACK, Codes, _Query
from regard.gallery.gallery import Gallery
from regard.gallery.parallel import in_parallel
from regard.store import collections, faces, keys, removals, users
from regard.store.collections import Collection
from regard.store.database import Database, raw
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
        found = collections.find(raw(connection), ACCOUNT, name)
        if found is None:
            if keys.first_account(connection) is None:
                keys.create_account(connection, ACCOUNT)
            collections.create(connection, ACCOUNT, name, "m")
            found = collections.find(raw(connection), ACCOUNT, name)
    assert found is not None
    return found


def enrol(database: Database, vectors: Vectors) -> list[faces.Face]:
    new = [
        NewFace(face_id, uuid.uuid4(), uuid.uuid4(), None, (0, 0, 1, 1), 99, vector)
        for face_id, vector in zip((uuid.uuid4() for _ in vectors), vectors, strict=True)
    ]
    collection_of(database)
    with database.begin() as connection:
        locked = collections.lock(connection, ACCOUNT, "staff")
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
                locked = collections.lock(connection, ACCOUNT, "staff")
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
            locked = collections.lock(connection, ACCOUNT, "staff")
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
    collection = collections.lock(connection, "123456789012", "staff")
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


def test_what_another_process_has_deleted_leaves_the_memory_though_nobody_searches(database: Database) -> None:
    vectors = people(np.random.default_rng(5), 20, 3)
    enrolled = enrol(database, vectors)
    gallery, another = Gallery(database), Gallery(database)
    for one in (gallery, another):
        assert len(search(one, database, vectors[0], 100, -1.0)) == len(vectors)
    with database.begin() as connection:
        locked = collections.lock(connection, ACCOUNT, "staff")
        assert locked is not None
        faces.delete(connection, locked, [face.key for face in enrolled[:7]])
    added = enrol(database, people(np.random.default_rng(6), 1, 4))
    gallery.tidy()
    assert gallery.held()[0] == len(vectors) - 7
    assert another.held()[0] == len(vectors)
    for one in (gallery, another):  # what was added meanwhile is not missed
        found = search(one, database, vectors[0], 100, -1.0)
        assert {face_id for face_id, _ in found} == {face.face_id for face in [*enrolled[7:], *added]}
        assert found == brute_force(database, vectors[0], 100, -1.0, COSINE)


def test_a_gallery_that_is_further_behind_than_removals_are_kept_reads_the_collection_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "KEPT", 5)
    monkeypatch.setattr(removals, "_AT_ONCE", 3)
    vectors = people(np.random.default_rng(3), 10, 2)
    enrolled = enrol(database, vectors)
    key = collection_of(database).key
    near, far, quiet = Gallery(database), Gallery(database), Gallery(database)
    for gallery in (near, far, quiet):
        assert len(search(gallery, database, vectors[0], 100, -1.0)) == 20
    for start in range(0, 16, 2):
        with database.begin() as connection:
            locked = collections.lock(connection, ACCOUNT, "staff")
            assert locked is not None
            faces.delete(connection, locked, [face.key for face in enrolled[start : start + 2]])
        if start == 12:
            search(near, database, vectors[0], 100, -1.0)
    assert removals.forget(database) == 12
    assert removals.forget(database) == 0
    with database.begin() as connection:
        assert removals.since(connection, key, 6, of_users=False) is None
        assert removals.since(connection, key, 7, of_users=False) == [face.key for face in enrolled[12:16]]
    held = near._entries[key].faces.codes
    quiet.tidy()
    assert quiet.held()[0] == 0
    for gallery in (near, far, quiet):
        assert search(gallery, database, vectors[0], 100, -1.0) == brute_force(database, vectors[0], 100, -1.0, COSINE)
        assert gallery.held()[0] == 4
    assert near._entries[key].faces.codes is held  # only what it had not seen was dropped


_HOLDS_IT = """
import sys, time
import numpy as np
from regard.gallery.gallery import Gallery
from regard.store import collections
from regard.store.database import Database, raw
from regard.vision.cohort import Comparison
database = Database(sys.argv[1], pool_size=2)
gallery = Gallery(database)
with database.begin() as connection:
    staff = collections.find(raw(connection), "123456789012", "staff")
gallery.search_faces(staff, np.eye(128, dtype=np.float32)[0], 1, -1.0, Comparison())
gallery.keep_tidy(every_s=0.05)
print(gallery.held()[0], flush=True)
while gallery.held()[0]:
    time.sleep(0.01)
"""


def test_a_deleted_collection_leaves_the_memory_of_other_processes_by_itself(database: Database) -> None:
    enrol(database, people(np.random.default_rng(0), 5, 2))
    url = database.engine.url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", _HOLDS_IT, url], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"10\n"
        with database.begin() as connection:
            collections.delete(connection, collection_of(database).key)
        assert other.wait(60) == 0


def clustered(rng: np.random.Generator, count: int) -> Vectors:
    """Vectors [count, d] that a sketch suits badly: some people, single components, opposites."""
    vectors = people(rng, count // 8 + 1, 8, spread=0.12)[:count]
    basis = np.concatenate([np.eye(DIMENSION), -np.eye(DIMENSION)]).astype(np.float32)
    vectors[: len(basis)] = basis[:count]
    return vectors


@pytest.mark.parametrize("normalised", [False, True], ids=["cosine", "cohort"])
def test_bounds_hold_the_exact_scores(normalised: bool) -> None:
    comparison = crowds(1) if normalised else COSINE
    rng = np.random.default_rng(1)
    vectors = clustered(rng, 6000)
    codes = Codes(DIMENSION + 2 * normalised)
    codes.add(np.arange(len(vectors)), comparison.rough_references(vectors))
    (block,) = codes._blocks
    for probe in np.concatenate([vectors[:300:20], vectors[300::1000], people(rng, 5, 1)]):
        (scores,) = comparison.scores(probe[None], vectors)
        query = _Query(comparison.probes(probe[None])[0].astype(np.float32), codes._rotation, SLACK * codes._longest)
        lower, upper = block._bounds(query, None)
        assert (lower <= scores).all()
        assert (scores <= upper).all()
        assert np.median(upper - lower) < 0.05
        sketched, rows = block._sketches.best(query.direction, 2000)
        most = query.most_each(sketched, block._facts[:, rows])
        assert (scores[rows] <= most).all()
        others = np.delete(np.arange(len(vectors)), rows)
        assert (scores[others] <= query.most(float(sketched[-1]), block._facts[:, others])).all()
        rest = max(float(sketched[-1]), -query.sketch_error)
        of_groups = query.most(rest, query.most_allowing(block._extremes))
        assert (scores[others] <= of_groups[others // 32]).all()
        assert np.median(most - scores[rows]) < 0.5  # and say something


@pytest.mark.parametrize("normalised", [False, True], ids=["cosine", "cohort"])
@pytest.mark.parametrize("seed", range(3))
def test_many_codes_after_random_changes_agree_with_brute_force(
    monkeypatch: pytest.MonkeyPatch, seed: int, normalised: bool
) -> None:
    monkeypatch.setattr(codes_module, "BLOCK", 3000)  # several blocks, large enough to be sketched
    monkeypatch.setattr(codes_module, "BEST", 100)
    comparison = crowds(seed) if normalised else COSINE
    rng, choose = np.random.default_rng(seed), random.Random(seed)
    vectors = clustered(rng, 10_000)
    references = comparison.references(vectors)
    codes, there = Codes(references.shape[1]), np.zeros(len(vectors), bool)
    for step in range(8):
        chosen = rng.choice(len(vectors), choose.choice([1, 31, 700, 4000]), replace=False)
        if step % 3 == 2:
            codes.remove(chosen)
            there[chosen] = False
        else:
            codes.put(chosen, references[chosen])
            there[chosen] = True
        assert len(codes) == there.sum()
        for probe in (vectors[choose.randrange(len(vectors))], people(rng, 1, 1)[0]):
            (scores,) = comparison.scores(probe[None], vectors[there])
            for limit in (1, 10, 400, 20_000):
                for floor in (-np.inf, 0.2, 0.4, 0.9):
                    least = max(floor, float(np.sort(scores)[::-1][min(limit, len(scores)) - 1]))
                    found = codes.candidates(comparison.probes(probe[None])[0], limit, floor)
                    assert set(np.flatnonzero(there)[scores >= least]) <= set(found.tolist())
                    assert len(set(found.tolist())) == len(found)
                    assert there[found].all()


def test_nobody_like_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """All products are negative: then the shortest vectors have the greatest scores."""
    monkeypatch.setattr(codes_module, "BEST", 100)
    rng = np.random.default_rng(9)
    vectors = people(rng, 1, 3000, spread=0.03)
    probe = -vectors[0]
    vectors *= rng.uniform(0.4, 1, (len(vectors), 1)).astype(np.float32)
    codes = Codes(DIMENSION)
    codes.add(np.arange(len(vectors)), vectors)
    scores = vectors @ probe
    for floor in np.linspace(-0.9, -0.3, 25):
        found = codes.candidates(probe, len(vectors), floor)
        assert set(np.flatnonzero(scores >= floor)) <= set(found.tolist())


def test_what_one_search_does_with_others_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes_module, "BLOCK", 500)
    vectors = people(np.random.default_rng(5), 400, 8)
    codes = Codes(DIMENSION)
    codes.add(np.arange(len(vectors)), vectors)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda probe: codes.candidates(probe, 8, 0.6), vectors))
    alone = [codes.candidates(probe, 8, 0.6) for probe in vectors[::50]]
    assert all(set(a.tolist()) == set(b.tolist()) for a, b in zip(found[::50], alone, strict=True))
    assert all(number in keys for number, keys in enumerate(found))


def test_an_error_in_one_part_of_the_work_is_the_callers() -> None:
    assert in_parallel(lambda number: number * 2, range(100)) == [2 * number for number in range(100)]
    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda number: 1 // (number - 50), range(100))
    assert in_parallel(len, []) == []


def test_a_large_collection_is_loaded_through_several_connections(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery_module, "_LARGE", 100)
    vectors = people(np.random.default_rng(2), 60, 6)
    kept = enrol(database, vectors)
    with database.begin() as connection:
        locked = collections.lock(connection, ACCOUNT, "staff")
        assert locked is not None
        faces.delete(connection, locked, [face.key for face in kept[50:150]])
    gallery = Gallery(database)
    with ThreadPoolExecutor(4) as threads:  # all wait for one loading
        found = list(threads.map(lambda probe: search(gallery, database, probe, 7, 0.0), vectors[:8]))
    assert found == [brute_force(database, probe, 7, 0.0, COSINE) for probe in vectors[:8]]
    enrol(database, vectors[50:60])
    assert search(gallery, database, vectors[55], 7, 0.0) == brute_force(database, vectors[55], 7, 0.0, COSINE)


def test_what_was_searched_longest_ago_leaves_the_memory_and_comes_back(database: Database) -> None:
    vectors = people(np.random.default_rng(4), 20, 3)
    enrol(database, vectors)
    names = ["staff", "visitors", "guests"]
    for name in names[1:]:
        collection_of(database, name)
        with database.begin() as connection:
            locked = collections.lock(connection, ACCOUNT, name)
            assert locked is not None
            new = [NewFace(uuid.uuid4(), uuid.uuid4(), uuid.uuid4(), None, (0, 0, 1, 1), 99, v) for v in vectors]
            faces.add(connection, locked, new)
    full = Gallery(database)
    full.search_faces(collection_of(database), vectors[0], 1, 0.9, COSINE)
    gallery = Gallery(database, memory=2 * full.nbytes(collection_of(database)))
    for name in [*names, "visitors", "staff"]:  # the last puts out "guests", not "visitors"
        assert len(gallery.search_faces(collection_of(database, name), vectors[0], 1, 0.9, COSINE)) == 1
    held = [name for name in names if gallery.nbytes(collection_of(database, name))]
    assert held == ["staff", "visitors"]


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
    codes.remove(np.array([1, 99]))
    assert len(codes) == 1
    assert codes.candidates(basis[2], 5, 0.5).tolist() == [2]
    assert codes.candidates(basis[1], 5, 0.5).tolist() == []
