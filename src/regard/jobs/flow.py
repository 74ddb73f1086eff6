"""From one step of a job to the next: each function changes the job and puts what follows into the queue, at once.

All of them run in the caller's transaction: either everything is there when it has ended or nothing is.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.engine import Connection

from regard.jobs.work import Plan
from regard.store import jobs, queue
from regard.store.jobs import Job, Result

PLAN, PART, CONCLUDE, NOTIFY, PURGE = "plan", "part", "conclude", "notify", "purge"
_PLAN_PRIORITY, _CONCLUDE_PRIORITY, _NOTIFY_PRIORITY = 1, 2, 3
_JOB_ID_BYTES = 32  # 64 hexadecimal digits, as at AWS


def start(connection: Connection, account_id: str, access_key_id: str, kind: str, request: Mapping[str, Any]) -> str:
    """Begin a job of a kind; its id."""
    job_id = secrets.token_hex(_JOB_ID_BYTES)
    jobs.add(connection, job_id, account_id, access_key_id, kind, request)
    queue.defer(connection, PLAN, [{"job_id": job_id}], priority=_PLAN_PRIORITY)
    return job_id


def planned(connection: Connection, job: Job, plan: Plan) -> None:
    """Keep a job's plan and have its parts done, unless that has happened."""
    if not jobs.plan(connection, job, plan.parts, plan.metadata):
        return
    for number in range(plan.parts):
        # The later the part, the less it matters: jobs take turns, and a short one need not wait for a long one.
        queue.defer(connection, PART, [{"job_id": job.job_id, "number": number}], priority=-number)
    if plan.parts == 0:
        _conclude(connection, job)


def part_done(connection: Connection, job: Job, number: int, part: Any) -> None:
    """Keep what a part yielded; the last one has the job concluded."""
    if jobs.put_part(connection, job, number, part):
        _conclude(connection, job)


def succeeded(connection: Connection, job: Job, results: Iterable[Result]) -> bool:
    """End a job with its results; False if it had ended, and then the transaction must be rolled back."""
    if not jobs.succeed(connection, job, results):
        return False
    _notify(connection, job)
    return True


def failed(connection: Connection, job: Job, message: str, code: str = "INTERNAL_ERROR") -> bool:
    """End a job in vain; False if it had ended."""
    if not jobs.fail(connection, job, code, message):
        return False
    _notify(connection, job)
    return True


def _conclude(connection: Connection, job: Job) -> None:
    queue.defer(connection, CONCLUDE, [{"job_id": job.job_id}], priority=_CONCLUDE_PRIORITY)


def _notify(connection: Connection, job: Job) -> None:
    queue.defer(connection, NOTIFY, [{"job_id": job.job_id}], priority=_NOTIFY_PRIORITY)
