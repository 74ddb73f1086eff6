"""What runs on the nodes for the front's questions, as Ray Serve has it: one deployment per capability, and one for
the galleries. Each grows and shrinks by its own queue.

A replica of a capability holds the networks of that capability and of no other. It works on as many pictures at a
time as it has threads; the networks of a picture run one after the other on one of them.
"""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from math import ceil
from operator import attrgetter
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus

from regard import log
from regard.cluster.node import Choices, begin, choices
from regard.cluster.nodes import ClusterError, cores, most_cores
from regard.gallery.gallery import Gallery, Match
from regard.settings import Capability, Settings
from regard.store.collections import Collection
from regard.store.database import Database
from regard.vision.engines import Engines
from regard.vision.faces import Yardstick

GALLERY = "gallery"
COLLECTIONS = 64  # pinned to a replica at most; the one that was searched longest ago goes first
SEARCHES = 4  # at a time in a replica, each with a connection to the database

_UPSCALE_S, _DOWNSCALE_S = 5.0, 300.0
_QUIET = {"log_level": "WARNING", "enable_access_log": False}


class Networks:
    """A replica of a capability."""

    def __init__(self, capability: Capability, choices: Choices) -> None:
        settings = begin(choices)
        self._engines = Engines(settings)
        self._engines.load([capability])
        self._pool = ThreadPoolExecutor(settings.threads, "networks")

    async def __call__(self, question: str, image: NDArray[np.uint8], *args: Any, **named: Any) -> Any:
        """The answer of an engine's method to a picture, such as of `faces.find`."""
        ask = attrgetter(question)(self._engines)
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: ask(image, *args, **named))


class Galleries:
    """A replica that holds the codes of the collections that are pinned to it.

    It is as exact and as fresh as one in the front would be: the collection that comes with a question has the version
    that the front has read, and what changed up to it is taken in from PostgreSQL before the search.
    """

    def __init__(self, choices: Choices) -> None:
        settings = begin(choices)
        self._gallery = Gallery(Database.open(settings, pool_size=2 * SEARCHES))
        self._gallery.keep_tidy()
        self._comparison = Yardstick.load(settings).comparison
        self._pool = ThreadPoolExecutor(SEARCHES, "searches")

    @serve.multiplexed(max_num_models_per_replica=COLLECTIONS)  # type: ignore[untyped-decorator]
    async def pinned(self, key: str) -> "Pinned":
        return Pinned(self._gallery, int(key))

    async def faces(
        self, collection: Collection, probe: NDArray[np.float32], limit: int, floor: float
    ) -> list[Match[Any]]:
        return await self._searched(self._gallery.search_faces, collection, probe, limit, floor)

    async def users(
        self, collection: Collection, probe: NDArray[np.float32], limit: int, floor: float
    ) -> list[Match[Any]]:
        return await self._searched(self._gallery.search_users, collection, probe, limit, floor)

    async def nbytes(self, collection: Collection) -> int:
        return self._gallery.nbytes(collection)

    async def forget(self, collection_key: int) -> None:
        self._gallery.forget(collection_key)

    async def _searched(self, search: Callable[..., list[Match[Any]]], *question: Any) -> list[Match[Any]]:
        await self.pinned(serve.get_multiplexed_model_id())
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: search(*question, self._comparison))


class Pinned:
    """Stands for a collection in a replica; its codes go with it."""

    def __init__(self, gallery: Gallery, key: int) -> None:
        self._gallery, self._key = gallery, key

    def __del__(self) -> None:
        self._gallery.forget(self._key)


def deploy(settings: Settings) -> dict[str, DeploymentHandle[Any]]:
    """Have everything deployed that the settings ask for; handles by capability, and of the galleries.

    What another front has deployed alike stays as it runs or begins to; what has failed there is deployed anew.
    Capabilities that `preload` does not name have no replica until somebody asks for one. Returns when all that was
    deployed here and is to run from the start does. Raises `ClusterError` where it cannot.
    """
    log.spare("ray", "ray.serve", "asyncio")  # of a node that dies they tell hundreds of times
    serve.start(proxy_location="Disabled", logging_config=_QUIET)
    given = choices(settings)
    threads = settings.cluster_threads
    most = settings.cluster_replicas or max(1, ceil(cores() / threads))
    on_node = max(1, most_cores() // threads)
    alike = _fingerprint(given, threads, settings.cluster_share, most)
    applications = {
        capability: _deployment(
            Networks, threads, threads * settings.cluster_share, int(capability in settings.preload), most, on_node
        ).bind(capability, given)
        for capability in get_args(Capability)
    }
    applications[GALLERY] = _deployment(Galleries, SEARCHES, settings.cluster_share, 1, most, 1).bind(given)
    names = {name: f"regard-{name}-{alike}" for name in applications}
    there = serve.status().applications
    targets = [
        serve.RunTarget(applications[name], name=full, route_prefix=None, logging_config=_QUIET)
        for name, full in names.items()
        if full not in there or there[full].status == ApplicationStatus.DEPLOY_FAILED
    ]
    if targets:
        try:
            serve.run_many(targets)
        except RuntimeError as error:
            raise ClusterError(f"the nodes cannot run it: {error}") from error
    return {name: serve.get_app_handle(full) for name, full in names.items()}


def _deployment(of: type, at_once: int, reserved: float, least: int, most: int, on_node: int) -> serve.Deployment:
    """`at_once` are worked on at a time, and as many wait in the replica, so that it need not wait for the next."""
    return serve.deployment(  # type: ignore[return-value]
        of,
        ray_actor_options={"num_cpus": reserved},
        max_replicas_per_node=on_node,
        max_ongoing_requests=2 * at_once,
        autoscaling_config={
            "min_replicas": least,
            "max_replicas": max(least, most),
            "target_ongoing_requests": 1.5 * at_once,
            "upscale_delay_s": _UPSCALE_S,
            "downscale_delay_s": _DOWNSCALE_S,
        },
        health_check_timeout_s=60,
        logging_config=_QUIET,
    )


def _fingerprint(*of: Any) -> str:
    """Equal for what is deployed alike. Another version of Regard deploys its own beside what is there."""
    return hashlib.sha256(repr((version("regard"), of)).encode()).hexdigest()[:8]
