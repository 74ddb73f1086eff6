"""Parts of jobs as Ray tasks: the queue in PostgreSQL stays what it is, and the work is done on any node.

A task has the networks in its own process, which takes one part after the other, rather than asking the replicas: an
analysis looks at hundreds of frames of a chunk through several engines, and so no frame leaves the process that has
decoded it. Planning and concluding, which have little to compute, stay with the worker in the front.

A task whose node dies is done again by another; a worker that dies takes its tasks with it, and the queue gives the
steps to another worker.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import ray
from ray.exceptions import RayError

from regard.cluster.node import Choices, begin, sealer_of
from regard.gallery.gallery import Gallery
from regard.jobs.work import Check, Interrupted, Plan, Work
from regard.media.storage import ObjectStore
from regard.operations import works
from regard.operations.context import Services
from regard.store.database import Database
from regard.store.jobs import Job, Result
from regard.use.audit import AuditLog
from regard.use.resuming import context_of
from regard.vision.engines import Engines

RETRIES = 3  # of a task whose node or process dies; then the queue tries again, later
_CHECK_S = 0.5

_works: dict[str, Mapping[str, Work]] = {}  # of this process, by what it was given: networks are loaded once


@dataclass(frozen=True)
class Failed:
    """What a part has raised, and from what; an exception alone would lose that on its way."""

    chain: tuple[BaseException, ...]

    @classmethod
    def of(cls, error: BaseException) -> "Failed":
        chain = [error]
        while (cause := chain[-1].__cause__) is not None:
            chain.append(cause)
        return cls(tuple(chain))

    def error(self) -> BaseException:
        for error, cause in pairwise(self.chain):
            error.__cause__ = cause
        return self.chain[0]


@dataclass(frozen=True)
class RemoteWork:
    """A kind of job whose parts are done by `task` on the cluster; implements `regard.jobs.work.Work`."""

    here: Work
    task: Callable[[Job, int], "ray.ObjectRef[Any]"]

    def plan(self, job: Job) -> Plan:
        return self.here.plan(job)

    def do(self, job: Job, number: int, check: Check) -> Any:
        task = self.task(job, number)
        try:
            while not ray.wait([task], timeout=_CHECK_S)[0]:
                check()
        except Interrupted:
            ray.cancel(task)
            raise
        try:
            outcome = ray.get(task)
        except RayError as error:
            raise Interrupted from error  # nodes have died again and again
        if isinstance(outcome, Failed):
            raise outcome.error()
        return outcome

    def conclude(self, job: Job, parts: Iterable[Any]) -> Iterator[Result]:
        return self.here.conclude(job, parts)


def remote(here: Mapping[str, Work], given: Choices, cores: float) -> dict[str, Work]:
    """The kinds of jobs, with parts done on the cluster; each reserves `cores` of its node while it is at it."""
    task = ray.remote(num_cpus=cores, max_retries=RETRIES, scheduling_strategy="SPREAD")(part)
    return {kind: RemoteWork(work, lambda job, number: task.remote(given, job, number)) for kind, work in here.items()}


def part(given: Choices, job: Job, number: int) -> Any:
    """What a part yields, or how it failed; on a node."""
    try:
        return _works_for(given)[job.kind].do(job, number, _never)
    except Exception as error:
        return Failed.of(error)


def _never() -> None:
    """Ray raises KeyboardInterrupt in a task that is to end."""


def _works_for(given: Choices) -> Mapping[str, Work]:
    key = repr(sorted(given.items()))
    if key not in _works:
        settings = begin(given)
        sealer, database = sealer_of(settings), Database.open(settings, pool_size=4)
        gallery = Gallery(database)
        gallery.keep_tidy()
        services = Services(
            settings,
            database,
            sealer,
            Engines(settings),
            gallery,
            ObjectStore(settings),
            AuditLog(database, sealer),
        )
        _works[key] = works(services, context_of(services))
    return _works[key]
