"""The gallery, answering from the cluster: a collection's codes are where its questions go."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from ray.serve.handle import DeploymentHandle

from regard.cluster.asking import ask
from regard.gallery.gallery import Gallery, Match
from regard.store.collections import Collection
from regard.store.database import Database
from regard.store.faces import Face
from regard.store.users import User
from regard.vision.cohort import Comparison


class RemoteGallery(Gallery):
    """As `Gallery`, for a front that holds no codes.

    Serve sends a collection's questions to a replica that has it, and to another when that is busy, which takes it in,
    too. The replicas compare as the front does: they are deployed with its choices.
    """

    def __init__(self, database: Database, handle: DeploymentHandle[Any]) -> None:
        super().__init__(database)
        self._handle = handle

    def search_faces(
        self,
        collection: Collection,
        probe: NDArray[np.float32],
        limit: int,
        floor: float,
        comparison: Comparison,  # noqa: ARG002 - the replicas have the same
    ) -> list[Match[Face]]:
        return cast("list[Match[Face]]", ask(self._of(collection.key).faces, collection, probe, limit, floor))

    def search_users(
        self,
        collection: Collection,
        probe: NDArray[np.float32],
        limit: int,
        floor: float,
        comparison: Comparison,  # noqa: ARG002 - the replicas have the same
    ) -> list[Match[User]]:
        return cast("list[Match[User]]", ask(self._of(collection.key).users, collection, probe, limit, floor))

    def nbytes(self, collection: Collection) -> int:
        return int(ask(self._of(collection.key).nbytes, collection))

    def forget(self, collection_key: int) -> None:
        """Free the memory where the collection is; a second replica that has it lets it go when it needs room."""
        self._of(collection_key).forget.remote(collection_key)

    def _of(self, collection_key: int) -> DeploymentHandle[Any]:
        return self._handle.options(multiplexed_model_id=str(collection_key))
