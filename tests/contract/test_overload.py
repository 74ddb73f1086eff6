"""A server with more to do than it can, clients that send nothing, and how it takes its leave.

What holds requests up is a lock on a collection in the database, so that how many run and wait is exact.
"""

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError
from prometheus_client.parser import text_string_to_metric_families
from tests.contract.conftest import free_port

RUNNING = 7  # REGARD_THREADS=1, and six that wait for the database
QUEUE = 3
BODY = 15 << 20
SETTINGS = {
    "REGARD_THREADS": "1",
    "REGARD_WORKERS": "0",
    "REGARD_PRELOAD": "",
    "REGARD_QUEUE": str(QUEUE),
    "REGARD_BODIES_MB": "32",
    "REGARD_PATIENCE_SECONDS": "1",
    "REGARD_LOG_JSON": "true",
}


@pytest.fixture(scope="module")
def server(deploy: Callable[..., Any]) -> Iterator[Any]:
    server = deploy(**SETTINGS).start()
    with closing(server.client()) as client:
        client.create_collection(CollectionId="staff")
    yield server
    assert server.stop() == 0


def get(server: Any, path: str) -> tuple[int, str]:
    request = urllib.request.Request(server.endpoint + path)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(server: Any, name: str, **labels: str) -> float:
    """The sum over the samples of that name with those labels."""
    status, text = get(server, "/-/metrics")
    assert status == 200
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def locked(server: Any, collection: str = "staff") -> Iterator[None]:
    """No user can be made in the collection for the time of the block."""
    folder = server.deployment.home / "postgres"
    (line,) = [line for line in (folder / "postmaster.pid").read_text().splitlines() if line.startswith("/")][1:]
    with psycopg.connect(host=line, user="postgres", dbname="postgres") as connection:
        connection.execute("SELECT key FROM collections WHERE collection_id = %s FOR UPDATE", (collection,))
        yield


@contextmanager
def connected(server: Any, head: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head)
        yield connection


def answered(connection: socket.socket, text: bytes) -> bool:
    """Whether that comes back within the first answer."""
    received = b""
    while text not in received and (data := connection.recv(4096)):
        received += data
    return text in received


def head(length: int) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: regard\r\nContent-Length: {length}\r\n\r\n".encode()


def test_who_finds_the_queue_full_is_throttled_at_once_and_nobody_else(server: Any) -> None:
    throttled = metric(server, "regard_requests_refused_total", cause="queue")
    with closing(server.client()) as client, ThreadPoolExecutor(RUNNING + QUEUE) as threads:
        with locked(server):
            waiting: list[Future[Any]] = [
                threads.submit(client.create_user, CollectionId="staff", UserId=f"u{number}")
                for number in range(RUNNING + QUEUE)
            ]
            wait_until(lambda: metric(server, "regard_requests_waiting") == QUEUE)
            assert metric(server, "regard_requests_in_flight") == RUNNING
            with pytest.raises(ClientError) as refused:
                client.list_collections()
            assert refused.value.response["Error"] == {
                "Code": "ThrottlingException",
                "Message": "Slow down; sudden increase in rate of requests.",
            }
            # Before its body is there.
            with connected(server, head(BODY)) as connection:
                assert answered(connection, b"ThrottlingException")
            assert get(server, "/-/healthz") == get(server, "/-/readyz") == (200, "ok\n")
            assert not any(future.done() for future in waiting)
        for future in waiting:
            future.result()
        users = [user["UserId"] for user in client.list_users(CollectionId="staff")["Users"]]
    assert len(users) == RUNNING + QUEUE
    assert metric(server, "regard_requests_refused_total", cause="queue") == throttled + 2
    assert metric(server, "regard_requests_in_flight") == metric(server, "regard_requests_waiting") == 0


