"""What all tests share: a real PostgreSQL, where the evaluation data is, photos that may be shown anywhere."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from regard.settings import Settings
from regard.store.database import Database
from regard.store.embedded import EmbeddedPostgres
from regard.vision import models

ROOT = Path(__file__).parent.parent

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("regard", deadline=None)
hypothesis.settings.load_profile("regard")


@pytest.fixture(scope="session")
def evaluation_data() -> Path:
    """The folder with public evaluation data; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("REGARD_EVALUATION_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("evaluation data is not here (REGARD_EVALUATION_DATA)")
    return folder


@pytest.fixture(scope="session")
def cache() -> Path:
    """Where the networks have been fetched to."""
    return Settings().cache


@pytest.fixture(scope="session")
def photos(cache: Path) -> dict[str, Path]:
    """Photos with clear rights, by name."""
    return models.photos(cache)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedPostgres:
    """One PostgreSQL for all tests; each test that asks for `database` has a database of its own in it."""
    return EmbeddedPostgres(tmp_path_factory.mktemp("pg") / "postgres")


@pytest.fixture
def database(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty, migrated database."""
    name = f"test_{abs(hash(request.node.nodeid))}"
    server = sa.create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{name}"')
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    opened = Database(make_url(postgres.url).set(database=name), pool_size=5)
    yield opened
    opened.close()
    with server.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    server.dispose()
