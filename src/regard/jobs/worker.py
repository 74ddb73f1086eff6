"""A worker: takes tasks from the queue, a number of them at once, in threads, until it is asked to end.

It runs in a thread of its own with an event loop of its own, inside the server or alone (`regard worker`). Any
number of them, on any machines, share the queue. Where the database goes away the worker waits for it and
registers anew.
"""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import procrastinate
import psycopg
import structlog
from procrastinate import BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.jobs import Job as QueuedTask
from procrastinate.worker import Worker as QueueWorker
from sqlalchemy.exc import SQLAlchemyError

from regard.jobs import flow
from regard.jobs.runner import Runner, pause_s
from regard.jobs.work import Check, Interrupted
from regard.log import spare
from regard.store import queue

_POLL_S = 1.0  # for tasks that are to be tried again; new ones are announced
_HEARTBEAT_S = 10.0
_CARE_S = 1.0
_RESTART_S = 1.0
_GRACE_S = 8.0  # for steps under way when the worker is to end; then they are left, to be taken again
_CONNECTIONS = 4  # to see to the queue; steps have those of the database's pool
_OTHER_THREADS = 2  # to begin with the database, and to resolve its name
_PURGE_SCHEDULE = "*/10 * * * *"

_log = structlog.get_logger(__name__)


class _Again(BaseRetryStrategy):
    """What a step raises is to be tried again; the runner has ended the job where it is not."""

    def get_retry_decision(self, *, exception: BaseException, job: QueuedTask) -> RetryDecision:
        seconds = 0 if isinstance(exception, Interrupted) else pause_s(job.attempts)
        # A suspect that only fails has killed nobody, and must not keep the others waiting for its next turn.
        lock = f"step {job.id}" if job.lock == queue.SUSPECTS else None
        return RetryDecision(retry_in={"seconds": seconds}, lock=lock)


class Worker:
    """Takes up to `at_once` steps of jobs at a time, from `start` to `stop`; a context manager does both."""

    def __init__(self, runner: Runner, at_once: int) -> None:
        self._runner = runner
        self._at_once = at_once
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)
        self._thread.join()

    def _run(self) -> None:
        spare("psycopg.pool")
        for name in ("procrastinate.worker.worker", "procrastinate.utils"):
            logging.getLogger(name).addFilter(_tells_more)
        with asyncio.Runner() as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(self._at_once + _OTHER_THREADS, "worker"))
        while not self._stopping.is_set():
            try:
                await self._work()
            except (psycopg.Error, procrastinate.exceptions.ConnectorException, SQLAlchemyError) as error:
                _log.warning("the worker waits for the database", cause=str(error.__cause__ or error))
            except Exception:
                _log.exception("the worker starts again")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _RESTART_S)

    async def _work(self) -> None:
        """Be one registered worker, until asked to end or the database breaks off."""
        await asyncio.to_thread(self._runner.purge)  # also revives an embedded database that has died
        conninfo = self._runner.database.conninfo
        connector = procrastinate.PsycopgConnector(conninfo=conninfo, min_size=1, max_size=_CONNECTIONS)
        async with (
            _tasks(self._runner, connector).open_async() as app,
            await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as life,
        ):
            worker = QueueWorker(
                app,
                concurrency=self._at_once,
                fetch_job_polling_interval=_POLL_S,
                shutdown_graceful_timeout=_GRACE_S,
                delete_jobs="always",
                install_signal_handlers=False,
                update_heartbeat_interval=_HEARTBEAT_S,
                stalled_worker_timeout=queue.HEARTBEAT_PATIENCE_S,
            )
            working = asyncio.create_task(_until_stopped(worker))
            beside = [asyncio.create_task(self._wake.wait()), asyncio.create_task(_care(worker, life))]
            await asyncio.wait([working, *beside], return_when=asyncio.FIRST_COMPLETED)
            if not self._wake.is_set():  # the queue's own connections would wait for it in vain, for half a minute
                await asyncio.to_thread(self._runner.database.revive)
            worker.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait([working])
            for task in beside:
                task.cancel()
            outcomes = await asyncio.gather(working, *beside, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome


def _tells_more(record: logging.LogRecord) -> bool:
    """Whether a line of the queue's says more than that the database is away, which the worker says itself."""
    return record.exc_info is None or not isinstance(record.exc_info[1], procrastinate.exceptions.ConnectorException)


async def _until_stopped(worker: QueueWorker) -> None:
    await worker.run()  # type: ignore[no-untyped-call]


async def _care(worker: QueueWorker, life: psycopg.AsyncConnection[Any]) -> None:
    """Be known to live, and have the tasks of workers that do not taken up by others."""
    while worker.worker_id is None:
        await asyncio.sleep(0.01)
    await queue.live(life, worker.worker_id)
    while True:
        if count := await queue.requeue_of_the_dead(life, [flow.NOTIFY, flow.PURGE]):
            _log.warning("a worker has died", steps_to_take_again=count)
        await asyncio.sleep(_CARE_S)


def _tasks(runner: Runner, connector: procrastinate.PsycopgConnector) -> procrastinate.App:
    """The queue with what there is to do in it."""
    app = procrastinate.App(connector=connector)
    again = _Again()

    @app.task(name=flow.PLAN, pass_context=True, retry=again)
    def plan(context: JobContext, job_id: str) -> None:
        runner.plan(job_id, context.job.attempts, _check(context))

    @app.task(name=flow.PART, pass_context=True, retry=again)
    def part(context: JobContext, job_id: str, number: int) -> None:
        runner.part(job_id, number, context.job.attempts, _check(context))

    @app.task(name=flow.CONCLUDE, pass_context=True, retry=again)
    def conclude(context: JobContext, job_id: str) -> None:
        runner.conclude(job_id, context.job.attempts, _check(context))

    @app.task(name=flow.NOTIFY, pass_context=True, retry=again)
    def notify(context: JobContext, job_id: str) -> None:
        runner.notify(job_id, context.job.attempts)

    @app.periodic(cron=_PURGE_SCHEDULE)
    @app.task(name=flow.PURGE, queueing_lock=flow.PURGE)
    def purge(timestamp: int) -> None:  # noqa: ARG001 - the library passes it
        runner.purge()

    return app


def _check(context: JobContext) -> Check:
    def check() -> None:
        if context.should_abort():
            raise Interrupted

    return check