def test_a_request_whose_client_has_gone_before_its_turn_is_not_carried_out(server: Any) -> None:
    with closing(server.client()) as client, ThreadPoolExecutor(RUNNING) as threads:
        with locked(server):
            for number in range(RUNNING):
                threads.submit(client.create_user, CollectionId="staff", UserId=f"here{number}")
            wait_until(lambda: metric(server, "regard_requests_in_flight") == RUNNING)
            with closing(server.client()) as leaver:
                # Whatever is signed waits; this one is cut off while it does.
                request = signed(server, leaver, UserId="gone", CollectionId="staff")
                with connected(server, request):
                    wait_until(lambda: metric(server, "regard_requests_waiting") == 1)
            wait_until(lambda: metric(server, "regard_requests_waiting") == 0)
        wait_until(lambda: metric(server, "regard_requests_in_flight") == 0)
        users = {user["UserId"] for user in client.list_users(CollectionId="staff")["Users"]}
    assert {f"here{number}" for number in range(RUNNING)} <= users
    assert "gone" not in users
    assert metric(server, "regard_requests_refused_total", cause="gone") == 1


def signed(server: Any, client: Any, **parameters: str) -> bytes:
    """The bytes that boto3 would send for CreateUser."""
    sent: list[Any] = []

    def keep(request: Any, **_: Any) -> None:
        sent.append(request)
        raise InterruptedError

    client.meta.events.register("before-send.rekognition", keep)
    with pytest.raises(InterruptedError):
        client.create_user(ClientRequestToken="t", **parameters)
    (request,) = sent
    headers = {"Host": f"127.0.0.1:{server.port}"} | {
        name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + request.body


def test_bodies_have_their_memory_and_no_more(server: Any) -> None:
    with connected(server, head(BODY)), connected(server, head(BODY)):
        wait_until(lambda: metric(server, "regard_bodies_held_bytes") == 2 * BODY)
        with connected(server, head(BODY)) as connection:
            assert answered(connection, b"ThrottlingException")
        assert server.post().status == 200
    wait_until(lambda: metric(server, "regard_bodies_held_bytes") == 0)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(server: Any) -> None:
    with connected(server, head((16 << 20) + 1)) as connection:
        assert answered(connection, b"The request is larger than 16777216 bytes.")


def test_one_whose_length_is_not_told_is_refused_when_it_is_too_large(server: Any) -> None:
    chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    start = b"POST / HTTP/1.1\r\nHost: regard\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(server, start) as connection:
        for _ in range(17):
            connection.sendall(chunk)
        assert answered(connection, b"The request is larger than 16777216 bytes.")


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"POST / HTTP/1.1\r\nHost: reg", b""),
        (head(100), b"HTTP/1.1 408"),
        (head(100) + b"x", b"HTTP/1.1 408"),
    ],
    ids=["nothing", "half a head", "no body", "half a body"],
)
def test_a_client_that_goes_silent_is_cut_off(server: Any, sent: bytes, answer: bytes) -> None:
    with connected(server, sent) as connection:
        received = b""
        while data := connection.recv(4096):  # until the server closes
            received += data
    assert received[: len(answer)] == answer
    assert bool(received) == bool(answer)


def test_the_control_plane_waits_no_longer_and_keeps_no_more(server: Any) -> None:
    """It reads bodies before it knows who sends them, too."""

    def to_control(length: int) -> bytes:
        return head(length).replace(b"POST / ", b"POST /-/policies/test ")

    large, small = head(BODY), to_control(1 << 20)
    with connected(server, large), connected(server, large), connected(server, small), connected(server, small):
        wait_until(lambda: metric(server, "regard_bodies_held_bytes") == 32 << 20)
        with connected(server, to_control(100)) as connection:
            assert answered(connection, b"HTTP/1.1 503")
    with connected(server, to_control(100) + b"x") as connection:
        assert answered(connection, b"HTTP/1.1 408")
    wait_until(lambda: metric(server, "regard_bodies_held_bytes") == 0)
    with connected(server, to_control((1 << 20) + 1)) as connection:
        assert answered(connection, b"The request is larger than 1048576 bytes.")


