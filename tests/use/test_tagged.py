"""Tags that are kept in memory are never those of before a change that the caller's look-up could have seen."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from regard.operations.context import Context
from regard.store import tags
from regard.store.database import Database
from regard.use import keys, tagged
from regard.use.keys import AccessKey
from regard.use.seal import Sealer
from regard.use.tagged import tags_of


@pytest.fixture
def key(database: Database, sealer: Sealer) -> AccessKey:
    with database.begin() as connection:
        return keys.create(connection, sealer)


def looked_up(database: Database, sealer: Sealer, key: AccessKey) -> Context:
    services: Any = SimpleNamespace(database=database, settings=SimpleNamespace(region="us-east-1"))
    with database.at_hand() as connection:
        principal = keys.principal(connection, sealer, key.access_key_id)
    assert principal is not None
    return Context(principal, services)


def test_a_change_of_a_tag_is_seen_by_the_next_request_whoever_makes_it(
    database: Database, sealer: Sealer, key: AccessKey
) -> None:
    def seen() -> str | None:
        return tags_of(looked_up(database, sealer, key), "staff").get("use:purpose")

    arn = looked_up(database, sealer, key).arn("collection/staff")
    assert seen() is None
    for purpose in ("research", "photo-search"):
        with database.begin() as connection:
            tags.put(connection, arn, {"use:purpose": purpose})
        assert seen() == purpose
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE tags SET value = 'by hand'")
    assert seen() == "by hand"
    with database.begin() as connection:
        tags.remove(connection, arn)
    assert seen() is None


def test_tags_are_read_once_until_one_of_the_account_is_changed(
    database: Database, sealer: Sealer, key: AccessKey
) -> None:
    with patch.object(tagged.tags, "get", wraps=tags.get) as reading:
        for _ in range(3):
            tags_of(looked_up(database, sealer, key), "staff")
        assert reading.call_count == 1
        with database.begin() as connection:
            tags.put(connection, "arn:aws:rekognition:us-east-1:000000000000:collection/staff", {"use:basis": "law"})
        tags_of(looked_up(database, sealer, key), "staff")
        assert reading.call_count == 1
