"""The steps of a job: plan, parts, conclusion, notification. Each may be taken twice and then changes nothing.

What a step gives is kept in one transaction with the tasks that follow from it, so that a job goes on from there
whoever is killed. An error that may pass is raised, for the queue to try again later; any other ends the job, with
a sentence that its client can read.
"""

import errno
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import structlog
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NoEndpoint
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from structlog.contextvars import bound_contextvars

from regard.jobs import flow
from regard.jobs.work import Check, Ended, Interrupted, JobFailed, Receivers, Work
from regard.settings import Settings
from regard.store import jobs
from regard.store.database import Database
from regard.store.jobs import FAILED, IN_PROGRESS, SUCCEEDED, Job, Parts, Result

# How often a step is tried, whether an error or the death of the worker ended it.
ATTEMPTS = 6
NOTIFICATION_ATTEMPTS = 10
_FIRST_PAUSE_S, _PAUSE_GROWTH, _LONGEST_PAUSE_S = 2, 4, 3600

# How the state of a notification tells to whom it went.
_DELIVERED, _AND = "delivered to ", " and "
_TOLD = f", {_DELIVERED}"

_INTERNAL_ERROR = "The service experienced an internal error."
_GIVEN_UP = f"The analysis was given up after {ATTEMPTS} attempts"
_PASSING_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
_PASSING_CODES = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "ServiceUnavailable"})

_log = structlog.get_logger(__name__)


def pause_s(attempt: int) -> int:
    """How long to wait after attempt number `attempt`, from zero: eleven minutes in all for `ATTEMPTS`."""
    return min(_FIRST_PAUSE_S * int(_PAUSE_GROWTH**attempt), _LONGEST_PAUSE_S)


def may_pass(error: BaseException | None) -> bool:
    """Whether the same may succeed later: the database or the object storage was away, or memory or disk was short."""
    match error:
        case None:
            return False
        case OperationalError() | psycopg.OperationalError() | NoConnection():
            return True
        case NoEndpoint() | HTTPClientError() | IncompleteReadError() | MemoryError():
            return True
        case OSError() if error.errno in _PASSING_ERRNOS:
            return True
        case ClientError():
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return status >= 500 or error.response.get("Error", {}).get("Code") in _PASSING_CODES
    return may_pass(error.__cause__)


class NotDelivered(Exception):
    """A notification is to be sent again later."""