def test_a_client_that_sends_drop_by_drop_is_cut_off_too(server: Any) -> None:
    with connected(server, head(BODY)) as connection:
        connection.settimeout(0.3)
        for _ in range(20):
            connection.sendall(b"x")
            try:
                assert connection.recv(4096).startswith(b"HTTP/1.1 408")
                return
            except TimeoutError:
                pass
    raise AssertionError("it is still waited for")


def test_metrics_are_for_this_machine(server: Any) -> None:
    assert get(server, "/-/metrics")[0] == 200
    request = urllib.request.Request(server.endpoint + "/-/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=5)


def test_metrics_tell_what_was_done_and_name_nobody(server: Any) -> None:
    before = metric(server, "regard_requests_total", operation="DescribeCollection", code="OK")
    with closing(server.client()) as client:
        client.describe_collection(CollectionId="staff")
        with pytest.raises(ClientError):
            client.describe_collection(CollectionId="nobody")
    assert metric(server, "regard_requests_total", operation="DescribeCollection", code="OK") == before + 1
    assert metric(server, "regard_requests_total", operation="DescribeCollection") == before + 2
    assert metric(server, "regard_request_seconds_count", operation="DescribeCollection") == before + 2
    assert metric(server, "regard_database_up") == metric(server, "regard_ready") == 1
    assert metric(server, "regard_audit_records") > 0
    text = get(server, "/-/metrics")[1]
    for name in (server.deployment.access_key_id, "staff", "nobody", "here0"):
        assert name not in text


def test_a_worker_has_its_metrics_at_a_port_of_their_own(server: Any) -> None:
    port = free_port()
    worker = server.deployment.run("worker", REGARD_METRICS_PORT=str(port))
    try:
        own = replace(server, port=port)

        def answers() -> bool:
            with suppress(urllib.error.URLError, ConnectionError):
                return get(own, "/metrics")[0] == 200
            return False

        wait_until(answers)
        assert metric(own, "regard_database_up") == 1
        assert metric(own, "regard_job_queue_tasks") == 0
    finally:
        worker.terminate()
    assert worker.wait(20) == 0


def test_lines_about_a_request_carry_its_id(server: Any) -> None:
    answer = server.post(operation="DescribeCollection", body=b'{"CollectionId": "staff"}')
    wanted = answer.headers["x-amzn-requestid"]
    log = [json.loads(line) for line in (server.deployment.home / "serve.log").read_text().splitlines()]
    (line,) = [line for line in log if line.get("request_id") == wanted]
    assert line["event"] == "request"
    assert line["operation"] == "DescribeCollection"
    assert line["access_key_id"] == server.deployment.access_key_id
    assert next(line["event"] for line in log) == "serving"


def test_a_server_that_is_asked_to_end_says_so_before_it_closes(server: Any, start: Callable[..., Any]) -> None:
    leaving = start(server.deployment, REGARD_DRAIN_SECONDS="2")
    assert get(leaving, "/-/readyz") == (200, "ok\n")
    os.kill(leaving.process.pid, signal.SIGTERM)
    wait_until(lambda: get(leaving, "/-/readyz") == (503, "the server ends\n"))
    assert leaving.post().status == 200
    assert get(leaving, "/-/healthz") == (200, "ok\n")
    assert leaving.process.wait(20) == 0


def test_asked_twice_it_ends_at_once(server: Any, start: Callable[..., Any]) -> None:
    leaving = start(server.deployment, REGARD_DRAIN_SECONDS="60")
    os.kill(leaving.process.pid, signal.SIGTERM)
    wait_until(lambda: get(leaving, "/-/readyz")[0] == 503)
    os.kill(leaving.process.pid, signal.SIGTERM)
    assert leaving.process.wait(5) == 128 + signal.SIGTERM
    assert server.post().status == 200
