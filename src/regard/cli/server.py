"""`regard init`, `regard serve` and `regard worker`."""

import signal
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from regard.cli.common import Json, explained, noted, open_database
from regard.cli.keys import Purpose, check, show_key, warn_of_no_purpose
from regard.settings import Settings, settings

if TYPE_CHECKING:
    from regard.jobs.worker import Worker
    from regard.operations.context import Services


def init(purpose: Purpose = None, as_json: Json = False) -> None:
    """Make the data folder, the database and the first access key, and print the key.

    `--purpose` says what it may be used for, `photo-search` for example; docs/use-policy.md lists the purposes.

    Run it once. It changes nothing where there is a key already: `regard keys create` makes more.
    """
    from regard.store import keys as stored
    from regard.use import keys

    with explained():
        sealer, database = open_database()
        with database.begin() as connection:
            if stored.first_account(connection) is not None:
                typer.echo("This deployment has been initialised: `regard keys create` makes another key.", err=True)
                raise typer.Exit(1)
            check(connection, purpose, keys.DEFAULT_ROLE)
            key = keys.create(connection, sealer, "made by regard init", purpose=purpose)
            noted(connection, database, "key-created", resource=key.access_key_id, account=key.account_id)
        database.close()
    warn_of_no_purpose(key.access_key_id, purpose)
    show_key(key.access_key_id, key.secret_access_key, key.account_id, as_json=as_json)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; REGARD_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; REGARD_PORT.")] = None,
) -> None:
    """Answer AWS clients until stopped."""
    import uvicorn

    from regard import log
    from regard.app import create_app
    from regard.use.sweeper import Sweeper

    chosen = settings().model_copy(
        update={name: value for name, value in (("host", host), ("port", port)) if value is not None}
    )
    log.configure(chosen.log_level, as_json=chosen.log_json)
    _end_by_exit()
    services = _services(chosen)
    log.log_start(chosen)
    Sweeper(chosen, services.audit).start()
    with _worker(services, chosen.workers) if chosen.workers else nullcontext():
        uvicorn.run(
            create_app(services),
            host=chosen.host,
            port=chosen.port,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=bool(chosen.proxies),
            forwarded_allow_ips=list(chosen.proxies),
            timeout_graceful_shutdown=30,
        )


def worker() -> None:
    """Work on jobs, beside a server on this machine or on others that share its database, until stopped.

    It needs what the server has: REGARD_DATABASE_URL, the master key, the buckets and the networks. REGARD_WORKERS
    says how many parts of jobs it works on at once.
    """
    from regard import log

    chosen = settings()
    log.configure(chosen.log_level, as_json=chosen.log_json)
    _end_by_exit()
    services = _services(chosen)
    with _worker(services, max(chosen.workers, 1)):
        log.log_work(chosen)
        signal.pause()


def _end_by_exit() -> None:
    """Leave through SystemExit, so that work under way is laid down and the embedded database is stopped.

    uvicorn passes the signal on once it has shut down.
    """
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
        return Services(
            chosen, database, sealer, vision, Gallery(database), ObjectStore(chosen), AuditLog(database, sealer)
        )


def _worker(services: "Services", at_once: int) -> "Worker":
    from regard.jobs.notify import Notifier
    from regard.jobs.runner import Runner
    from regard.jobs.worker import Worker
    from regard.operations import works
    from regard.use.resuming import context_of, on_record

    runner = Runner(
        services.settings,
        services.database,
        works(services, context_of(services)),
        Notifier(services.settings),
        on_record(services.audit),
    )
    return Worker(runner, at_once)
