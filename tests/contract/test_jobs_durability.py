"""A job of stored video ends as if nothing had happened, whoever is killed and whenever."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

pytestmark = pytest.mark.timeout(900)  # of which most is starting servers anew

KILLS = 10
CHUNKS = 12
VIDEO = {"S3Object": {"Bucket": "local", "Name": "moving.mp4"}}
PATIENT = Config(retries={"total_max_attempts": 1}, read_timeout=60)


def begin(client: Any, **parameters: Any) -> str:
    return str(client.start_label_detection(Video=VIDEO, **parameters)["JobId"])


def outcome(client: Any, job_id: str, seconds: float = 180) -> Any:
    """What a job comes to: everything that all its pages say, but for its id and the tokens."""
    deadline = time.monotonic() + seconds
    while (page := client.get_label_detection(JobId=job_id))["JobStatus"] == "IN_PROGRESS":
        assert page["Labels"] == []
        assert time.monotonic() < deadline, "the job did not end in time"
        time.sleep(0.1)
    pages = []
    for order in ({}, {"SortBy": "NAME"}, {"AggregateBy": "SEGMENTS"}, {"AggregateBy": "SEGMENTS", "SortBy": "NAME"}):
        token = ""
        while token is not None:
            page = client.get_label_detection(JobId=job_id, MaxResults=50, NextToken=token, **order)
            token = page.get("NextToken")
            pages.append({name: page[name] for name in page.keys() - {"JobId", "NextToken", "ResponseMetadata"}})
    return pages


@pytest.fixture
def kill_at_end() -> Iterator[list[Any]]:
    """Processes put in here are killed at the end of the test."""
    processes: list[Any] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_job_whose_server_is_killed_ten_times_ends_as_if_it_had_not_been(
    luminance: Callable[..., Any], start: Callable[..., Any]
) -> None:
    deployment = luminance()
    server = start(deployment)
    with closing(server.client()) as client:
        began = time.monotonic()
        undisturbed = outcome(client, begin(client))
        lasted = time.monotonic() - began
        job_ids = [begin(client)]
    for _ in range(KILLS):
        time.sleep(random.uniform(0, lasted))
        server.kill()
        server = start(deployment)
        with closing(server.client(config=PATIENT)) as client:
            if client.get_label_detection(JobId=job_ids[-1])["JobStatus"] != "IN_PROGRESS":
                job_ids.append(begin(client))
    with closing(server.client(config=PATIENT)) as client:
        outcomes = [outcome(client, job_id) for job_id in job_ids]
    assert undisturbed[0]["JobStatus"] == "SUCCEEDED"
    assert [found == undisturbed for found in outcomes] == [True] * len(outcomes)


def test_a_job_whose_worker_is_killed_ten_times_ends_as_if_it_had_not_been(
    luminance: Callable[..., Any], start: Callable[..., Any], kill_at_end: list[Any]
) -> None:
    deployment = luminance(REGARD_WORKERS="0")
    server = start(deployment)
    with closing(server.client(config=PATIENT)) as client:
        worker = deployment.run("worker", REGARD_WORKERS="2")
        kill_at_end.append(worker)
        undisturbed = outcome(client, begin(client))
        job_ids = [begin(client)]

        def is_at_it(before: int) -> bool:
            """Whether the worker has looked at a chunk since; where there are none left it gets another job."""
            if client.get_label_detection(JobId=job_ids[-1])["JobStatus"] != "IN_PROGRESS":
                job_ids.append(begin(client))
            return chunks(deployment) > before

        for _ in range(KILLS):
            before = chunks(deployment)
            wait_for(lambda before=before: is_at_it(before))
            time.sleep(random.uniform(0, 0.5))
            worker.kill()
            worker.wait()
            begun = works_begun(deployment)
            worker = deployment.run("worker", REGARD_WORKERS="2")
            kill_at_end.append(worker)
        wait_for(lambda: works_begun(deployment) > begun)  # before that it cannot be asked to end
        outcomes = [outcome(client, job_id) for job_id in job_ids]
    assert undisturbed[0]["JobStatus"] == "SUCCEEDED"
    assert [found == undisturbed for found in outcomes] == [True] * len(outcomes)
    worker.terminate()
    assert worker.wait(60) == 0
    assert server.stop() == 0
    assert deployment.postgres() == []


def test_workers_share_the_chunks_of_a_job_and_the_living_take_up_what_a_dead_one_was_at(
    luminance: Callable[..., Any], start: Callable[..., Any], kill_at_end: list[Any]
) -> None:
    deployment = luminance(REGARD_WORKERS="1")
    server = start(deployment)
    worker = deployment.run("worker")
    kill_at_end.append(worker)
    wait_for(lambda: works_begun(deployment) > 0)
    with closing(server.client()) as client:
        undisturbed = outcome(client, begin(client))
        shares = by_process(deployment)
        assert len(shares) == 2
        assert sum(shares.values()) == CHUNKS
        job_id = begin(client)
        wait_for(lambda: by_process(deployment)[worker.pid] > shares[worker.pid])
        worker.kill()
        assert outcome(client, job_id) == undisturbed


def test_a_database_that_is_killed_under_a_job_costs_it_nothing(
    luminance: Callable[..., Any], start: Callable[..., Any]
) -> None:
    deployment = luminance()
    with closing(start(deployment).client(config=PATIENT)) as client:
        undisturbed = outcome(client, begin(client))
        job_id = begin(client)
        for _ in range(2):
            before = chunks(deployment)
            wait_for(lambda before=before: chunks(deployment) > before)
            wait_for(lambda: database_killed(deployment))
        assert patiently(lambda: outcome(client, job_id)) == undisturbed


def test_a_server_that_is_asked_to_end_leaves_its_job_to_the_next(
    luminance: Callable[..., Any], start: Callable[..., Any]
) -> None:
    deployment = luminance()
    server = start(deployment)
    with closing(server.client()) as client:
        undisturbed = outcome(client, begin(client))
        before = chunks(deployment)
        job_id = begin(client)
        wait_for(lambda: chunks(deployment) > before)
    assert server.stop() == 0
    with closing(start(deployment).client()) as client:
        assert outcome(client, job_id) == undisturbed
    assert chunks(deployment) == 2 * CHUNKS  # what was under way had been finished before


def test_a_chunk_that_kills_its_process_each_time_fails_its_job_and_no_other(
    luminance: Callable[..., Any], start: Callable[..., Any]
) -> None:
    deployment = luminance()
    server = start(deployment)
    with closing(server.client()) as client:
        undisturbed = outcome(client, begin(client))
        poisoned, innocent = begin(client, JobTag="kills"), begin(client)
    deaths = 0
    while True:
        try:
            with closing(server.client(config=PATIENT)) as client:
                failed, other = outcome(client, poisoned), outcome(client, innocent)
                break
        except BotoCoreError:
            server.process.wait(60)
            server = start(deployment)
            deaths += 1
    assert failed[0]["JobStatus"] == "FAILED"
    assert "given up after 6 attempts" in failed[0]["StatusMessage"]
    assert failed[0]["Labels"] == []
    assert other == undisturbed
    assert deaths == 6


def test_an_error_that_will_not_pass_fails_the_job_at_once(
    luminance: Callable[..., Any], start: Callable[..., Any]
) -> None:
    messages = {
        "raises": "The service experienced an internal error.",
        "refuses": "The collection id: gone does not exist",
    }
    with closing(start(luminance()).client()) as client:
        for tag, message in messages.items():
            failed = outcome(client, begin(client, JobTag=tag))
            assert failed[0]["JobStatus"] == "FAILED"
            assert failed[0]["StatusMessage"] == message
            assert failed[0]["JobTag"] == tag


def test_one_token_is_one_job_however_many_ask_at_once(
    luminance: Callable[..., Any], start: Callable[..., Any]
) -> None:
    deployment = luminance(REGARD_WORKERS="0")
    with closing(start(deployment).client()) as client, ThreadPoolExecutor(8) as threads:
        job_ids = set(threads.map(lambda _: begin(client, ClientRequestToken="once"), range(16)))
        assert len(job_ids) == 1
        with pytest.raises(client.exceptions.IdempotentParameterMismatchException, match="once you have supplied"):
            begin(client, ClientRequestToken="once", MinConfidence=70.0)
        others = list(threads.map(lambda _: attempt(client), range(24)))
    assert Counter(others) == {"JobId": 19, "LimitExceededException": 5}


def attempt(client: Any) -> str:
    try:
        begin(client)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "JobId"


def patiently(ask: Callable[[], Any]) -> Any:
    """An answer, though some requests meet a database that has died."""
    while True:
        try:
            return ask()
        except ClientError as error:
            if error.response["Error"]["Code"] != "InternalServerError":
                raise


def database_killed(deployment: Any) -> bool:
    """Whether PostgreSQL was there to be killed; between its death and its revival it is not."""
    with suppress(FileNotFoundError, IndexError, psutil.NoSuchProcess):
        postmaster = psutil.Process(int((deployment.home / "postgres" / "postmaster.pid").read_text().split()[0]))
        if postmaster.status() != psutil.STATUS_ZOMBIE:
            postmaster.kill()
            return True
    return False


def by_process(deployment: Any) -> Counter[int]:
    """How many chunks each process has looked at."""
    log = deployment.home / "chunks.log"
    return Counter(int(line.split()[0]) for line in log.read_text().splitlines()) if log.exists() else Counter()


def works_begun(deployment: Any) -> int:
    """How many servers and workers have said that they work."""
    return int((deployment.home / "serve.log").read_text().count("working"))


def chunks(deployment: Any) -> int:
    return sum(by_process(deployment).values())


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
