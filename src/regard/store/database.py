"""The connection to PostgreSQL, embedded or yours, and its migrations."""

import math
import os
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.engine import URL, Connection, make_url

from regard.settings import Settings
from regard.store import queue
from regard.store.direct import Direct
from regard.store.embedded import EmbeddedPostgres, RevivalError

MINIMUM_VERSION = 14
_MIGRATION_LOCK = 0x52656761_7264  # "Regard": one process migrates at a time
_CONNECT_TIMEOUT_S = 5
_TRUSTED_S = 0.5  # for so long after its last use a connection is taken to be alive if it is not closed
_USED = "used"
_LIFETIME_S = 300  # of a connection: PostgreSQL's process keeps what it has looked up and planned for it, and grows
_CONNECT_PATIENCE_S = 20.0
_KEPT = 4  # idle connections of the pool; more were needed at a peak only, and each takes PostgreSQL 2 to 4 MB
_AT_HAND = 4  # connections for short statements: more than there are cores would wait for each other
_LOCK_PATIENCE_S = 10  # for another change of the same collection to end
# Days are counted in UTC, wherever PostgreSQL believes to be.
_OPTIONS = f"-c lock_timeout={_LOCK_PATIENCE_S}s -c timezone=UTC"
_CONNECT = {"connect_timeout": _CONNECT_TIMEOUT_S, "options": _OPTIONS}


class DatabaseError(Exception):
    """The database cannot be used; the text tells the operator why."""


Executor = psycopg.Connection[Any] | psycopg.Cursor[Any] | Direct
"""What short statements are executed by: psycopg's connection, a cursor of one, or what does without."""


class _AtHand(NamedTuple):
    """A connection for short statements, and when it was made and used last, by the monotonic clock."""

    direct: Direct
    made: float
    used: float


