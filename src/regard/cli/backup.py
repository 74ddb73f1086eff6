"""`regard backup` and `regard restore`."""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regard.cli.common import COMMAND, console, explained, noted, opened, unsealed
from regard.settings import settings

if TYPE_CHECKING:
    from regard.store.backup import Manifest, Told
    from regard.use.seal import Sealer

_MASTER_KEY = "REGARD_MASTER_KEY"
_LEAST_PASSPHRASE = 12

PassphraseFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Whose first line is the passphrase. [default: it is asked for]"),
]


def backup(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="The file to write; it must not be there.")],
    passphrase_file: PassphraseFile = None,
    with_master_key: Annotated[
        bool, typer.Option("--with-master-key", help="Put the master key in, too; else keep a copy of it elsewhere.")
    ] = False,
) -> None:
    """Write database and settings to one encrypted file, while servers go on.

    It holds what was committed when it began, embeddings and all: biometric data. docs/backup.md says what to do
    about people who are erased later.
    """
    from regard.store import backup as backups
    from regard.store.backup import BackupError, Manifest

    with explained():
        if file.exists():
            raise BackupError(f"{file} is there already")
        passphrase = _passphrase(passphrase_file, confirm=True)
    with unsealed() as (sealer, database):
        with database.begin() as connection:
            revision = backups.revision(connection)
            noted(connection, database, COMMAND, op="Backup", details={"master_key": str(with_master_key).lower()})
        manifest = Manifest(
            datetime.now(UTC).isoformat(timespec="seconds"),
            version("regard"),
            revision,
            backups.major_version(database),
            sealer.fingerprint,
            _settings(with_master_key=with_master_key),
            base64.b64encode(sealer.master_key).decode() if with_master_key else None,
        )
        draft = file.with_name(f"{file.name}.part")
        draft.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                with _progress("writing", None) as told:
                    backups.write(database, out, passphrase, manifest, told)
                out.flush()
                os.fsync(out.fileno())
            draft.rename(file)
        except OSError as error:
            raise BackupError(f"{file} cannot be written: {error}") from error
        finally:
            draft.unlink(missing_ok=True)
    typer.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB, of {manifest.made_at}.")
    if with_master_key:
        typer.echo("The master key is in it: whoever has the passphrase can sign as every client.")
    else:
        typer.echo(
            f"The master key ({sealer.fingerprint}) is NOT in it. Without it nothing can be restored: keep a copy."
        )


def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `regard backup` wrote.")],
    passphrase_file: PassphraseFile = None,
    reapply_deletions: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Receipts of deletions since the backup, which are done again."),
    ] = None,
) -> None:
    """Bring a backup back into an empty deployment, all of it or nothing.

    The file is read through first: one that was cut or changed is refused before anything is written.
    """
    from regard.store import backup as backups
    from regard.store.backup import BackupError
    from regard.store.database import revisions
    from regard.use import receipts, repeating
    from regard.use.audit import AuditLog

    with explained(), file.open("rb") as source:
        passphrase, size = _passphrase(passphrase_file, confirm=False), file.stat().st_size
        with _progress("checking", size) as told:
            manifest = backups.read(source, passphrase, told)
        if manifest.revision not in revisions():
            raise BackupError(f"the backup was made by Regard {manifest.version}, which is later than this one")
        sealer, is_new = _sealer_for(manifest)
        documents = (
            None
            if reapply_deletions is None
            else receipts.verify(reapply_deletions.read_bytes(), receipts.public_key(sealer))
        )
        with opened(migrated=False) as database:
            with database.read() as connection:
                if not backups.is_empty(connection):
                    raise BackupError(
                        "there is a deployment here already: restore into an empty database or REGARD_HOME"
                    )
            with _progress("restoring", size) as told:
                backups.restore(database, source, passphrase, told)
            if is_new:
                _write_new(settings().home / "master.key", sealer.master_key)
            database.migrate()
            with database.begin() as connection:
                noted(connection, database, COMMAND, op="Restore", details={"backup_of": manifest.made_at})
            if manifest.settings is not None:
                _write_new(settings().home / "regard.env.restored", manifest.settings.encode())
                typer.echo("Its settings are in regard.env.restored: look through them, and call it regard.env.")
            left = None
            if documents is not None:
                left = repeating.repeat(AuditLog(database, sealer), documents, datetime.now(UTC))
    typer.echo(f"The deployment is as it was at {manifest.made_at}.")
    if left is None:
        typer.echo(
            "Whoever was erased after that is here again: erase them before you start the server (docs/backup.md)."
        )
        return
    typer.echo(f"{left.faces} faces that had been deleted after that are deleted again.")
    for receipt_id, why in left.left:
        typer.echo(f"receipt {receipt_id} is not repeated in full: {why}", err=True)
    if left.left:
        raise typer.Exit(1)


def _passphrase(file: Path | None, *, confirm: bool) -> bytes:
    from regard.store.backup import BackupError

    if file is not None:
        text = file.read_text().partition("\n")[0].rstrip("\r")
    else:
        text = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm)
    if confirm and len(text) < _LEAST_PASSPHRASE:
        raise BackupError(
            f"a passphrase of {_LEAST_PASSPHRASE} characters is the least: the file may lie around for years"
        )
    return str(text).encode()


def _settings(*, with_master_key: bool) -> str | None:
    """The text of `regard.env`; the master key only if it is wanted."""
    path = settings().home / "regard.env"
    if not path.exists():
        return None
    lines = path.read_text().splitlines(keepends=True)
    return "".join(line for line in lines if with_master_key or _MASTER_KEY not in line.upper())


def _sealer_for(manifest: "Manifest") -> "tuple[Sealer, bool]":
    """What opens the backup's secrets, and whether its key came with it and is to be written."""
    from regard.store.backup import BackupError
    from regard.use.seal import Sealer, load_sealer

    is_new = settings().master_key is None and not (settings().home / "master.key").exists()
    if is_new and manifest.master_key is None:
        raise BackupError(
            f"the master key ({manifest.master_key_fingerprint}) is not in the backup: put your copy of it at "
            f"{settings().home / 'master.key'}, or in {_MASTER_KEY}"
        )
    sealer = Sealer(base64.b64decode(manifest.master_key or "")) if is_new else load_sealer(settings())
    if sealer.fingerprint != manifest.master_key_fingerprint:
        raise BackupError(
            f"the master key here ({sealer.fingerprint}) is not the backup's ({manifest.master_key_fingerprint})"
        )
    return sealer, is_new


def _write_new(path: Path, content: bytes) -> None:
    """A file for this user only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


@contextmanager
def _progress(what: str, size: int | None) -> "Iterator[Told]":
    """A bar for people, on a terminal only; what it gives is told of bytes."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=size)
        yield lambda nbytes: progress.advance(task, nbytes)
