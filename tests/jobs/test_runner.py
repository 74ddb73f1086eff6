"""The steps of a job, taken in any order and twice, on a real database."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError, EndpointConnectionError
from sqlalchemy.exc import OperationalError

from regard.jobs import flow
from regard.jobs.runner import ATTEMPTS, NOTIFICATION_ATTEMPTS, NotDelivered, Runner, may_pass, pause_s
from regard.jobs.work import Check, Interrupted, JobFailed, Plan
from regard.media.storage import ObjectUnavailable
from regard.settings import Settings
from regard.store import jobs, keys
from regard.store.database import Database
from regard.store.jobs import Job

ACCOUNT = "123456789012"
AWAY = OperationalError("SELECT 1", {}, Exception("away"))


@dataclass(frozen=True)
class Found:
    time_ms: int
    key: str | int
    body: Mapping[str, Any]
    aggregate: str = "TIMESTAMPS"


@dataclass
class Squares:
    """Squares the numbers of its parts; `errors` are raised first, one a step."""

    parts: int = 3
    errors: list[Exception] = field(default_factory=list)

    def plan(self, job: Job) -> Plan:
        self.stumble()
        return Plan(self.parts, {"of": job.request["of"]})

    def do(self, job: Job, number: int, check: Check) -> Any:
        self.stumble()
        check()
        return {"square": np.arange(number + 1)[::-1][:1] ** 2}

    def conclude(self, job: Job, parts: Iterable[Any]) -> Iterator[Found]:
        self.stumble()
        assert job.metadata == {"of": job.request["of"]}
        for number, part in enumerate(parts):
            yield Found(number // 2, f"k{-number % 3}", {"number": number, **part})
        assert sum(1 for _ in parts) == self.parts

    def stumble(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


def never() -> None:
    """The check of a worker that goes on."""


@pytest.fixture
def work() -> Squares:
    return Squares()


@pytest.fixture
def runner(database: Database, work: Squares) -> Runner:
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
    return Runner(Settings(), database, {"Squares": work})


def begin(runner: Runner, kind: str = "Squares") -> str:
    with runner.database.begin() as connection:
        return flow.start(connection, ACCOUNT, "AKIA", kind, {"of": "numbers"})


def job(runner: Runner, job_id: str) -> Job:
    with runner.database.read() as connection:
        found = jobs.get(connection, job_id)
    assert found is not None
    return found


def queued(runner: Runner) -> list[tuple[str, Any]]:
    """The tasks in the queue, in the order in which they are taken."""
    with runner.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT task_name, args->'number' FROM procrastinate_jobs ORDER BY priority DESC, id"
        )
        return [(name, number) for name, number in rows]


def results(runner: Runner, job_id: str, order: jobs.Order = "by_time") -> list[Any]:
    with runner.database.read() as connection:
        rows = jobs.results(connection, job(runner, job_id), "TIMESTAMPS", order, 0, 1000)
    assert [row.key for row in rows] == list(range(1, len(rows) + 1))
    return [row.body["number"] for row in rows]


def steps(runner: Runner, job_id: str, parts: int) -> list[Callable[[], None]]:
    return [
        lambda: runner.plan(job_id, 0, never),
        *(lambda number=number: runner.part(job_id, number, 0, never) for number in range(parts)),
        lambda: runner.conclude(job_id, 0, never),
    ]


def test_steps_that_are_taken_twice_change_nothing(runner: Runner, work: Squares) -> None:
    job_id = begin(runner)
    plan, *parts, conclude = steps(runner, job_id, work.parts)
    plan()
    plan()
    assert queued(runner) == [("plan", None), ("part", 0), ("part", 1), ("part", 2)]
    order = [*parts, *parts]
    random.shuffle(order)
    for part in order:
        part()
    assert [name for name, _ in queued(runner)].count("conclude") == 1
    conclude()
    ended = job(runner, job_id)
    for step in (plan, *parts, conclude):
        step()
    assert job(runner, job_id) == ended
    assert (ended.status, ended.parts_done, ended.notification) == ("SUCCEEDED", 3, "PENDING")
    assert [name for name, _ in queued(runner)].count("notify") == 1
    with runner.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM job_parts").scalar() == 0


def test_a_part_that_two_workers_do_at_once_counts_once(runner: Runner, work: Squares) -> None:
    job_id = begin(runner)
    plan, *parts, _ = steps(runner, job_id, work.parts)
    plan()
    for number, part in enumerate(parts):
        runner.part(job_id, number, 0, part)  # the other worker is done while this one is at it
        assert job(runner, job_id).parts_done == number + 1
    assert [name for name, _ in queued(runner)].count("conclude") == 1


def test_results_are_kept_in_both_orders(runner: Runner, work: Squares) -> None:
    work.parts = 5
    job_id = begin(runner)
    for step in steps(runner, job_id, work.parts):
        step()
    # Times are 0 0 1 1 2 and keys k0 k2 k1 k0 k2.
    assert results(runner, job_id, "by_time") == [0, 1, 3, 2, 4]
    assert results(runner, job_id, "by_key") == [0, 3, 2, 1, 4]


def test_a_job_of_no_parts_is_concluded(runner: Runner, work: Squares) -> None:
    work.parts = 0
    job_id = begin(runner)
    runner.plan(job_id, 0, never)
    assert ("conclude", None) in queued(runner)
    runner.conclude(job_id, 0, never)
    assert job(runner, job_id).status == "SUCCEEDED"
    assert results(runner, job_id) == []


def test_a_short_job_need_not_wait_for_a_long_one(runner: Runner, work: Squares) -> None:
    work.parts = 4
    runner.plan(begin(runner), 0, never)
    work.parts = 2
    runner.plan(begin(runner), 0, never)
    assert [number for name, number in queued(runner) if name == "part"] == [0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize("step", [0, 1, 4], ids=["plan", "part", "conclusion"])
def test_what_may_pass_is_tried_again_and_what_may_not_ends_the_job(runner: Runner, work: Squares, step: int) -> None:
    job_id = begin(runner)
    taken = steps(runner, job_id, work.parts)
    for before in taken[:step]:
        before()
    work.errors = [AWAY]
    with pytest.raises(OperationalError):
        taken[step]()
    assert job(runner, job_id).status == "IN_PROGRESS"
    work.errors = [JobFailed("There are no squares.", "INVALID_MANIFEST")]
    taken[step]()
    failed = job(runner, job_id)
    assert (failed.status, failed.status_code, failed.status_message) == (
        "FAILED",
        "INVALID_MANIFEST",
        "There are no squares.",
    )
    assert ("notify", None) in queued(runner)
    assert results(runner, job_id) == []


def test_the_last_attempt_ends_the_job_with_a_sentence(runner: Runner, work: Squares) -> None:
    job_id = begin(runner)
    work.errors = [AWAY]
    runner.plan(job_id, ATTEMPTS - 1, never)
    message = job(runner, job_id).status_message
    assert message is not None
    assert "given up after 6 attempts: the database, the object storage, memory or disk was not available" in message


def test_a_step_waits_for_room_on_the_disk(runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job_id = begin(runner)
    monkeypatch.setattr(Database, "folder", tmp_path)
    for reserve_mb, planned in ((1 << 40, False), (0, True)):
        settings = Settings(disk_reserve_mb=reserve_mb)
        with nullcontext() if planned else pytest.raises(OSError, match="no room to store more"):
            replace(runner, settings=settings).plan(job_id, 0, never)
        assert (job(runner, job_id).parts_total is not None) is planned


def test_a_mistake_ends_the_job_and_tells_the_client_nothing_of_it(runner: Runner, work: Squares) -> None:
    job_id = begin(runner)
    work.errors = [KeyError("secret")]
    runner.plan(job_id, 0, never)
    assert job(runner, job_id).status_message == "The service experienced an internal error."


def test_a_kind_that_this_worker_does_not_know_fails(runner: Runner) -> None:
    job_id = begin(runner, "Cubes")
    runner.plan(job_id, 0, never)
    assert job(runner, job_id).status_message == "Cubes is not implemented by this deployment."


def test_a_worker_that_is_to_end_lays_its_step_down(runner: Runner, work: Squares) -> None:
    def end() -> None:
        raise Interrupted

    job_id = begin(runner)
    runner.plan(job_id, 0, never)
    with pytest.raises(Interrupted):
        runner.part(job_id, 0, 0, end)
    for number in range(work.parts):
        runner.part(job_id, number, 1, never)
    with pytest.raises(Interrupted):
        runner.conclude(job_id, 0, end)
    assert (job(runner, job_id).status, results(runner, job_id)) == ("IN_PROGRESS", [])
    runner.conclude(job_id, 1, never)
    assert job(runner, job_id).status == "SUCCEEDED"


def test_a_cancelled_job_keeps_nothing_of_what_was_under_way(runner: Runner, work: Squares) -> None:
    job_id = begin(runner)
    plan, *parts, conclude = steps(runner, job_id, work.parts)
    plan()
    parts[0]()

    def cancel_meanwhile() -> None:
        assert runner.fail(job(runner, job_id), "cancelled")

    runner.part(job_id, 1, 0, cancel_meanwhile)
    parts[2]()
    conclude()
    cancelled = job(runner, job_id)
    assert (cancelled.status, cancelled.status_message, cancelled.parts_done) == ("FAILED", "cancelled", 1)
    with runner.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM job_parts").scalar() == 0
    assert not runner.fail(cancelled, "again")


def test_a_deleted_job_is_nobodys_business(runner: Runner, work: Squares) -> None:
    job_id = begin(runner)
    runner.plan(job_id, 0, never)

    def delete_meanwhile() -> None:
        with runner.database.begin() as connection:
            jobs.delete(connection, job(runner, job_id))

    runner.part(job_id, 0, 0, delete_meanwhile)
    for step in steps(runner, job_id, work.parts):
        step()
    runner.notify(job_id, 0)
    with runner.database.read() as connection:
        assert jobs.get(connection, job_id) is None


def test_jobs_are_forgotten_when_their_time_is_over(runner: Runner, work: Squares) -> None:
    old, recent, unfinished = begin(runner), begin(runner), begin(runner)
    for job_id in (old, recent):
        for step in steps(runner, job_id, work.parts):
            step()
    age = timedelta(days=7, minutes=1)
    with runner.database.begin() as connection:
        connection.execute(
            sa.text("UPDATE jobs SET created_at = now() - :age, completed_at = completed_at - :age WHERE job_id = :id"),
            [{"age": age, "id": old}],
        )
        connection.execute(
            sa.text("UPDATE jobs SET created_at = now() - :age WHERE job_id = :id"), [{"age": age, "id": unfinished}]
        )
    runner.purge()
    with runner.database.read() as connection:
        assert {found.job_id for found in jobs.every(connection)} == {recent, unfinished}
        assert connection.exec_driver_sql("SELECT count(*) FROM job_results").scalar() == work.parts


def test_a_notification_is_delivered_until_it_arrives(runner: Runner, work: Squares) -> None:
    job_id = begin(runner)
    for step in steps(runner, job_id, work.parts):
        step()
    arrived: list[Mapping[str, Any]] = []

    def receivers(notification: Mapping[str, Any]) -> dict[str, Callable[[], None]]:
        return {"a friend": lambda: arrived.append(notification)}

    with pytest.raises(NotDelivered):
        replace(runner, receivers=lambda _: {"a friend": nobody_there}).notify(job_id, 0)
    assert job(runner, job_id).notification == "PENDING"
    replace(runner, receivers=receivers).notify(job_id, 1)
    replace(runner, receivers=receivers).notify(job_id, 2)
    (notification,) = arrived
    completed = job(runner, job_id).completed_at
    assert completed is not None
    assert notification == {
        "JobId": job_id,
        "Status": "SUCCEEDED",
        "API": "StartSquares",
        "Timestamp": round(completed.timestamp() * 1000),
        "StatusMessage": None,
        "AccountId": ACCOUNT,
        "Request": {"of": "numbers"},
    }
    assert job(runner, job_id).notification == "delivered to a friend"


def nobody_there() -> None:
    raise ConnectionError("nobody there")


def test_a_notification_that_never_arrives_is_given_up_and_that_can_be_seen(runner: Runner, work: Squares) -> None:
    job_id = begin(runner)
    runner.fail(job(runner, job_id), "in vain")
    replace(runner, receivers=lambda _: {"a friend": nobody_there}).notify(job_id, NOTIFICATION_ATTEMPTS - 1)
    assert job(runner, job_id).notification == "not delivered in 10 attempts: nobody there"


def test_a_receiver_that_is_away_keeps_no_other_from_hearing_and_none_hears_twice(
    runner: Runner, work: Squares
) -> None:
    job_id, heard = begin(runner), []
    runner.fail(job(runner, job_id), "in vain")
    names = ["topic", "webhook", "letter"]
    receivers: dict[str, Callable[[], None]] = {name: partial(heard.append, name) for name in names}
    with pytest.raises(NotDelivered):
        replace(runner, receivers=lambda _: receivers | {"topic": nobody_there}).notify(job_id, 0)
    assert heard == ["webhook", "letter"]
    assert job(runner, job_id).notification == "PENDING, delivered to webhook and letter"
    replace(runner, receivers=lambda _: receivers).notify(job_id, 1)
    assert heard == ["webhook", "letter", "topic"]
    assert job(runner, job_id).notification == "delivered to webhook and letter and topic"


def test_errors_that_may_pass() -> None:
    def caused(cause: Exception) -> Exception:
        try:
            try:
                raise ObjectUnavailable from cause
            except ObjectUnavailable as error:
                raise JobFailed("no video") from error
        except JobFailed as error:
            return error

    def refused(code: str, status: int) -> ClientError:
        return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")

    assert may_pass(caused(EndpointConnectionError(endpoint_url="http://s3")))
    assert may_pass(caused(refused("InternalError", 500)))
    assert may_pass(refused("SlowDown", 429))
    assert may_pass(MemoryError())
    assert not may_pass(caused(refused("NoSuchKey", 404)))
    assert not may_pass(caused(ValueError("a mistake")))
    assert [pause_s(attempt) for attempt in range(ATTEMPTS - 1)] == [2, 8, 32, 128, 512]
