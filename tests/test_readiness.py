import anyio
import pytest
import sqlalchemy as sa

from regard import readiness
from regard.readiness import Readiness
from regard.store.database import Database, DatabaseError
from regard.store.embedded import EmbeddedPostgres


def objection(ready: Readiness) -> str | None:
    return anyio.run(ready.objection)


def test_a_server_is_ready_until_it_ends(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "TRUSTED_S", 0.0)
    ready = Readiness(database)
    assert objection(ready) is None
    ready.end()
    assert objection(ready) == "the server ends"


def test_it_is_not_ready_without_its_database(
    database: Database, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "TRUSTED_S", 0.0)
    ready = Readiness(database)
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE alembic_version RENAME TO gone")
    assert objection(ready) == "the database is not migrated"
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO alembic_version")
    assert objection(ready) is None
    name = database.engine.url.database
    server = sa.create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        assert objection(ready) == "the database does not answer"
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    server.dispose()
    assert objection(ready) is None


def test_the_database_is_not_asked_for_everybody_who_asks(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = Readiness(database)
    asked: list[int] = []
    monkeypatch.setattr(ready, "_found", lambda: asked.append(1))
    for _ in range(10):
        objection(ready)
    assert asked == []
    ready._asked_at -= 2 * readiness.TRUSTED_S
    for _ in range(10):
        objection(ready)
    assert asked == [1]


def test_a_server_that_is_older_than_its_database_does_not_start(database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match="a later version of Regard"):
        database.migrate()
