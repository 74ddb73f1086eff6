"""What every command needs: errors told in a sentence, the database, where to print."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import psutil
import typer
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy.engine import Connection

from regard.settings import settings
from regard.store.database import Database
from regard.use.seal import Sealer, load_sealer

if TYPE_CHECKING:
    from regard.use.audit import AuditLog

console = Console()
COMMAND = "command"  # the event of the audit log for what operators do for or about people
AccountId = Annotated[str | None, typer.Option("--account", help="12 digits. [default: the first account]")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def out_option(purpose: str) -> Any:
    """The option of a file to write: that it can be made is found out before what it is to tell of is done."""
    return typer.Option("-o", "--out", dir_okay=False, writable=True, callback=_creatable, help=purpose)


def _creatable(file: Path | None) -> Path | None:
    if file is not None and not file.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {file.parent}.")
    return file


@contextmanager
def explained() -> Iterator[None]:
    """End with a sentence instead of a traceback where the operator can help himself."""
    try:
        yield
    except ValidationError as error:
        end("; ".join(f"REGARD_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()), error)
    except OSError as error:
        if error.filename is not None:
            end(f"{error.filename}: {error.strerror}", error)
        raise
    except UnicodeDecodeError as error:
        end("a file that is to be text in UTF-8 is not", error)
    except Exception as error:
        if isinstance(error, _explaining()):
            end(str(error), error)
        raise


@contextmanager
def opened(*, migrated: bool = True) -> Iterator[Database]:
    """The database, for as long as a command is at work; its errors are explained."""
    with explained(), closing(Database.open(settings(), migrated=migrated)) as database:
        yield database


@contextmanager
def unsealed() -> Iterator[tuple[Sealer, Database]]:
    """The database and what opens its secrets, likewise."""
    with explained():
        sealer, database = open_database()
        with closing(database):
            yield sealer, database


@contextmanager
def open_log() -> "Iterator[AuditLog]":
    """The audit log of this deployment, likewise, with its database and what opens the secrets."""
    from regard.use.audit import AuditLog

    with unsealed() as (sealer, database), closing(AuditLog(database, sealer)) as log:
        yield log


def _explaining() -> tuple[type[Exception], ...]:
    """Exceptions whose message explains to the operator; imported when there is one, for a command must start fast."""
    from regard.evaluate.result import EvaluationError
    from regard.exposition import PortError
    from regard.store.backup import BackupError
    from regard.store.database import DatabaseError
    from regard.store.scrub import ScrubError
    from regard.use.audit import AuditError
    from regard.use.audit.merkle import ProofError
    from regard.use.consent import ConsentError
    from regard.use.keys import AccountError
    from regard.use.receipts import ReceiptError
    from regard.use.seal import SealError
    from regard.use.subjects import SubjectError
    from regard.vision.download import DownloadError
    from regard.vision.models import ModelError

    return (
        AccountError,
        AuditError,
        BackupError,
        PortError,
        ProofError,
        DatabaseError,
        SealError,
        ModelError,
        DownloadError,
        EvaluationError,
        ConsentError,
        ReceiptError,
        ScrubError,
        SubjectError,
        BotoCoreError,
        ClientError,
    )


def end(text: str, cause: Exception) -> NoReturn:
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(1) from cause


def account_of(database: Database, account_id: str | None) -> str:
    """The account that a command is about: the one that is named, else the first."""
    from regard.store import keys
    from regard.use.keys import AccountError

    with database.read() as connection:
        known = [account.account_id for account in keys.every_account(connection)]
        first = keys.first_account(connection)
    chosen = account_id or first
    if chosen not in known:
        raise AccountError(f"There is no account {account_id}." if account_id else "Run `regard init` first.")
    return chosen


def noted(connection: Connection, database: Database, event: str, **facts: Any) -> None:
    """Put what the operator does on record, with it or not at all; the last thing in its transaction. Name nobody."""
    from regard.use.audit import AuditLog

    sealer = load_sealer(settings())
    _check_master_key(connection, sealer)
    log = AuditLog(database, sealer)
    log.write(connection, event, facts, principal=f"user:{psutil.Process().username()}")


def open_database() -> tuple[Sealer, Database]:
    """The database, which is the caller's to close, and what opens its secrets; the wrong master key is found out here,
    not by a client."""
    sealer = load_sealer(settings())
    database = Database.open(settings(), pool_size=settings().connections)
    try:
        with database.begin() as connection:
            _check_master_key(connection, sealer)
    except BaseException:
        database.close()
        raise
    return sealer, database


def _check_master_key(connection: Connection, sealer: Sealer) -> None:
    """SealError if another master key sealed the secrets of this database."""
    from regard.store import keys

    for key in keys.every(connection)[-1:]:
        sealer.unseal(key.sealed_secret, key.access_key_id)
