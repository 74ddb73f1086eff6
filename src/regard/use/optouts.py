"""The opt-out gallery: people of whom the deployment keeps a face for the one purpose of not recognising them.

It is a collection that belongs to no account, so that no client of the AWS API can reach it. There are few of them,
and each is compared with: no index, nothing missed but what the threshold misses. A process keeps them until one
changes: then the database raises the policies' epoch, which is read together with the access key.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from regard.celebrities import main_face
from regard.operations.context import Services
from regard.store import collections, faces, policies
from regard.store.collections import Collection
from regard.store.database import Database, raw
from regard.use.epochs import ByEpoch
from regard.vision.faces import FaceEngine
from regard.wire.errors import InvalidParameterException

COLLECTION_ID = "opt-outs"
_PAGE = 1 << 12


class OptOutError(Exception):
    """The gallery cannot be changed so; the text tells the operator what to do."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The embeddings [n, d] of an epoch, and the network that they are of; None where there are none."""

    epoch: int
    model_version: str | None = None
    embeddings: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))


class OptOuts:
    """The gallery of a process. Any number of threads may use it at once."""

    def __init__(self) -> None:
        self._gallery = ByEpoch(_read)

    def alike(
        self, services: Services, epoch: int, embeddings: NDArray[np.float32], similarity: float
    ) -> NDArray[np.bool_]:
        """Which of the embeddings [n, d] have at least this Similarity to somebody who had opted out by that epoch.

        InvalidParameterException if those were embedded by another network: nobody may be searched for then.
        """
        kept, engine = self._gallery.at(services.database, epoch), services.vision.faces
        if kept.model_version is None or not len(embeddings):
            return np.zeros(len(embeddings), bool)
        if kept.model_version != engine.model_version:
            raise InvalidParameterException(
                f"The opt-out gallery was made with face model {kept.model_version}, and this server runs "
                f"{engine.model_version}: nobody is identified until the operator has made it anew."
            )
        scores = engine.compare(embeddings, kept.embeddings).max(axis=1)
        return np.asarray(engine.similarity.similarity(scores) >= similarity)


def _read(database: Database) -> _Kept:
    with database.snapshot() as connection:
        epoch, collection = policies.epoch(connection), collections.find(raw(connection), None, COLLECTION_ID)
        kept = [] if collection is None else every(connection, collection)
    if collection is None or not kept:
        return _Kept(epoch)
    return _Kept(epoch, collection.face_model_version, np.stack([face.embedding for face in kept]))


def every(connection: Connection, collection: Collection) -> list[faces.Face]:
    """The faces of the gallery; `external_image_id` is the reference that the operator gave."""
    found: list[faces.Face] = []
    while page := faces.page(connection, collection.key, found[-1].key if found else 0, _PAGE):
        found += page
    return found


def add(database: Database, engine: FaceEngine, reference: str, pictures: list[Path]) -> list[tuple[Path, str]]:
    """Keep the largest face of each picture under a reference; the pictures that gave none, and why.

    Raises `OptOutError` if the gallery was made with another network.
    """
    found = [(file, main_face(engine, file)) for file in pictures]
    new = [replace(face, external_image_id=reference) for _, face in found if not isinstance(face, str)]
    if new:
        with database.begin() as connection:
            while (collection := collections.lock(connection, None, COLLECTION_ID)) is None:
                collections.create(connection, None, COLLECTION_ID, engine.model_version)
            if collection.face_model_version != engine.model_version:
                if collection.face_count:
                    raise OptOutError(
                        f"The opt-out gallery was made with face model {collection.face_model_version}, and this is "
                        f"{engine.model_version}: `regard opt-outs remove` everybody, then add them anew."
                    )
                collections.delete(connection, collection.key)
                collections.create(connection, None, COLLECTION_ID, engine.model_version)
                collection = collections.lock(connection, None, COLLECTION_ID) or collection
            faces.add(connection, collection, new)
    return [(file, face) for file, face in found if isinstance(face, str)]


def references(database: Database) -> dict[str, int]:
    """Who opted out, by the references, and by how many faces each."""
    with database.read() as connection:
        collection = collections.find(raw(connection), None, COLLECTION_ID)
        kept = [] if collection is None else every(connection, collection)
    counts: dict[str, int] = {}
    for face in kept:
        counts[face.external_image_id or ""] = counts.get(face.external_image_id or "", 0) + 1
    return counts


def remove(database: Database, reference: str) -> int:
    """Forget the faces under a reference, as after a withdrawn objection; how many there were."""
    with database.begin() as connection:
        collection = collections.lock(connection, None, COLLECTION_ID)
        if collection is None:
            return 0
        gone = [face.key for face in every(connection, collection) if face.external_image_id == reference]
        faces.delete(connection, collection, gone)
        return len(gone)
