"""What every operation is given: who calls, what the rules of use ask, and the services that do the work."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from regard.gallery.gallery import Gallery
from regard.media.storage import ObjectStore
from regard.settings import Settings
from regard.store import collections
from regard.store.collections import Collection
from regard.store.database import Database
from regard.store.jobs import Job
from regard.use.audit import AuditLog
from regard.use.keys import Principal
from regard.use.seal import Sealer
from regard.vision.engines import Engines
from regard.vision.faces import Face
from regard.wire.errors import InvalidParameterException, ResourceNotFoundException

Request = Mapping[str, Any]
Response = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running server."""

    settings: Settings
    database: Database
    sealer: Sealer
    vision: Engines
    gallery: Gallery
    objects: ObjectStore
    audit: AuditLog


class Guard(Protocol):
    """What the rules of use ask of an operation at places that only the operation knows.

    `withheld` are attributes that are not to be inferred, `needed` those that the guard looks at itself, both by
    their names in `Attribute`. No match may have a lower Similarity than `floor`.
    """

    @property
    def withheld(self) -> frozenset[str]: ...

    @property
    def needed(self) -> frozenset[str]: ...

    @property
    def floor(self) -> float: ...

    def admit(self, face: Face | None, embedding: NDArray[np.float32]) -> bool:
        """Whether matches of this probe [d] may be given; of a kept face only the embedding is known. It is
        asked once per search, and raises the error for a search that is not allowed."""

    def enrol(self, faces: Sequence[Face], embeddings: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of the faces, with embeddings [n, d], may be kept."""

    def reveal(self, embeddings: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of the matches, with embeddings [n, d], may be given."""


class Unguarded:
    """No rules: for what the operator himself does."""

    withheld: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    floor = 0.0

    def admit(self, face: Face | None, embedding: NDArray[np.float32]) -> bool:  # noqa: ARG002
        return True

    def enrol(self, faces: Sequence[Face], embeddings: NDArray[np.float32]) -> NDArray[np.bool_]:  # noqa: ARG002
        return np.ones(len(embeddings), bool)

    def reveal(self, embeddings: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.ones(len(embeddings), bool)


UNGUARDED: Guard = Unguarded()


@dataclass(frozen=True, slots=True)
class Context:
    """One request's caller, services, and rules."""

    principal: Principal
    services: Services
    guard: Guard = UNGUARDED

    def guarded(self, guard: Guard) -> "Context":
        """The same under other rules."""
        return replace(self, guard=guard)

    def arn(self, resource: str) -> str:
        """The ARN of a resource of the caller's account, such as `collection/staff`."""
        return f"arn:aws:rekognition:{self.services.settings.region}:{self.principal.account_id}:{resource}"

    def collection(self, collection_id: str) -> Collection:
        """The caller's collection of that name, as it is now."""
        with self.services.database.at_hand() as connection:
            found = collections.find(connection, self.principal.account_id, collection_id)
        return _existing(found, collection_id)

    def locked(self, connection: Connection, collection_id: str) -> Collection:
        """The same to change it: other writers wait until this transaction ends."""
        return _existing(collections.lock(connection, self.principal.account_id, collection_id), collection_id)

    def comparable(self, collection: Collection) -> Collection:
        """The collection, provided that its faces were embedded by the network that runs now."""
        model = self.services.vision.faces.model_version
        if collection.face_model_version != model:
            raise InvalidParameterException(
                f"The collection id: {collection.collection_id} holds faces of face model "
                f"{collection.face_model_version}, and this server runs {model}: they cannot be compared."
            )
        return collection


def _existing(collection: Collection | None, collection_id: str) -> Collection:
    if collection is None:
        raise ResourceNotFoundException(f"The collection id: {collection_id} does not exist")
    return collection


Handler = Callable[[Context, Request], Response]
ContextOf = Callable[[Job], Context]
"""The context that a step of a job runs in: its caller's, under the rules of now. Raises the error that refuses it."""
