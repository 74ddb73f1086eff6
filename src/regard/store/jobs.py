"""Queries about jobs, their parts and their results. The queue of what is to be done is in `store.queue`."""

import zlib
from collections.abc import Collection as AnyOf
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import numpy as np
import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from regard.store.database import Database, raw
from regard.store.tables import accounts, among, job_parts, job_results, jobs

Order = Literal["by_time", "by_key"]
_PARTS_AT_ONCE = 8  # of those that a conclusion reads: each is what was seen in seconds of video

IN_PROGRESS, SUCCEEDED, FAILED = "IN_PROGRESS", "SUCCEEDED", "FAILED"
PENDING = "PENDING"  # of a notification


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `jobs`; see there."""

    key: int
    job_id: str
    account_id: str
    access_key_id: str
    kind: str
    request: Mapping[str, Any]
    status: str
    status_code: str | None
    status_message: str | None
    metadata: Mapping[str, Any] | None
    parts_total: int | None
    parts_done: int
    created_at: datetime
    completed_at: datetime | None
    notification: str | None


class Result(Protocol):
    """A result to keep: `body` as JSON has it, and what it is sorted by. Equal ones stay in the order given."""

    @property
    def time_ms(self) -> int: ...
    @property
    def key(self) -> str | int: ...
    @property
    def body(self) -> Mapping[str, Any]: ...
    @property
    def aggregate(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Row:
    """A kept result; `key` is its place in the order that was asked for."""

    key: int
    body: dict[str, Any]


_COLUMNS = (
    jobs.c.key,
    jobs.c.job_id,
    jobs.c.account_id,
    jobs.c.access_key_id,
    jobs.c.kind,
    jobs.c.request,
    jobs.c.status,
    jobs.c.status_code,
    jobs.c.status_message,
    jobs.c.metadata,
    jobs.c.parts_total,
    jobs.c.parts_done,
    jobs.c.created_at,
    jobs.c.completed_at,
    jobs.c.notification,
)


def add(
    connection: Connection, job_id: str, account_id: str, access_key_id: str, kind: str, request: Mapping[str, Any]
) -> None:
    connection.execute(
        insert(jobs).values(
            job_id=job_id, account_id=account_id, access_key_id=access_key_id, kind=kind, request=dict(request)
        )
    )


def count_open(connection: Connection, account_id: str, kinds: AnyOf[str]) -> int:
    """How many jobs of these kinds an account has in progress; the number stands until this transaction ends."""
    connection.execute(
        sa.select(accounts.c.account_id).where(accounts.c.account_id == account_id).with_for_update(key_share=True)
    )
    statement = (
        sa.select(sa.func.count())
        .select_from(jobs)
        .where(jobs.c.account_id == account_id, jobs.c.status == IN_PROGRESS, among(jobs.c.kind, kinds))
    )
    return int(connection.execute(statement).scalar_one())


def _job(row: "sa.Row[*tuple[Any, ...]]") -> Job:
    return Job(*row)


def get(connection: Connection, job_id: str) -> Job | None:
    row = connection.execute(sa.select(*_COLUMNS).where(jobs.c.job_id == job_id)).first()
    return None if row is None else _job(row)


def find(connection: Connection, account_id: str, kind: str, job_id: str) -> Job | None:
    """The account's job of that kind and id."""
    found = get(connection, job_id)
    return found if found is not None and (found.account_id, found.kind) == (account_id, kind) else None


def page(connection: Connection, account_id: str, kind: str, before: int, limit: int) -> list[Job]:
    """Up to `limit` jobs of a kind with keys less than `before` (0: any), the newest first."""
    statement = (
        sa.select(*_COLUMNS)
        .where(jobs.c.account_id == account_id, jobs.c.kind == kind, (jobs.c.key < before) | (before == 0))
        .order_by(jobs.c.key.desc())
        .limit(limit)
    )
    return [_job(row) for row in connection.execute(statement)]


def every(connection: Connection) -> list[Job]:
    """All jobs, the newest first."""
    return [_job(row) for row in connection.execute(sa.select(*_COLUMNS).order_by(jobs.c.key.desc()))]


def plan(connection: Connection, job: Job, parts: int, metadata: Mapping[str, Any]) -> bool:
    """Keep the plan of a job; False if there is one, or the job has ended."""
    statement = (
        sa.update(jobs)
        .where(jobs.c.key == job.key, jobs.c.status == IN_PROGRESS, jobs.c.parts_total.is_(None))
        .values(parts_total=parts, metadata=dict(metadata))
    )
    return connection.execute(statement).rowcount == 1


def has_part(connection: Connection, job: Job, number: int) -> bool:
    statement = sa.select(job_parts.c.number).where(job_parts.c.job_key == job.key, job_parts.c.number == number)
    return connection.execute(statement).first() is not None