@dataclass(frozen=True)
class Runner:
    """Takes the steps of jobs.

    `receivers` are for notifications; without them these stay PENDING. `ended` hears of the end of each.
    """

    settings: Settings
    database: Database
    works: Mapping[str, Work]
    receivers: Receivers | None = None
    ended: Ended | None = None

    def plan(self, job_id: str, attempt: int, check: Check) -> None:
        def step(job: Job, work: Work) -> None:
            if job.parts_total is not None:
                return
            plan = work.plan(job)
            check()
            with self.database.begin() as connection:
                flow.planned(connection, job, plan)
            _log.info("job planned", job_id=job_id, kind=job.kind, parts=plan.parts)

        self._take(job_id, attempt, step)

    def part(self, job_id: str, number: int, attempt: int, check: Check) -> None:
        def step(job: Job, work: Work) -> None:
            with self.database.read() as connection:
                if jobs.has_part(connection, job, number):
                    return
            part = work.do(job, number, check)
            with self.database.begin() as connection:
                flow.part_done(connection, job, number, part)
            _log.info("part done", job_id=job_id, kind=job.kind, part=number, parts=job.parts_total)

        self._take(job_id, attempt, step)

    def conclude(self, job_id: str, attempt: int, check: Check) -> None:
        def step(job: Job, work: Work) -> None:
            results = _checked(work.conclude(job, Parts(self.database, job)), check)
            with self.database.engine.connect() as connection:
                if not flow.succeeded(connection, job, results):
                    return  # another worker was quicker, or the job was cancelled
                self._end(connection, job, SUCCEEDED)
                connection.commit()
            _log.info("job succeeded", job_id=job_id, kind=job.kind)

        self._take(job_id, attempt, step)

    def fail(self, job: Job, message: str, code: str = "INTERNAL_ERROR") -> bool:
        """End a job in vain; False if it had ended."""
        with self.database.begin() as connection:
            ended = flow.failed(connection, job, message, code)
            if ended:
                self._end(connection, job, FAILED)
        if ended:
            _log.warning("job failed", job_id=job.job_id, kind=job.kind, message=message)
        return ended

    def notify(self, job_id: str, attempt: int) -> None:
        """Deliver the notification of a job that has ended, at least once to each receiver.

        It is a mapping with the members `JobId`, `Status`, `API` (such as StartLabelDetection), `Timestamp` (when
        the job ended, in milliseconds), `StatusMessage` (None where all is well), `AccountId`, and `Request`: the
        job's request as AWS shapes it, with `JobTag`, `Video` and `NotificationChannel` where they were given.
        """
        with self.database.read() as connection:
            job = jobs.get(connection, job_id)
        if job is None or job.notification is None or job.completed_at is None or self.receivers is None:
            return
        state, _, told = job.notification.partition(_TOLD)
        if state != jobs.PENDING:
            return
        notification = {
            "JobId": job.job_id,
            "Status": job.status,
            "API": f"Start{job.kind}",
            "Timestamp": round(job.completed_at.timestamp() * 1000),
            "StatusMessage": job.status_message,
            "AccountId": job.account_id,
            "Request": job.request,
        }
        delivered, failures = told.split(_AND) if told else [], []
        for name, deliver in self.receivers(notification).items():
            try:
                if name not in delivered:
                    deliver()
                    delivered.append(name)
            except Exception as error:
                _log.warning(
                    "notification not delivered", job_id=job_id, to=name, attempt=attempt + 1, cause=str(error)
                )
                failures.append(error)
        again = bool(failures) and attempt + 1 < NOTIFICATION_ATTEMPTS
        outcome = [jobs.PENDING] if again else []
        outcome += [f"{_DELIVERED}{_AND.join(delivered)}"] if delivered else []
        outcome += [f"not delivered in {NOTIFICATION_ATTEMPTS} attempts: {error}" for error in failures if not again]
        with self.database.begin() as connection:
            jobs.notified(connection, job, ", ".join(outcome) or "not asked for")
        if again:
            raise NotDelivered from failures[0]

    def purge(self) -> None:
        """Forget the jobs that ended too long ago."""
        with self.database.begin() as connection:
            count = jobs.purge(connection, timedelta(days=self.settings.job_retention_days))
        if count:
            _log.info("jobs forgotten", count=count, days=self.settings.job_retention_days)

    def _end(self, connection: Connection, job: Job, status: str) -> None:
        if self.ended is not None:
            self.ended(connection, job, status)

    def _take(self, job_id: str, attempt: int, step: Callable[[Job, Work], None]) -> None:
        """Take a step of a job that is in progress, or end the job in vain."""
        with bound_contextvars(job_id=job_id):
            self._taken(job_id, attempt, step)

    def _taken(self, job_id: str, attempt: int, step: Callable[[Job, Work], None]) -> None:
        with self.database.read() as connection:
            job = jobs.get(connection, job_id)
        if job is None or job.status != IN_PROGRESS:
            return
        if attempt >= ATTEMPTS:
            self.fail(job, f"{_GIVEN_UP}: the process that worked at it was ended each time.")
            return
        try:
            self._need_room()
            step(job, self._work(job))
        except Interrupted:
            raise
        except Exception as error:
            passing = may_pass(error)
            if passing and attempt + 1 < ATTEMPTS:
                _log.warning("step to be taken again", job_id=job_id, attempt=attempt + 1, cause=str(error))
                raise
            if passing:
                self.fail(job, f"{_GIVEN_UP}: the database, the object storage, memory or disk was not available.")
            elif isinstance(error, JobFailed):
                self.fail(job, str(error), error.code)
            else:
                _log.exception("step failed", job_id=job_id, kind=job.kind)
                self.fail(job, _INTERNAL_ERROR)

    def _need_room(self) -> None:
        """Keep the last of the disk for the record and for deleting, as requests do."""
        if self.database.room < self.settings.disk_reserve_mb << 20:
            raise OSError(errno.ENOSPC, "there is no room to store more where the database lies")

    def _work(self, job: Job) -> Work:
        try:
            return self.works[job.kind]
        except KeyError:
            raise JobFailed(f"{job.kind} is not implemented by this deployment.") from None


def _checked(results: Iterator[Result], check: Check) -> Iterator[Result]:
    for result in results:
        check()
        yield result
