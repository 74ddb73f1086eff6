"""The queue: tasks go in with the rows that they belong to, and those of dead workers come out again."""

import asyncio
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from regard.store import queue
from regard.store.database import Database, migrate


def queued(database: Database) -> list[Any]:
    with database.read() as connection:
        return [
            tuple(row)
            for row in connection.exec_driver_sql("SELECT status, attempts, lock FROM procrastinate_jobs ORDER BY id")
        ]


def test_a_task_goes_the_way_of_its_transaction(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.begin() as connection:
        queue.defer(connection, "part", [{"number": 0}])
        raise ZeroDivisionError
    assert queued(database) == []
    with database.begin() as connection:
        queue.defer(connection, "part", [{"number": 0}, {"number": 1}])
        queue.defer(connection, "part", [])
    assert queued(database) == [("todo", 0, None)] * 2


def test_only_what_dead_workers_were_at_is_taken_up_again(database: Database) -> None:
    async def take(connection: psycopg.AsyncConnection[Any]) -> int:
        row = await (await connection.execute("SELECT procrastinate_register_worker_v1()")).fetchone()
        assert row is not None
        await connection.execute("SELECT procrastinate_fetch_job_v2(NULL, %s)", (row[0],))
        return int(row[0])

    async def scene() -> None:
        connect = psycopg.AsyncConnection.connect
        conninfo = database.conninfo
        async with await connect(conninfo, autocommit=True) as one:
            async with await connect(conninfo, autocommit=True) as other:
                for connection in (one, other):
                    await queue.live(connection, await take(connection))
                new = await take(one)  # which has no lock yet
                await one.execute(
                    "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '20 s' WHERE id < %s", (new,)
                )
                assert await queue.requeue_of_the_dead(one, ["notify"]) == 0
            # PostgreSQL notices that the other is gone.
            while not (count := await queue.requeue_of_the_dead(one, ["notify"])):
                await asyncio.sleep(0.05)
            assert count == 1
            assert [status for status, _, _ in queued(database)] == ["doing", "todo", "doing"]
            await one.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '90 s'")
            assert await queue.requeue_of_the_dead(one, ["notify"]) == 2  # whatever locks the silent hold
            await take(one)
            await one.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '90 s'")
            assert await queue.requeue_of_the_dead(one, ["notify"]) == 1
        assert queued(database) == [("todo", 2, "suspects"), ("todo", 1, None), ("todo", 1, None)]

    with database.begin() as connection:
        queue.defer(connection, "part", [{"number": number} for number in range(3)])
    asyncio.run(scene())


def test_a_notification_is_no_suspect(database: Database) -> None:
    """Beside what kills its worker again and again, it would keep all suspects waiting until it is delivered."""

    async def die_with_all(connection: psycopg.AsyncConnection[Any]) -> None:
        row = await (await connection.execute("SELECT procrastinate_register_worker_v1()")).fetchone()
        assert row is not None
        for _ in range(2):
            await connection.execute("SELECT procrastinate_fetch_job_v2(NULL, %s)", (row[0],))
        await connection.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '90 s'")
        assert await queue.requeue_of_the_dead(connection, ["notify"]) == 2

    async def scene() -> None:
        async with await psycopg.AsyncConnection.connect(database.conninfo, autocommit=True) as connection:
            await die_with_all(connection)
            await die_with_all(connection)

    with database.begin() as connection:
        queue.defer(connection, "part", [{"number": 0}])
        queue.defer(connection, "notify", [{}])
    asyncio.run(scene())
    assert queued(database) == [("todo", 2, queue.SUSPECTS), ("todo", 2, None)]


def test_what_a_later_version_of_the_library_brings_is_applied_at_start(database: Database) -> None:
    *_, before, last = queue._migrations()
    with database.begin() as connection:
        queue._note(connection, before)
        connection.exec_driver_sql("DROP FUNCTION procrastinate_trigger_function_status_events_update_v1 CASCADE")
    migrate(database.engine)
    with database.begin() as connection:
        noted = connection.exec_driver_sql("SELECT obj_description('procrastinate_jobs'::regclass)").scalar()
        made = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_trigger WHERE tgname = 'procrastinate_trigger_status_events_update_v1'"
        ).scalar()
    assert (noted, made) == (last, 1)


def test_the_library_leaves_nothing_behind(database: Database) -> None:
    with database.begin() as connection:
        queue.uninstall(connection)
        left = sa.text("""
            SELECT relname FROM pg_class WHERE relname LIKE '%procrastinate%'
            UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE '%procrastinate%'
            UNION ALL SELECT typname FROM pg_type WHERE typname LIKE '%procrastinate%'""")
        assert connection.execute(left).all() == []
        queue.install(connection)
