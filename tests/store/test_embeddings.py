"""Embeddings in bulk: all of a collection's, each once, however its keys lie."""

import uuid

import numpy as np
import pytest

from regard.store import collections, embeddings, faces, keys
from regard.store.collections import Collection
from regard.store.database import Database, raw
from regard.store.faces import NewFace
from regard.store.tables import faces as table

ACCOUNT = "123456789012"
KEPT = 97


def enrol(database: Database, name: str, count: int) -> Collection:
    with database.begin() as connection:
        collection = collections.lock(connection, ACCOUNT, name)
        assert collection is not None
        values = range(collection.face_count, collection.face_count + count)
        vectors = [np.full(8, value, np.float32) for value in values]
        new = [NewFace(uuid.uuid4(), uuid.uuid4(), uuid.uuid4(), None, (0, 0, 1, 1), 99, vector) for vector in vectors]
        faces.add(connection, collection, new)
    return collection


@pytest.mark.parametrize("share", [1e-9, 0.1, 1.0])
def test_ranges_of_keys_hold_all_of_a_collection_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(embeddings, "_ROWS", 4)
    monkeypatch.setattr(embeddings, "_WIDEST", 16)
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
        for name in ("mine", "others"):
            collections.create(connection, ACCOUNT, name, "m")
    for number in range(12):  # turn by turn, so that the keys of one lie between those of the other
        mine = enrol(database, "mine", 9)
        enrol(database, "others", 1 + number % 5 * 7)
    with database.begin() as connection:
        kept = faces.page(connection, mine.key, 0, 1 << 20)
        gone = [face.key for face in kept[KEPT:] + kept[20:30]]
        collection = collections.lock(connection, ACCOUNT, "mine")
        assert collection is not None
        faces.delete(connection, collection, gone)
    wanted = {face.key: float(face.embedding[0]) for face in kept if face.key not in gone}
    with database.snapshot() as connection:
        bounds = embeddings.bounds(connection, table, mine.key)
        assert bounds == (min(wanted), max(wanted))
        middle = sum(bounds) // 2
        found: list[tuple[int, float]] = []
        for own in ((bounds[0], middle), (middle + 1, bounds[1])):
            for part_keys, vectors in embeddings.between(raw(connection), table, mine.key, own, share):
                assert len(part_keys) == len(vectors) <= 16
                found += zip(part_keys.tolist(), vectors[:, 0].tolist(), strict=True)
        everything = list(embeddings.changed(raw(connection), table, mine.key, -1))
    assert len(found) == len(wanted)
    assert dict(found) == wanted
    assert {len(part) for part, _ in everything} == {4, len(wanted) % 4} - {0}
    assert np.sort(np.concatenate([part for part, _ in everything])).tolist() == sorted(wanted)
