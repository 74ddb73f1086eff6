"""Short statements that every request makes, by libpq itself.

Psycopg's cursor takes longer over one than PostgreSQL does, and lets go of Python's lock five times where once is
enough: whoever else runs meanwhile has to be waited for each time. What it adapts values with is used here, too.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Self

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result

_PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?[sbt]|%%")
_DONE = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)


class Direct:
    """What executes statements on a connection on which each commits by itself, and has the rows of the last one.

    It is used as psycopg's cursor is, by one thread at a time; a connection has one of them. The texts of statements
    must be few, since each stays prepared for as long as the connection lasts; the server tells the types of parameters
    from the text. Raises `psycopg.Error`.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        if not connection.autocommit:
            raise ValueError("a transaction would not be begun")
        self.connection = connection
        self._transformer = Transformer.from_context(connection)
        self._names: dict[str, bytes] = {}
        self._prepared = 0  # statements ever
        self._rows: Iterator[tuple[Any, ...]] = iter(())

    def execute(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Self:
        """Have a statement carried out; its placeholders are psycopg's."""
        text, names = _numbered(query)
        values = [parameters[one] for one in names] if isinstance(parameters, Mapping) else parameters
        formats = [PyFormat.BINARY if isinstance(value, bytes) else PyFormat.TEXT for value in values]
        dumped = self._transformer.dump_sequence(values, formats)
        try:
            result = self._executed(query, text, dumped)
        except InvalidSqlStatementName:
            # psycopg has had all statements forgotten, as it does after a rollback.
            self._names.clear()
            result = self._executed(query, text, dumped)
        self._transformer.set_pgresult(result)
        self._rows = iter(self._transformer.load_rows(0, result.ntuples, tuple))
        self._transformer.set_pgresult(None)
        return self

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def forget(self) -> None:
        """Let go of the rows."""
        self._rows = iter(())

    def _executed(self, query: str, text: bytes, dumped: Sequence[Any]) -> pq.abc.PGresult:
        name = self._names.get(query)
        if name is None:
            name = b"regard_%d" % self._prepared
            self._prepared += 1
            self._check(self.connection.pgconn.prepare(name, text))
            self._names[query] = name
        return self._check(self.connection.pgconn.exec_prepared(name, dumped, self._transformer.formats))

    def _check(self, result: pq.abc.PGresult) -> pq.abc.PGresult:
        if result.status in _DONE:
            return result
        connection = self.connection
        if connection.closed:  # which libpq finds out meanwhile, and has no code for
            raise psycopg.OperationalError(connection.pgconn.get_error_message(connection.info.encoding))
        raise error_from_result(result, connection.info.encoding)


@lru_cache
def _numbered(query: str) -> tuple[bytes, tuple[str, ...]]:
    """A statement with the placeholders that PostgreSQL has, and the names of the parameters in their order."""
    names = list[str]()

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        name = found[1]
        if name is None or name not in names:
            names.append(name or "")
            return f"${len(names)}"
        return f"${names.index(name) + 1}"

    return _PLACEHOLDER.sub(number, query).encode(), tuple(names)