def put_part(connection: Connection, job: Job, number: int, part: Any) -> bool:
    """Keep what a part yielded, unless that is there or the job has ended; True if it was the last one missing."""
    going_on = (
        sa.select(jobs.c.key, sa.literal(number), sa.literal(_packed(part), sa.LargeBinary))
        .where(jobs.c.key == job.key, jobs.c.status == IN_PROGRESS)
        .with_for_update(key_share=True)  # so that the job does not end in between
    )
    kept = (
        insert(job_parts)
        .from_select(["job_key", "number", "body"], going_on)
        .on_conflict_do_nothing()
        .returning(job_parts.c.number)
    )
    if connection.execute(kept).first() is None:
        return False
    counted = (
        sa.update(jobs)
        .where(jobs.c.key == job.key)
        .values(parts_done=jobs.c.parts_done + 1)
        .returning(jobs.c.parts_done == jobs.c.parts_total)
    )
    return bool(connection.execute(counted).scalar_one())


def _packed(part: Any) -> bytes:
    return zlib.compress(orjson.dumps(part, _plain, orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS), 1)


def _plain(value: Any) -> Any:
    """Arrays that orjson cannot write: those with gaps in memory."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value)} is not JSON")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the parts of a job yielded, in order, read as they are asked for and as often."""

    database: Database
    job: Job

    def __len__(self) -> int:
        return self.job.parts_total or 0

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _PARTS_AT_ONCE):
            statement = (
                sa.select(job_parts.c.body)
                .where(
                    job_parts.c.job_key == self.job.key,
                    job_parts.c.number >= start,
                    job_parts.c.number < start + _PARTS_AT_ONCE,
                )
                .order_by(job_parts.c.number)
            )
            with self.database.read() as connection:
                bodies = [bytes(row.body) for row in connection.execute(statement)]
            for body in bodies:
                yield orjson.loads(zlib.decompress(body))


_NEW_RESULTS = """
CREATE TEMPORARY TABLE new_results (
    number BIGINT, aggregate TEXT COLLATE "C", time_ms BIGINT, key_number BIGINT, key_text TEXT COLLATE "C", body JSON
) ON COMMIT DROP"""
_NUMBERED = """
INSERT INTO job_results (job_key, aggregate, by_time, by_key, body)
SELECT
    %s, aggregate,
    row_number() OVER (PARTITION BY aggregate ORDER BY time_ms, key_number, key_text, number),
    row_number() OVER (PARTITION BY aggregate ORDER BY key_number, key_text, time_ms, number),
    body
FROM new_results"""


def succeed(connection: Connection, job: Job, results: Iterable[Result]) -> bool:
    """End a job with its results, which are read as they are written; False, and nothing to keep, if it has ended.

    Others see and wait for nothing until all results are there to be numbered.
    """
    cursor = raw(connection).cursor()
    cursor.execute(_NEW_RESULTS)
    with cursor.copy("COPY new_results FROM STDIN") as copy:
        for number, result in enumerate(results):
            numeric = isinstance(result.key, int)
            copy.write_row(
                (
                    number,
                    result.aggregate,
                    result.time_ms,
                    result.key if numeric else None,
                    None if numeric else result.key,
                    orjson.dumps(result.body, _plain, orjson.OPT_SERIALIZE_NUMPY).decode(),
                )
            )
    going_on = (
        sa.select(jobs.c.key).where(jobs.c.key == job.key, jobs.c.status == IN_PROGRESS).with_for_update(key_share=True)
    )
    if connection.execute(going_on).first() is None:
        return False
    cursor.execute(_NUMBERED, (job.key,))
    connection.execute(sa.delete(job_parts).where(job_parts.c.job_key == job.key))
    return _end(connection, job, SUCCEEDED, None, None)


def fail(connection: Connection, job: Job, code: str, message: str) -> bool:
    """End a job that cannot be done, parts and all; False if it has ended."""
    if not _end(connection, job, FAILED, code, message):
        return False
    connection.execute(sa.delete(job_parts).where(job_parts.c.job_key == job.key))
    return True


def _end(connection: Connection, job: Job, status: str, code: str | None, message: str | None) -> bool:
    statement = (
        sa.update(jobs)
        .where(jobs.c.key == job.key, jobs.c.status == IN_PROGRESS)
        .values(
            status=status,
            status_code=code,
            status_message=message,
            completed_at=sa.func.clock_timestamp(),
            notification=PENDING,
        )
    )
    return connection.execute(statement).rowcount == 1


def notified(connection: Connection, job: Job, outcome: str) -> None:
    """Note what became of a job's notification."""
    connection.execute(sa.update(jobs).where(jobs.c.key == job.key).values(notification=outcome))


def results(connection: Connection, job: Job, aggregate: str, order: Order, after: int, limit: int) -> Sequence[Row]:
    """Up to `limit` results that come after place `after` in an order."""
    place = job_results.c[order]
    statement = (
        sa.select(place, job_results.c.body)
        .where(job_results.c.job_key == job.key, job_results.c.aggregate == aggregate, place > after)
        .order_by(place)
        .limit(limit)
    )
    return [Row(*row) for row in connection.execute(statement)]


def purge(connection: Connection, age: timedelta) -> int:
    """Forget jobs that ended longer ago than `age`, results and all; how many."""
    statement = sa.delete(jobs).where(jobs.c.completed_at < sa.func.now() - age)
    return int(connection.execute(statement).rowcount)


def delete(connection: Connection, job: Job) -> None:
    """Forget a job, results and all."""
    connection.execute(sa.delete(jobs).where(jobs.c.key == job.key))
