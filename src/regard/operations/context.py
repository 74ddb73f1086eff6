"""What every operation is given: who calls, and the services that do the work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from regard.gallery.gallery import Gallery
from regard.media.storage import ObjectStore
from regard.settings import Settings
from regard.store import collections
from regard.store.collections import Collection
from regard.store.database import Database
from regard.use.keys import Principal
from regard.use.seal import Sealer
from regard.vision.engines import Engines
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


@dataclass(frozen=True, slots=True)
class Context:
    """One request's caller and services."""

    principal: Principal
    services: Services

    def arn(self, resource: str) -> str:
        """The ARN of a resource of the caller's account, such as `collection/staff`."""
        return f"arn:aws:rekognition:{self.services.settings.region}:{self.principal.account_id}:{resource}"

    def collection(self, connection: Connection, collection_id: str, *, lock: bool = False) -> Collection:
        """The caller's collection of that name."""
        found = collections.find(connection, self.principal.account_id, collection_id, lock=lock)
        if found is None:
            raise ResourceNotFoundException(f"The collection id: {collection_id} does not exist")
        return found

    def comparable(self, collection: Collection) -> Collection:
        """The collection, provided that its faces were embedded by the network that runs now."""
        model = self.services.vision.faces.model_version
        if collection.face_model_version != model:
            raise InvalidParameterException(
                f"The collection id: {collection.collection_id} holds faces of face model "
                f"{collection.face_model_version}, and this server runs {model}: they cannot be compared."
            )
        return collection


Handler = Callable[[Context, Request], Response]
