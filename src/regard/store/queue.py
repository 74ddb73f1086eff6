"""The queue of tasks: procrastinate's tables, what is put there with our own rows, and who has died at work.

The tables are the library's. Migration 0004 makes them as the installed version has them, and a comment on its
table of jobs says up to which of the library's own migrations; where a later version of the library brings more of
them, every start applies these. All servers and workers of a deployment must therefore be stopped when they are
brought to a version of Regard with another version of the library.

A worker holds an advisory lock for as long as its connection lives. So PostgreSQL itself knows at once when one has
been killed, however busy the living are; the library's heartbeats tell only of those that hang.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, cast

import procrastinate
import psycopg
from procrastinate.schema import SchemaManager
from sqlalchemy.engine import Connection

# A worker without its lock is dead after this long: the time that a new one may take to lock.
_LOCK_PATIENCE_S = 5
# One with the lock and without a sign of life is taken for dead after this long.
HEARTBEAT_PATIENCE_S = 60
SUSPECTS = "suspects"
"""The lock of tasks that may have killed their worker."""
_LIFE = 0x4C696665  # "Life": first number of the workers' advisory locks, the second is the worker's id


def _raw(connection: Connection) -> psycopg.Connection[Any]:
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def _migrations() -> list[str]:
    folder = files("procrastinate.sql") / "migrations"
    return sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))


def install(connection: Connection) -> None:
    """Make the library's tables."""
    _raw(connection).execute(SchemaManager.get_schema())
    _note(connection, _migrations()[-1])


def update(connection: Connection) -> None:
    """Apply what the installed version of the library has in migrations beyond those that were applied."""
    applied = connection.exec_driver_sql("SELECT obj_description('procrastinate_jobs'::regclass)").scalar_one()
    for name in (name for name in _migrations() if name > str(applied)):
        _raw(connection).execute((files("procrastinate.sql") / "migrations" / name).read_bytes())
        _note(connection, name)


def _note(connection: Connection, migration: str) -> None:
    connection.exec_driver_sql(f"COMMENT ON TABLE procrastinate_jobs IS '{migration}'")


def uninstall(connection: Connection) -> None:
    """Remove all that the library made."""
    raw = _raw(connection)
    statements = raw.execute("""
        SELECT format('DROP %s IF EXISTS %s CASCADE', kind, name) FROM (
            SELECT 1, 'TABLE', oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relname ~ '^procrastinate_'
            UNION ALL
            SELECT 2, 'FUNCTION', oid::regprocedure::text FROM pg_proc WHERE proname ~ '^procrastinate_'
            UNION ALL
            SELECT 3, 'TYPE', oid::regtype::text FROM pg_type
            WHERE typname ~ '^procrastinate_' AND (typtype = 'e' OR typname ~ '_to_defer_')
        ) AS found (step, kind, name) ORDER BY step""")
    for (statement,) in statements.fetchall():
        raw.execute(statement)


_app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


def defer(connection: Connection, task: str, arguments: Sequence[Mapping[str, Any]], *, priority: int = 0) -> None:
    """Put tasks into the queue, which are there when the transaction has ended; those of high priority come first."""
    if arguments:
        _app.configure_task(task, priority=priority, connection=_raw(connection)).batch_defer(*map(dict, arguments))


# The library forgets a worker whose row is deleted, and its tasks are then nobody's. A task that was under way when its
# worker died gets another chance at once. If that happened to it before, it may be what kills workers, or have been
# beside that: such tasks share a lock and run one at a time, so that only the one that kills comes to be given up. A
# notification kills nobody, and may have to wait for hours, which would keep all others of the lock waiting.
_BURY = """
WITH locked AS (
    SELECT objid FROM pg_locks
    WHERE locktype = 'advisory' AND classid = %(life)s AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
DELETE FROM procrastinate_workers
WHERE last_heartbeat < now() - make_interval(secs => %(heartbeat_patience_s)s)
OR last_heartbeat < now() - make_interval(secs => %(lock_patience_s)s)
    AND id NOT IN (SELECT objid::bigint FROM locked)
"""
_REQUEUE = """
WITH nobodys AS (
    SELECT id, attempts, task_name FROM procrastinate_jobs WHERE status = 'doing' AND worker_id IS NULL
    FOR UPDATE SKIP LOCKED
)
SELECT procrastinate_retry_job_v2(
    id, now(), NULL, NULL, CASE WHEN attempts > 0 AND task_name <> ALL(%(innocent)s) THEN %(lock)s END
) FROM nobodys
"""


async def live(connection: psycopg.AsyncConnection[Any], worker_id: int) -> None:
    """Be known to live for as long as this connection does."""
    await connection.execute("SELECT pg_advisory_lock(%s, %s)", (_LIFE, worker_id))


async def requeue_of_the_dead(connection: psycopg.AsyncConnection[Any], innocent: Sequence[str]) -> int:
    """Put what dead workers were at back into the queue; how many tasks. `innocent` ones have killed nobody."""
    patience = {"heartbeat_patience_s": HEARTBEAT_PATIENCE_S, "lock_patience_s": _LOCK_PATIENCE_S}
    await connection.execute(_BURY, {"life": _LIFE, **patience})
    return (await connection.execute(_REQUEUE, {"innocent": list(innocent), "lock": SUSPECTS})).rowcount
