"""The database: schema, migrations, several processes, death and revival."""

import ctypes
import getpass
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from regard.settings import Settings
from regard.store import collections, keys
from regard.store.database import Database, DatabaseError, migrate, raw
from regard.store.embedded import EmbeddedPostgres
from regard.store.tables import metadata

ACCOUNT = "123456789012"
_PR_SET_CHILD_SUBREAPER = 36  # Linux's prctl(2)


def test_migrations_make_what_the_tables_say(database: Database) -> None:
    with database.begin() as connection:
        ours = {"compare_server_default": True, "include_name": lambda name, *_: "procrastinate" not in (name or "")}
        context = MigrationContext.configure(connection, opts=ours)
        differences = compare_metadata(context, metadata)
    assert differences == []


def test_several_processes_may_migrate_at_once(database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    failures: list[Exception] = []

    def run() -> None:
        try:
            migrate(database.engine)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with database.begin() as connection:
        assert keys.first_account(connection) is None


def test_an_unreachable_database_is_explained() -> None:
    elsewhere = Settings(database_url=SecretStr("postgresql://nobody:secret@127.0.0.1:1/none"))
    with pytest.raises(DatabaseError, match="cannot reach the database") as caught:
        Database.open(elsewhere)
    assert "secret" not in str(caught.value)


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(DatabaseError, match="must start with postgresql://"):
        Database.open(Settings(database_url=SecretStr("sqlite:///x.db")))


def test_only_the_user_who_runs_regard_may_connect(postgres: EmbeddedPostgres) -> None:
    engine = sa.create_engine(postgres.url)
    with engine.connect() as connection:
        rules = connection.exec_driver_sql("SELECT type, auth_method FROM pg_hba_file_rules").all()
        mapped = connection.exec_driver_sql("SELECT sys_name, pg_username FROM pg_ident_file_mappings").all()
    engine.dispose()
    assert [tuple(rule) for rule in rules] == [("local", "peer")]
    assert [tuple(pair) for pair in mapped] == [(getpass.getuser(), "postgres")]


def test_strangers_are_kept_out_from_the_first_start_on(tmp_path: Path) -> None:
    first = EmbeddedPostgres(tmp_path / "home" / "postgres")
    stranger = make_url(first.url).set(username="stranger")
    engine = sa.create_engine(stranger)
    with pytest.raises(sa.exc.OperationalError, match=r"pg_hba\.conf"):
        engine.connect()
    engine.dispose()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another user")
def test_folders_above_the_data_stay_unlisted(tmp_path: Path) -> None:
    above = tmp_path / "private"
    above.mkdir(mode=0o700)
    EmbeddedPostgres(above / "home" / "postgres")
    assert stat.S_IMODE(above.stat().st_mode) == 0o711


def test_errors_do_not_show_what_was_to_be_stored(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError) as caught, database.begin() as connection:
        keys.create(connection, "AKIA", "no account  ", b"a sealed secret", "")
    assert "sealed secret" not in str(caught.value)


def test_a_connection_at_hand_is_replaced_when_it_broke_and_raises_the_errors_of_all_others(database: Database) -> None:
    with database.at_hand() as first:
        first.execute("SELECT 1")
    with pytest.raises(sa.exc.OperationalError) as caught, database.at_hand() as same:
        assert same is first
        same.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert caught.value.connection_invalidated
    with database.at_hand() as second:
        pid = second.connection.info.backend_pid
    with database.begin() as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with database.at_hand() as third:
        assert third is not second
        assert third.execute("SELECT 1").fetchone() == (1,)


def test_a_connection_at_hand_does_not_hold_what_it_answered(database: Database) -> None:
    with database.at_hand() as first:
        first.execute("SELECT generate_series(1, 100)")
    with database.at_hand() as same:
        assert same is first
        assert same.fetchone() is None


def test_connections_do_not_grow_old(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def processes(database: Database) -> tuple[int, int]:
        with database.at_hand() as at_hand, database.begin() as connection:
            return at_hand.connection.info.backend_pid, raw(connection).info.backend_pid

    young = Database(database.engine.url, pool_size=1)
    assert processes(young) == processes(young)
    young.close()
    monkeypatch.setattr("regard.store.database._LIFETIME_S", 0)
    old = Database(database.engine.url, pool_size=1)
    assert not set(processes(old)) & set(processes(old))
    old.close()


def test_connections_of_a_peak_do_not_stay(database: Database) -> None:
    large = Database(database.engine.url.update_query_dict({"application_name": "large"}), pool_size=10)
    count = sa.text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'large'")
    with ExitStack() as peak, database.read() as other:
        for _ in range(10):
            peak.enter_context(large.read()).execute(sa.text("SELECT 1"))
        assert other.scalar(count) == 10
        peak.close()
        deadline = time.monotonic() + 10
        while other.scalar(count) > 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert other.scalar(count) == 4
    large.close()


def test_connections_that_are_out_when_a_database_is_closed_are_closed_when_they_come_back(
    database: Database,
) -> None:
    other = Database(database.engine.url, pool_size=1)
    with other.at_hand() as at_hand, other.begin() as connection:
        pooled = raw(connection)
        other.close()
        assert connection.scalar(sa.text("SELECT 1")) == 1
        assert at_hand.execute("SELECT 1").fetchone() == (1,)
    assert at_hand.connection.closed
    assert pooled.closed


def test_a_database_that_cannot_be_used_is_let_go(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    connected: list[psycopg.Connection[Any]] = []
    connect = psycopg.connect

    def connecting(*args: Any, **options: Any) -> psycopg.Connection[Any]:
        connected.append(connect(*args, **options))
        return connected[-1]

    monkeypatch.setattr(psycopg, "connect", connecting)
    with pytest.raises(DatabaseError, match="a later version of Regard"):
        Database(database.engine.url, pool_size=1)
    assert connected
    assert all(connection.closed for connection in connected)


def test_a_killed_postgres_is_revived_with_all_that_was_committed(tmp_path: Path) -> None:
    database = Database.open(Settings(home=tmp_path / "home"))
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
        collections.create(connection, ACCOUNT, "kept", "m")
    kill_postgres(tmp_path / "home")
    with database.begin() as connection:
        assert collections.find(raw(connection), ACCOUNT, "kept") is not None
    database.close()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("again", ["revived", "opened"])
def test_a_killed_postgres_that_nobody_buries_is_not_taken_for_a_living_one(
    tmp_path: Path, orphans_are_ours: None, again: str
) -> None:
    """In some containers the first process does not look after those whose parent is gone: a killed one stays dead."""
    settings = Settings(home=tmp_path / "home")
    database = Database.open(settings)
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
    first = postmaster(settings.home)
    assert first is not None
    family = [first, *first.children()]  # which notice a moment later
    first.kill()
    while any(process.status() != psutil.STATUS_ZOMBIE for process in family):
        time.sleep(0.01)
    if again == "opened":
        database.close()
        database = Database.open(settings)
    with database.begin() as connection:
        assert keys.first_account(connection) == ACCOUNT
    assert first.status() == psutil.STATUS_ZOMBIE
    database.close()


def test_a_killed_regard_that_nobody_buries_does_not_keep_postgres_running(tmp_path: Path) -> None:
    """Whoever leaves last stops it."""
    opens = (
        "import sys; from pathlib import Path; from regard.settings import Settings; "
        "from regard.store.database import Database; "
        f"database = Database.open(Settings(home=Path({str(tmp_path / 'home')!r}))); "
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", opens + "print('open', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"open\n"
        killed.kill()
        while psutil.Process(killed.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert postmaster(tmp_path / "home") is not None
        subprocess.run([sys.executable, "-c", opens + "database.close()"], check=True)
        assert postmaster(tmp_path / "home") is None


@pytest.fixture
def orphans_are_ours() -> Iterator[None]:
    """Processes whose parent has ended become children of this one, which leaves them alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = set(psutil.Process().children())
    assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 1) == 0
    yield
    assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 0) == 0
    for process in set(psutil.Process().children()) - before:
        process.kill()
        os.waitpid(process.pid, 0)


def test_an_ended_postgres_is_not_revived_by_whoever_still_asks_a_closed_database(tmp_path: Path) -> None:
    """A thread that woke while a server ended started what had just been stopped, and the server waited for it."""
    database = Database.open(Settings(home=tmp_path / "home"))
    database.close()
    with database.begin() as connection:  # what is to be written down at the very end still is
        keys.create_account(connection, ACCOUNT)
    kill_postgres(tmp_path / "home")
    with pytest.raises(psycopg.OperationalError):
        database.connect_apart()
    with pytest.raises(sa.exc.OperationalError), database.read():
        pass
    assert postmaster(tmp_path / "home") is None


@pytest.mark.parametrize("lines", [0, 1, 7])
def test_a_postgres_that_was_killed_while_it_started_is_revived(tmp_path: Path, lines: int) -> None:
    database = Database.open(Settings(home=tmp_path / "home"))
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
    file = tmp_path / "home" / "postgres" / "postmaster.pid"
    begun = "".join(file.read_text().splitlines(keepends=True)[:lines])
    kill_postgres(tmp_path / "home")
    file.write_text(begun)
    with database.read() as connection:
        assert keys.first_account(connection) == ACCOUNT
    database.close()


def test_a_database_that_dies_again_at_once_is_told_of_as_one_that_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a job that met it would fail for good: it is taken up again for errors that may pass."""
    connect, other = psycopg.connect, database.connect_apart()

    def end(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
        return connection

    for ask in (database.read, database.begin, database.snapshot):
        with database.read() as connection:
            end(raw(connection))
        with monkeypatch.context() as patched:
            patched.setattr(psycopg, "connect", lambda *args, **kwargs: end(connect(*args, **kwargs)))
            with pytest.raises(sa.exc.OperationalError), ask() as connection:
                connection.execute(sa.select(1))
        with ask() as connection:
            assert connection.execute(sa.select(1)).scalar_one() == 1
    other.close()


def postmaster(home: Path) -> psutil.Process | None:
    """The embedded database's first process."""
    with suppress(FileNotFoundError, psutil.NoSuchProcess):
        return psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0]))
    return None


def kill_postgres(home: Path) -> None:
    first = postmaster(home)
    assert first is not None
    family = [first, *first.children()]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family)


_HOLD = """
import sys, time
from pathlib import Path
from regard.settings import Settings
from regard.store import collections, keys
from regard.store.database import Database
database = Database.open(Settings(home=Path(sys.argv[1])))
with database.begin() as connection:
    keys.create_account(connection, "123456789012")
    collections.create(connection, "123456789012", "committed", "m")
with database.begin() as connection:
    collections.create(connection, "123456789012", "half-way", "m")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_loses_only_what_it_had_not_committed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(home)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
    database = Database.open(Settings(home=home))
    with database.begin() as connection:
        assert collections.find(raw(connection), ACCOUNT, "committed") is not None
        assert collections.find(raw(connection), ACCOUNT, "half-way") is None
    database.close()


def test_days_are_those_of_utc_wherever_postgresql_believes_to_be(database: Database) -> None:
    with database.begin() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f"ALTER DATABASE \"{name}\" SET timezone = 'America/Los_Angeles'")
    database.engine.dispose()
    with database.read() as connection:
        assert connection.exec_driver_sql("SHOW timezone").scalar_one() == "UTC"
        day = "SELECT CAST(timestamptz '2024-01-01 03:00+00' AS date)::text"
        assert connection.exec_driver_sql(day).scalar_one() == "2024-01-01"
