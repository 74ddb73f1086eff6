"""`regard up`, and `regard serve --cluster`: the server with its networks on a Ray cluster."""

import os
import time
from contextlib import AbstractContextManager
from functools import partial
from math import ceil
from typing import Annotated, NoReturn

import typer

from regard.cli.common import console, end, explained, open_database
from regard.settings import Settings


def up(
    nodes: Annotated[int, typer.Option(help="How many nodes; more than one is for trying things out.", min=1)] = 1,
    cores: Annotated[int | None, typer.Option(help="Cores of each. [default: this machine's, shared out]")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; REGARD_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; REGARD_PORT.")] = None,
) -> None:
    """Start a Ray cluster on this machine and answer AWS clients with it, until stopped; then all of it ends."""
    from regard.cli.server import begin
    from regard.cluster import require_token

    require_token()
    try:
        from regard.cluster.nodes import local
    except ImportError as error:
        _end_without_ray(error)
    chosen = begin(host, port)
    each = cores or ceil(len(os.sched_getaffinity(0)) / nodes)
    _serve(chosen, local(nodes, each, chosen.cluster_store_mb), local_database=True)


def serve(chosen: Settings, address: str) -> None:
    """Answer with the cluster at an address until stopped; the cluster goes on."""
    try:
        from regard.cluster.nodes import joined
    except ImportError as error:
        _end_without_ray(error)
    _serve(chosen, joined(address, chosen.cluster_store_mb), local_database=False)


def _end_without_ray(error: ImportError) -> NoReturn:
    end("Ray is not installed: pip install 'regard[cluster]'", error)


def _serve(chosen: Settings, cluster: AbstractContextManager[None], *, local_database: bool) -> None:
    """`local_database`: the nodes are this machine's, and get to know the front's database through the environment."""
    from regard.cli.server import end_by_exit, run
    from regard.cluster import work
    from regard.cluster.deployments import deploy
    from regard.cluster.engines import RemoteEngines
    from regard.cluster.gallery import RemoteGallery
    from regard.cluster.node import choices
    from regard.cluster.nodes import ClusterError, alive, cores
    from regard.media.storage import ObjectStore
    from regard.operations.context import Services
    from regard.use.audit import AuditLog

    started = time.monotonic()

    def tell(what: str) -> None:
        console.print(f"[{time.monotonic() - started:5.1f} s] {what}", highlight=False, markup=False)

    end_by_exit()
    with explained():
        sealer, database = open_database()
    if local_database:
        os.environ["REGARD_DATABASE_URL"] = database.url
    try:
        with cluster:
            end_by_exit()  # Ray has put a handler of its own in its place
            there = cores()
            tell(f"{alive()} nodes with {there} cores in all; starting {', '.join(chosen.preload) or 'no networks'}")
            with explained():
                handles = deploy(chosen)
                # A front waits more than it works: for each core there is a request under way, and a part of a job.
                scaled = {name: max(there, 1) for name in ("threads", "workers") if name not in chosen.model_fields_set}
                chosen = chosen.model_copy(update=scaled)
                vision = RemoteEngines(chosen, handles)
            services = Services(
                chosen,
                database,
                sealer,
                vision,
                RemoteGallery(database, handles["gallery"]),
                ObjectStore(chosen),
                AuditLog(database, sealer),
            )
            tell(f"serving on {chosen.endpoint}")
            share = chosen.cluster_threads * chosen.cluster_share
            run(chosen, services, partial(work.remote, given=choices(chosen), cores=share))
    except ClusterError as error:
        end(str(error), error)
