"""`regard init`, `regard serve` and `regard worker`."""

import atexit
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from regard.cli.common import Json, explained, noted, open_database, unsealed
from regard.cli.keys import Purpose, check, show_key, warn_of_no_purpose
from regard.settings import Settings, settings

if TYPE_CHECKING:
    from regard.jobs.work import Work
    from regard.jobs.worker import Worker
    from regard.operations.context import Services

    Elsewhere = Callable[[Mapping[str, Work]], Mapping[str, Work]]


def init(purpose: Purpose = None, as_json: Json = False) -> None:
    """Make the data folder, the database and the first access key, and print the key.

    `--purpose` says what it may be used for, `photo-search` for example; docs/use-policy.md lists the purposes.

    Run it once. It changes nothing where there is a key already: `regard keys create` makes more.
    """
    from regard.store import keys as stored
    from regard.use import keys

    with unsealed() as (sealer, database), database.begin() as connection:
        if stored.first_account(connection) is not None:
            typer.echo("This deployment has been initialised: `regard keys create` makes another key.", err=True)
            raise typer.Exit(1)
        check(connection, purpose, keys.DEFAULT_ROLE)
        key = keys.create(connection, sealer, "made by regard init", purpose=purpose)
        noted(connection, database, "key-created", resource=key.access_key_id, account=key.account_id)
    warn_of_no_purpose(key.access_key_id, purpose)
    show_key(key.access_key_id, key.secret_access_key, key.account_id, as_json=as_json)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; REGARD_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; REGARD_PORT.")] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Use the Ray cluster at HOST:PORT, or `auto`, the one that this machine is in."),
    ] = None,
) -> None:
    """Answer AWS clients until stopped."""
    if cluster is not None:
        from regard.cli import cluster as on_cluster

        on_cluster.serve(begin(host, port), cluster)
        return
    chosen = begin(host, port)
    end_by_exit()
    run(chosen, _services(chosen))


def begin(host: str | None = None, port: int | None = None) -> Settings:
    """The settings, with what the command line says of where to listen; and logs and memory as they want them."""
    from regard import heap, log

    chosen = settings().model_copy(
        update={name: value for name, value in (("host", host), ("port", port)) if value is not None}
    )
    log.configure(chosen.log_level, as_json=chosen.log_json)
    heap.keep_small(chosen.threads)
    return chosen


def run(chosen: Settings, services: "Services", elsewhere: "Elsewhere | None" = None) -> None:
    """Answer until stopped; `elsewhere` says how parts of jobs are done where it is not here."""
    from regard import exposition, log, serving
    from regard.app import create_app
    from regard.readiness import Readiness
    from regard.use.sweeper import Sweeper

    with explained():
        exposition.serve(services)
    log.log_start(chosen)
    Sweeper(chosen, services.audit).start()
    # The embedded database ends at the process' exit, and threads that are left then must not start it again.
    with (
        closing(services.database),
        _worker(services, chosen.workers, elsewhere) if chosen.workers else nullcontext(),
    ):
        readiness = Readiness(services.database)
        serving.run(create_app(services, readiness), chosen, readiness)


def worker() -> None:
    """Work on jobs, beside a server on this machine or on others that share its database, until stopped.

    It needs what the server has: REGARD_DATABASE_URL, the master key, the buckets and the networks. REGARD_WORKERS
    says how many parts of jobs it works on at once.
    """
    from regard import exposition, log

    chosen = begin()
    end_by_exit()
    services = _services(chosen)
    with explained():
        exposition.serve(services)
    with closing(services.database), _worker(services, max(chosen.workers, 1)):
        log.log_work(chosen)
        signal.pause()


def end_by_exit() -> None:
    """Leave through SystemExit, so that work under way is laid down and the embedded database is stopped.

    uvicorn passes the signal on once it has shut down.
    """
    from regard import log

    atexit.register(log.log_end)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))


def _services(chosen: Settings) -> "Services":
    from regard.gallery.gallery import Gallery
    from regard.media.storage import ObjectStore
    from regard.operations.context import Services
    from regard.use.audit import AuditLog
    from regard.vision.engines import Engines

    with explained():
        vision = Engines(chosen)
        vision.load(chosen.preload)
        sealer, database = open_database()
        gallery = Gallery(database, None if chosen.gallery_memory is None else chosen.gallery_memory << 20)
        gallery.keep_tidy()
        return Services(
            chosen,
            database,
            sealer,
            vision,
            gallery,
            ObjectStore(chosen),
            AuditLog(database, sealer, cores=chosen.threads),
        )


def _worker(services: "Services", at_once: int, elsewhere: "Elsewhere | None" = None) -> "Worker":
    from regard.jobs.notify import Notifier
    from regard.jobs.runner import Runner
    from regard.jobs.worker import Worker
    from regard.operations import works
    from regard.use.resuming import at_end, context_of

    kinds = works(services, context_of(services))
    runner = Runner(
        services.settings,
        services.database,
        kinds if elsewhere is None else elsewhere(kinds),
        Notifier(services.settings),
        at_end(services.audit),
    )
    return Worker(runner, at_once)