class Database:
    """A pool of connections to an up-to-date schema."""

    def __init__(
        self, url: URL, pool_size: int, embedded: EmbeddedPostgres | None = None, *, migrated: bool = True
    ) -> None:
        """At most `pool_size` transactions at a time; who comes later waits."""
        self.engine = sa.create_engine(
            url,
            pool_size=min(pool_size, _KEPT),
            max_overflow=max(pool_size - _KEPT, 0),
            pool_recycle=_LIFETIME_S,
            connect_args=_CONNECT,
            hide_parameters=True,  # they hold embeddings and sealed secrets, and errors are logged
        )
        # Without the messages that begin and end a transaction, which cost as much as a query.
        self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._at_hand: deque[_AtHand] = deque()
        self._places = threading.BoundedSemaphore(_AT_HAND)
        self._embedded = embedded
        sa.event.listen(self.engine, "do_connect", self._connect)
        sa.event.listen(self.engine, "checkout", self._check)
        sa.event.listen(self.engine, "checkin", self._come_back)
        self._closed = False
        try:
            self._require_version()
            if migrated:
                self.migrate()
        except BaseException:
            self.close()
            raise

    def _require_version(self) -> None:
        try:
            with self.engine.connect() as connection:
                version = connection.connection.driver_connection.info.server_version  # type: ignore[union-attr]
        except sa.exc.OperationalError as error:
            raise DatabaseError(f"cannot reach the database: {error.orig}") from error
        if version // 10_000 < MINIMUM_VERSION:
            raise DatabaseError(f"PostgreSQL {MINIMUM_VERSION} or later is needed, this is {version // 10_000}")

    def migrate(self) -> None:
        """Bring the tables up to date. Raises `DatabaseError`."""
        try:
            migrate(self.engine)
        except sa.exc.ProgrammingError as error:
            raise DatabaseError(f"the tables cannot be made: {error.orig}") from error
        except CommandError as error:
            raise DatabaseError(f"the database is of a later version of Regard than this one: {error}") from error

    @classmethod
    def open(cls, settings: Settings, pool_size: int = 5, *, migrated: bool = True) -> "Database":
        """The database that the settings name, started if it is the embedded one, and migrated unless told not to."""
        if settings.database_url is not None:
            url = make_url(settings.database_url.get_secret_value())
            if url.get_backend_name() not in ("postgresql", "postgres"):
                raise DatabaseError(f"REGARD_DATABASE_URL must start with postgresql://, not {url.drivername}://")
            return cls(url.set(drivername="postgresql+psycopg"), pool_size, migrated=migrated)
        folder = settings.home / "postgres"
        try:
            embedded = EmbeddedPostgres(folder)
        except (subprocess.SubprocessError, AssertionError, OSError) as error:
            raise DatabaseError(f"the embedded PostgreSQL does not start, see {folder / 'log'}: {error}") from error
        return cls(make_url(embedded.url), pool_size, embedded, migrated=migrated)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for statements, each of which sees what is committed when it starts, and commits by itself."""
        with self._reading.connect() as connection:
            yield connection

    @contextmanager
    def at_hand(self) -> Iterator[Direct]:
        """For short statements that every request makes, each of which commits by itself.

        The errors are SQLAlchemy's here, too. There are few of these connections: wait for nothing else meanwhile.
        """
        with self._places:
            taken = self._taken()
            connection = taken.direct.connection
            try:
                with _errors_of_sqlalchemy(connection):
                    yield taken.direct
            finally:
                if not connection.closed:
                    taken.direct.forget()
                    self._at_hand.append(_AtHand(taken.direct, taken.made, time.monotonic()))
                if self._closed:  # while this one was out
                    self._close_at_hand()

    def _taken(self) -> "_AtHand":
        """The connection used last, if it is alive and not too old, or a new one."""
        while self._at_hand:
            with suppress(IndexError, psycopg.Error):
                last = self._at_hand.pop()
                connection = last.direct.connection
                if time.monotonic() - last.made < _LIFETIME_S and self._is_alive(connection, last.used):
                    return last
                connection.close()
        direct, now = Direct(self.connect_apart()), time.monotonic()
        return _AtHand(direct, now, now)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back on an exception."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction whose statements all see the same state; for reading."""
        with self.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            yield connection

    @property
    def url(self) -> str:
        """Where the database is, as `REGARD_DATABASE_URL` says it to other processes. The password is in it."""
        return self.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)

    @property
    def conninfo(self) -> str:
        """Where the database is, as libpq reads it, for connections of others' own. The password is in it."""
        return psycopg.conninfo.make_conninfo(self.url, connect_timeout=_CONNECT_TIMEOUT_S)

    @property
    def folder(self) -> Path | None:
        """Where the embedded PostgreSQL keeps its files; None for another one."""
        return None if self._embedded is None else self._embedded.folder

    @property
    def room(self) -> float:
        """How many bytes are free where the embedded PostgreSQL keeps its files; another one's disk is not known."""
        if self.folder is None:
            return math.inf
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    @property
    def used_connections(self) -> int:
        """How many connections of the pool are at work."""
        return cast(sa.QueuePool, self.engine.pool).checkedout()

    def connect_apart(self) -> psycopg.Connection[Any]:
        """A connection outside the pool, the caller's own; each statement commits unless a transaction is begun."""
        connection = self._connect(None, None, [self.conninfo], _CONNECT)
        connection.autocommit = True
        return connection

    def revive(self) -> None:
        """Start the embedded database again if it has died; to do so for another one is its operator's."""
        if self._embedded is not None and not self._closed:
            with suppress(RevivalError):  # whoever connects next tries again, and is told
                self._embedded.revive()

    def close(self) -> None:
        """Connections that are out are closed when they come back, and an embedded database is not revived any more."""
        self._closed = True
        self._close_at_hand()
        self.engine.dispose()

    def _close_at_hand(self) -> None:
        with suppress(IndexError):
            while True:
                self._at_hand.pop().direct.connection.close()

    def _check(self, connection: Any, record: Any, _proxy: Any) -> None:
        """Have a connection replaced whose other end is gone: a restarted database costs a reconnect, not an error.

        The new one is not looked at: were its end gone, too, SQLAlchemy would give up with an error that does not tell
        of a database that is away, as the first statement's does.
        """
        used = record.info.get(_USED)
        if used is not None and not self._is_alive(connection, used):
            raise sa.exc.DisconnectionError("the server does not answer")

    def _come_back(self, _connection: Any, record: Any) -> None:
        record.info[_USED] = time.monotonic()
        if self._closed:
            record.close()

    def _is_alive(self, connection: psycopg.Connection[Any], used: float) -> bool:
        """Whether the other end is there, of an idle connection.

        Asking costs a round trip, so one that was used a moment ago is only looked at: a server that ends closes its
        connections, and there is nothing else to read from one that is idle.
        """
        try:
            if time.monotonic() - used > _TRUSTED_S:
                return bool(self.engine.dialect.do_ping(connection))  # type: ignore[arg-type]
            looked_at = select.poll()
            looked_at.register(connection.fileno(), select.POLLIN)
            return not looked_at.poll(0)
        except psycopg.Error:
            return False

    def _connect(self, _dialect: Any, _record: Any, args: Any, kwargs: Any) -> psycopg.Connection[Any]:
        """Connect; an embedded database that died is revived and waited for."""
        deadline = time.monotonic() + (_CONNECT_PATIENCE_S if self._embedded else 0.0)
        pause = 0.05
        while True:
            try:
                return psycopg.connect(*args, **kwargs)
            except psycopg.OperationalError:
                if self._embedded is None or self._closed or time.monotonic() + pause > deadline:
                    raise
            self.revive()
            time.sleep(pause)
            pause *= 2


def raw(connection: Connection) -> psycopg.Connection[Any]:
    """Psycopg's own connection beneath, in the same transaction."""
    return connection.connection.driver_connection  # type: ignore[return-value]


@contextmanager
def short(connection: Connection) -> Iterator[psycopg.Cursor[Any]]:
    """Psycopg's own cursor for short statements in the same transaction; the errors are SQLAlchemy's."""
    under = raw(connection)
    with _errors_of_sqlalchemy(under), under.cursor() as cursor:
        yield cursor


@contextmanager
def _errors_of_sqlalchemy(connection: psycopg.Connection[Any]) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise sa.exc.DBAPIError.instance(
            None, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=connection.closed
        ) from error


def revisions() -> set[str]:
    """The migrations that this version of Regard knows."""
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(engine: sa.Engine) -> None:
    """Bring the schema up to date; safe when several processes start at once."""
    config = _config()
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        queue.update(connection)
