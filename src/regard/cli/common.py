"""What every command needs: errors told in a sentence, the database, where to print."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError
from rich.console import Console

from regard.evaluate.result import EvaluationError
from regard.settings import settings
from regard.store.database import Database, DatabaseError
from regard.use.seal import Sealer, SealError, load_sealer
from regard.vision.download import DownloadError
from regard.vision.models import ModelError

console = Console()
# What its message explains to the operator.
EXPLAINED = (DatabaseError, SealError, ModelError, DownloadError, EvaluationError, BotoCoreError, ClientError)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@contextmanager
def explained() -> Iterator[None]:
    """End with a sentence instead of a traceback where the operator can help himself."""
    try:
        yield
    except ValidationError as error:
        end("; ".join(f"REGARD_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()), error)
    except EXPLAINED as error:
        end(str(error), error)


def end(text: str, cause: Exception) -> NoReturn:
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(1) from cause


def open_database() -> tuple[Sealer, Database]:
    """The database and what opens its secrets; the wrong master key is found out here, not by a client."""
    from regard.store import keys as stored
    from regard.use import keys

    sealer = load_sealer(settings())
    database = Database.open(settings(), pool_size=settings().requests_at_once)
    with database.begin() as connection:
        for key in stored.every(connection)[-1:]:
            keys.principal(connection, sealer, key.access_key_id)
    return sealer, database
