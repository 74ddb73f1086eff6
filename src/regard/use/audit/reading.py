"""Reading the audit log: records in a time, chosen by what they say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from regard.store import audit as stored
from regard.store.audit import Connection
from regard.use.audit.records import facts, timestamp


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records. `said` are members and what they must be, a dot going inside: `decision.effect`."""

    since: datetime | None = None
    until: datetime | None = None
    said: Mapping[str, str] | None = None

    def span(self, connection: Connection) -> tuple[int, int]:
        """The seqs of the first and the last record in the time."""
        head = stored.head(connection)
        end = 0 if head is None else head.seq
        first = 1 if self.since is None else stored.first_at(connection, timestamp(self.since))
        last = end if self.until is None else stored.first_at(connection, timestamp(self.until)) - 1
        return first, last

    def fits(self, record: Mapping[str, Any]) -> bool:
        return all(_says(record, path, wanted) for path, wanted in (self.said or {}).items())


def select(connection: Connection, wanted: Wanted) -> Iterator[bytes]:
    """The contents of the records, oldest first."""
    for _, content, _, _ in stored.stream(connection, *wanted.span(connection)):
        if not wanted.said or wanted.fits(facts(content)):
            yield content


def newest(connection: Connection, wanted: Wanted, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """Up to `limit` records, newest first, those below seq `before` if that is given."""
    first, last = wanted.span(connection)
    if before is not None:
        last = min(last, before - 1)
    found: list[dict[str, Any]] = []
    step = max(limit, 256)
    while last >= first and len(found) < limit:
        rows = list(stored.stream(connection, max(first, last - step + 1), last))
        for _, content, _, _ in reversed(rows):
            record = facts(content)
            if wanted.fits(record) and len(found) < limit:
                found.append(record)
        last, step = last - step, min(step * 2, 65_536)
    return found


def _says(record: Mapping[str, Any], path: str, wanted: str) -> bool:
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return wanted in value if isinstance(value, list) else value is not None and str(value) == wanted
