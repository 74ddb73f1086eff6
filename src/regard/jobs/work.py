"""What each kind of job must give: how it is cut into parts, what a part yields, and what follows from all of them.

A step may be taken twice, by two workers, at the same time or after a crash, so it must have no effect but what it
returns; the runner sees to it that only one outcome is kept. Effects outside of the database must be such that
the second time changes nothing (the same object is written to the same place).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.engine import Connection

from regard.store.jobs import Job, Result


class JobFailed(Exception):
    """The job cannot be done, and trying again will not help; the text is the StatusMessage that clients read."""

    def __init__(self, message: str, code: str = "INTERNAL_ERROR") -> None:
        """`code` is for kinds of jobs that have one in their shape: AWS's MediaAnalysisJobFailureCode."""
        super().__init__(message)
        self.code = code


class Interrupted(Exception):
    """The worker is asked to end; the step is to be taken again, by another."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Into how many parts a job is cut, and what is known of its subject from now on (as JSON has it)."""

    parts: int
    metadata: Mapping[str, Any]


Check = Callable[[], None]
"""To be called every second or so during a step; it raises Interrupted where the worker is asked to end."""


class Work(Protocol):
    """A kind of job. Raises JobFailed where it is in vain, `from` the error; see `runner.may_pass`."""

    def plan(self, job: Job) -> Plan:
        """The parts. `job.metadata` is what this gave once the plan is made."""

    def do(self, job: Job, number: int, check: Check) -> Any:
        """What part `number` yields: lists, dicts, strings, numbers, None and numpy arrays, as JSON has them."""

    def conclude(self, job: Job, parts: Iterable[Any]) -> Iterator[Result]:
        """The results, from what the parts yielded, in order of their numbers; arrays have become lists.

        `parts` are read from the database as they are asked for, and may be gone through repeatedly.
        """


Ended = Callable[[Connection, Job, str], None]
"""Told of a job's end and its status within the transaction that ends it, as the last of it."""

Receivers = Callable[[Mapping[str, Any]], Mapping[str, Callable[[], None]]]
"""Who is to hear of a notification, by name, and what delivers it or raises; see `runner.Runner.notify` for what is in
it."""
