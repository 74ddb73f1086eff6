"""What is left of a person in jobs and reviews once they are erased: nothing."""

import json
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import sqlalchemy as sa

from regard.operations.video.analysis import Result
from regard.store import collections, faces, jobs, keys, reviews, subjects
from regard.store.database import Database
from regard.store.faces import image_id_of
from regard.store.human_loops import review_digest, start

ACCOUNT = "123456789012"
ANN, BOB = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


@pytest.fixture(autouse=True)
def account(database: Database) -> None:
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT, "", "", None)


def match(face_id: str) -> dict[str, Any]:
    return {"Similarity": 99.0, "Face": {"FaceId": face_id}}


def test_results_of_face_searches_forget_a_face(database: Database) -> None:
    with database.begin() as connection:
        jobs.add(connection, "a" * 64, ACCOUNT, "AKIA", "FaceSearch", {})
        job = jobs.get(connection, "a" * 64)
        assert job is not None
        found = [
            Result(time_ms, 0, {"Timestamp": time_ms, "Person": {"Index": 0}, "FaceMatches": matches})
            for time_ms, matches in ((0, [match(ANN), match(BOB)]), (500, [match(ANN)]), (1000, [match(BOB)]))
        ]
        assert jobs.succeed(connection, job, found)
    with database.begin() as connection:
        assert subjects.forget_in_jobs(connection, ACCOUNT, [ANN]) == 2
        assert subjects.forget_in_jobs(connection, "000000000000", [BOB]) == 0
        rows = jobs.results(connection, job, "TIMESTAMPS", "by_time", 0, 10)
    assert [row.body["FaceMatches"] for row in rows] == [[match(BOB)], [], [match(BOB)]]


def begin(database: Database, digest: bytes, candidate: str) -> None:
    values = {
        "review_id": f"r-{digest.hex()}",
        "account_id": ACCOUNT,
        "access_key_id": "AKIA",
        "kind": "matches",
        "operation": "SearchFaces",
        "resource": "*",
        "rule": "p@1 r",
        "mode": "withhold",
        "quorum": 1,
        "request_digest": digest,
        "candidates": [{"id": candidate, "ExternalImageId": "x"}],
    }
    with database.begin() as connection:
        reviews.begin(connection, values, b"sealed", timedelta(days=1))


def test_reviews_forget_a_candidate(database: Database) -> None:
    begin(database, b"1", ANN)
    begin(database, b"2", BOB)
    with database.begin() as connection:
        assert subjects.forget_reviews(connection, ACCOUNT, []) == 0
        assert subjects.forget_reviews(connection, ACCOUNT, [ANN, "nobody"]) == 1
        left = connection.execute(sa.text("SELECT candidates FROM reviews")).scalars().all()
    assert json.dumps(left).count(BOB) == 1


def test_loops_about_a_persons_pictures_go_with_their_reviews(database: Database) -> None:
    picture = b"\1" * 32
    with database.begin() as connection:
        start(connection, ACCOUNT, "arn:flow", "loop", picture, [], [])
        start(connection, ACCOUNT, "arn:flow", "other", b"\2" * 32, [], [])
    begin(database, review_digest("arn:flow", "loop"), "Weapons")
    begin(database, review_digest("arn:flow", "other"), "Weapons")
    with database.begin() as connection:
        assert subjects.forget_loops(connection, ACCOUNT, {image_id_of(picture)}) == 1
        assert connection.execute(sa.text("SELECT count(*) FROM reviews")).scalar_one() == 1


def test_a_search_names_nobody_who_was_erased_while_it_was_concluded(database: Database) -> None:
    """The erasure did not see the results, which had not been committed."""
    vector = np.ones(8, np.float32)
    with database.begin() as connection:
        collections.create(connection, ACCOUNT, "staff", "m-1")
        staff = collections.lock(connection, ACCOUNT, "staff")
        assert staff is not None
        box = (0.0, 0.0, 1.0, 1.0)
        faces.add(
            connection,
            staff,
            [
                faces.NewFace(UUID(face_id), UUID(face_id), UUID(face_id), None, box, 99.0, vector)
                for face_id in (ANN, BOB)
            ],
        )
        jobs.add(connection, "a" * 64, ACCOUNT, "AKIA", "FaceSearch", {"CollectionId": "staff"})
        job = jobs.get(connection, "a" * 64)
        assert job is not None
    with database.begin() as concluding:
        matches = [match(ANN), match(BOB)]
        assert jobs.succeed(concluding, job, [Result(0, 0, {"Timestamp": 0, "FaceMatches": matches})])
        with database.begin() as erasing:
            locked = collections.lock(erasing, ACCOUNT, "staff")
            assert locked is not None
            (gone,) = subjects.by_digests(erasing, locked.key, [sha256(ANN.encode()).digest()])
            assert subjects.delete_faces(erasing, locked, [gone])[0] == [UUID(ANN)]
            assert subjects.forget_in_jobs(erasing, ACCOUNT, [ANN]) == 0
        assert subjects.forget_gone(concluding, job) == 1
        with pytest.raises(sa.exc.OperationalError), database.begin() as late:
            late.execute(sa.text("SET LOCAL lock_timeout = '100ms'"))
            collections.lock(late, ACCOUNT, "staff")  # as every deletion does first
    with database.begin() as connection:
        (row,) = jobs.results(connection, job, "TIMESTAMPS", "by_time", 0, 10)
        assert row.body["FaceMatches"] == [match(BOB)]
        assert subjects.forget_in_jobs(connection, ACCOUNT, [BOB]) == 1
