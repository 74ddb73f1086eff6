"""What the database says of the whole deployment at a glance: jobs, their queue, and the audit log."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

_JOBS = "SELECT kind, status, count(*) FROM jobs GROUP BY kind, status"
_TASKS = "SELECT status::text, count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing') GROUP BY status"
# A task that is to be tried again later waits from then on.
_OLDEST = """
    SELECT coalesce(extract(epoch FROM now() - min(greatest(task.scheduled_at, event.at))), 0)::float8
    FROM procrastinate_jobs AS task JOIN procrastinate_events AS event ON event.job_id = task.id
    WHERE task.status = 'todo' AND event.type = 'deferred' AND coalesce(task.scheduled_at, now()) <= now()"""
_RECORDS = "SELECT coalesce(max(seq), 0) FROM audit_records"
_CHECKPOINT = "SELECT size, made_at FROM audit_checkpoints ORDER BY size DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Condition:
    """Jobs by kind and status, steps to be taken by status (todo, doing), the age of the oldest that could be taken
    in seconds, records of the audit log, and those that the last checkpoint covers and when it was made."""

    jobs: Mapping[tuple[str, str], int]
    tasks: Mapping[str, int]
    oldest_s: float
    audit_records: int
    checkpoint_records: int
    checkpoint_at: datetime | None


def condition(connection: psycopg.Connection[Any]) -> Condition:
    """How things are."""
    (oldest,) = connection.execute(_OLDEST).fetchone() or (0.0,)
    (records,) = connection.execute(_RECORDS).fetchone() or (0,)
    covered, made_at = connection.execute(_CHECKPOINT).fetchone() or (0, None)
    return Condition(
        {(kind, status): count for kind, status, count in connection.execute(_JOBS)},
        dict(connection.execute(_TASKS).fetchall()),
        max(float(oldest), 0.0),
        int(records),
        int(covered),
        made_at,
    )
