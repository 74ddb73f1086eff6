"""`regard init` and `regard serve`."""

import signal
import sys
from typing import Annotated

import typer

from regard.cli.common import Json, explained, open_database
from regard.cli.keys import show_key
from regard.settings import settings


def init(as_json: Json = False) -> None:
    """Make the data folder, the database and the first access key, and print the key.

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
            key = keys.create(connection, sealer, "made by regard init")
        database.close()
    show_key(key.access_key_id, key.secret_access_key, key.account_id, as_json=as_json)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; REGARD_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; REGARD_PORT.")] = None,
) -> None:
    """Answer AWS clients until stopped."""
    import uvicorn

    from regard import log
    from regard.app import create_app
    from regard.gallery.gallery import Gallery
    from regard.media.storage import ObjectStore
    from regard.operations.context import Services
    from regard.vision.engines import Engines

    chosen = settings().model_copy(
        update={name: value for name, value in (("host", host), ("port", port)) if value is not None}
    )
    log.configure(chosen.log_level, as_json=chosen.log_json)
    # uvicorn passes the signal on once it has shut down; leaving through SystemExit lets the embedded
    # database be stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    with explained():
        vision = Engines(chosen)
        vision.load(chosen.preload)
        sealer, database = open_database()
        services = Services(chosen, database, sealer, vision, Gallery(database), ObjectStore(chosen))
    log.log_start(chosen)
    uvicorn.run(
        create_app(services),
        host=chosen.host,
        port=chosen.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=30,
    )
