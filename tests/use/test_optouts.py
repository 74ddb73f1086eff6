"""People who opted out, kept in memory, are never fewer than when the caller's key was looked up."""

import uuid
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

from regard.store import collections, faces, keys, policies
from regard.store.database import Database
from regard.store.faces import NewFace
from regard.use import optouts
from regard.use.optouts import COLLECTION_ID, OptOuts
from regard.vision.cohort import Comparison
from regard.wire.errors import InvalidParameterException

EMBEDDINGS = np.eye(3, 8, dtype=np.float32)


def opt_out(database: Database, embedding: NDArray[np.float32], reference: str, model_version: str = "m") -> None:
    face_id = uuid.uuid4()
    with database.begin() as connection:
        collections.create(connection, None, COLLECTION_ID, model_version)
        collection = collections.lock(connection, None, COLLECTION_ID)
        assert collection is not None
        new = NewFace(face_id, face_id, uuid.uuid4(), reference, (0, 0, 1, 1), 99, embedding)
        faces.add(connection, collection, [new])


def epoch_of(database: Database) -> int:
    with database.read() as connection:
        return policies.epoch(connection)


class Gallery:
    """The gallery of one process, asked about `EMBEDDINGS` as a request does that comes now."""

    def __init__(self, database: Database) -> None:
        similarity = SimpleNamespace(similarity=lambda scores: 100 * scores)
        faces = SimpleNamespace(model_version="m", compare=Comparison().scores, similarity=similarity)
        self._services: Any = SimpleNamespace(database=database, vision=SimpleNamespace(faces=faces))
        self._opt_outs = OptOuts()

    def alike(self) -> list[bool]:
        epoch = epoch_of(self._services.database)
        return self._opt_outs.alike(self._services, epoch, EMBEDDINGS, 80).tolist()


def test_whoever_opts_out_or_takes_it_back_is_known_to_the_next_request_of_every_process(database: Database) -> None:
    one, another = Gallery(database), Gallery(database)
    for gallery in (one, another):
        assert gallery.alike() == [False, False, False]
    opt_out(database, EMBEDDINGS[1], "letter-1")
    assert one.alike() == [False, True, False]
    opt_out(database, EMBEDDINGS[2], "letter-2")
    for gallery in (one, another):
        assert gallery.alike() == [False, True, True]
    assert optouts.remove(database, "letter-1") == 1
    for gallery in (one, another):
        assert gallery.alike() == [False, False, True]
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM collections WHERE account_id IS NULL")
    for gallery in (one, another):
        assert gallery.alike() == [False, False, False]


def test_the_gallery_is_read_once_until_it_changes(database: Database) -> None:
    opt_out(database, EMBEDDINGS[0], "letter-1")
    gallery = Gallery(database)
    with patch.object(optouts, "every", wraps=optouts.every) as reading:
        for _ in range(3):
            assert gallery.alike() == [True, False, False]
        assert reading.call_count == 1
        with database.begin() as connection:
            keys.create_account(connection, "123456789012")
            collections.create(connection, "123456789012", COLLECTION_ID, "m")
            collections.create(connection, None, "celebrities", "m")
        gallery.alike()
        assert reading.call_count == 1
        opt_out(database, EMBEDDINGS[1], "letter-2")
        gallery.alike()
        assert reading.call_count == 2


def test_nobody_is_identified_while_the_gallery_is_of_another_network(database: Database) -> None:
    opt_out(database, EMBEDDINGS[0], "letter-1", model_version="another")
    gallery = Gallery(database)
    with pytest.raises(InvalidParameterException, match="made with face model another"):
        gallery.alike()
    optouts.remove(database, "letter-1")
    assert gallery.alike() == [False, False, False]
