"""Statements by libpq itself: the same answers and errors as psycopg's cursor gives."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from regard.store.database import Database
from regard.store.direct import Direct

VALUES = [
    (None, "text"),
    (True, "bool"),
    (1, "int"),
    (2**40, "bigint"),
    (0.1, "float8"),
    ("", "text"),
    ("a 'quoted' text, {with} \\ and ü", "text"),
    (b"", "bytea"),
    (b"\0\xff", "bytea"),
    (uuid.UUID(int=7), "uuid"),
    ([1, 2, 2**40], "bigint[]"),
    ([], "bigint[]"),
    (["a", 'b "c" \\', None], "text[]"),
    ([b"\0", b""], "bytea[]"),
    ([uuid.UUID(int=1)], "uuid[]"),
]


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with closing(database.connect_apart()) as connection:
        yield connection


@pytest.mark.parametrize(("value", "kind"), VALUES)
def test_what_goes_in_comes_out_as_from_psycopg(connection: psycopg.Connection[Any], value: object, kind: str) -> None:
    query = f"SELECT %s::{kind}, now() - now(), '{{a,NULL}}'::text[]"
    expected = connection.execute(query, (value,)).fetchone()
    direct = Direct(connection)
    for _ in range(2):
        assert direct.execute(query, (value,)).fetchone() == expected
    assert expected is not None
    assert expected[0] == value


def test_placeholders_may_be_named_repeated_and_left_out(connection: psycopg.Connection[Any]) -> None:
    direct = Direct(connection)
    query = "SELECT %(b)s::int, %(a)s::text, %(b)s::int + 1, 7 %% 4"
    assert direct.execute(query, {"a": "x", "b": 2, "c": "unused"}).fetchone() == (2, "x", 3, 3)
    assert list(direct.execute("SELECT %s::int, %b::bytea UNION ALL SELECT 1, %t::bytea", (3, b"a", "\\x62"))) == [
        (3, b"a"),
        (1, b"b"),
    ]
    assert direct.execute("SELECT 1 WHERE false").fetchone() is None


def test_each_statement_commits(connection: psycopg.Connection[Any], database: Database) -> None:
    direct = Direct(connection)
    assert direct.execute("INSERT INTO accounts (account_id) VALUES (%s)", ("123456789012",)).fetchone() is None
    with database.read() as other:
        assert other.exec_driver_sql("SELECT count(*) FROM accounts").scalar() == 1
    connection.autocommit = False
    with pytest.raises(ValueError, match="transaction"):
        Direct(connection)


@pytest.mark.parametrize(
    ("query", "parameters", "error"),
    [
        ("SELECT nonsense", (), psycopg.errors.UndefinedColumn),
        ("SELECT 1 / %s::int", (0,), psycopg.errors.DivisionByZero),
        ("SELECT %s::uuid", ("no",), psycopg.errors.InvalidTextRepresentation),
        ("INSERT INTO accounts (account_id) VALUES (%s), (%s)", ("1", "1"), psycopg.errors.UniqueViolation),
    ],
)
def test_errors_are_psycopgs_and_the_connection_goes_on(
    connection: psycopg.Connection[Any], query: str, parameters: tuple[object, ...], error: type[psycopg.Error]
) -> None:
    direct = Direct(connection)
    for _ in range(2):
        with pytest.raises(error):
            direct.execute(query, parameters)
        assert direct.execute("SELECT %s::int", (1,)).fetchone() == (1,)


def test_a_broken_connection_is_an_operational_error(connection: psycopg.Connection[Any], database: Database) -> None:
    direct = Direct(connection)
    direct.execute("SELECT 1")
    pid = connection.info.backend_pid
    with database.begin() as other:
        other.exec_driver_sql("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with pytest.raises(psycopg.OperationalError):
        direct.execute("SELECT 1")
    assert connection.closed
    with pytest.raises(psycopg.OperationalError):
        direct.execute("SELECT 2")


def test_statements_that_the_server_was_told_to_forget_are_prepared_again(
    connection: psycopg.Connection[Any],
) -> None:
    direct = Direct(connection)
    for round_ in range(2):
        for number in range(3):
            assert direct.execute(f"SELECT {number} + %s::int", (round_,)).fetchone() == (number + round_,)
        connection.execute("DEALLOCATE ALL" if not round_ else "DEALLOCATE regard_3")
    assert direct.execute("SELECT 0 + %s::int", (5,)).fetchone() == (5,)
    assert direct.execute("SELECT 1 + %s::int", (5,)).fetchone() == (6,)
