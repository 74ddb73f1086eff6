"""Heads of requests have an end: of bytes and of time. Answers go out whole, or say where they end."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any
from unittest.mock import Mock

import anyio
import boto3
import pytest
import uvicorn
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from regard.http import MAX_HEAD_BYTES, WHOLE_BYTES, BoundedHttp, framing


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


class _Late:
    """Answers after a moment, whatever is asked, and keeps what went wrong meanwhile."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.answers = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await anyio.sleep(0.2)
        try:
            await PlainTextResponse("late")(scope, receive, send)
        except Exception as failure:
            self.failures.append(failure)
        self.answers += 1


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Of a server whose patience is a minute, or the seconds that the test names."""
    with served(Starlette(routes=[Route("/", _echo, methods=["POST"])]), getattr(request, "param", 60.0)) as number:
        yield number


class _Noted(BoundedHttp):
    """Keeps what is written to connections, piece by piece."""

    def __init__(self, *arguments: Any, pieces: list[bytes], **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._pieces = pieces

    def connection_made(self, transport: Any) -> None:
        def write(data: bytes) -> None:
            self._pieces.append(data)
            transport.write(data)

        super().connection_made(Mock(wraps=transport, write=write))


@contextmanager
def served(application: Any, patience_s: float, speaking: Any = BoundedHttp) -> Iterator[int]:
    """The port of a server."""
    protocol: Any = partial(speaking, patience_s=patience_s)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(application, http=protocol, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(30)


def answer(port: int, *pieces: bytes) -> bytes:
    """What comes back until the server ends the connection or is done."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            while part := connection.recv(65536):
                received += part
        except ConnectionError:  # it was ended while more was sent
            pass
    return received


HEAD = b"POST / HTTP/1.1\r\nHost: regard\r\nConnection: close\r\n"


def test_an_ordinary_request_is_answered(port: int) -> None:
    body = b"x" * 1_000_000
    assert answer(port, HEAD + b"Content-Length: 1000000\r\n\r\n", body).endswith(b"1000000")


@pytest.mark.parametrize(
    "head",
    [
        b"POST /" + b"a" * MAX_HEAD_BYTES,
        HEAD + b"X: 1\r\n" * MAX_HEAD_BYTES,
        HEAD + b"X: " + b"1" * 20 * MAX_HEAD_BYTES,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: 1\r\n" * MAX_HEAD_BYTES,
    ],
    ids=["address", "headers", "one header", "trailers"],
)
def test_a_head_without_end_is_refused(port: int, head: bytes) -> None:
    received = answer(port, head)
    assert received == b"" or received.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("port", [0.1], indirect=True)
def test_a_head_that_does_not_come_ends_the_connection(port: int) -> None:
    assert answer(port, HEAD) == b""


@pytest.mark.parametrize("port", [0.1], indirect=True)
def test_a_body_may_take_longer_than_a_head(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n")
        time.sleep(0.4)
        connection.sendall(b"ab")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


GOOD = b"GET / HTTP/1.1\r\nHost: regard\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        (GOOD, b"nonsense\r\n\r\n"),
        (GOOD, GOOD, b"nonsense\r\n\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"nonsense\r\n"),
        (GOOD, b"GET / HTTP/1.1\r\n"),
    ],
    ids=["after it", "after two", "in its body", "a head that does not come"],
)
def test_who_works_on_an_answer_does_not_write_it_to_a_connection_that_was_ended(pieces: tuple[bytes, ...]) -> None:
    late = _Late()
    with served(late, 0.1) as port:
        answer(port, *pieces)
        deadline = time.monotonic() + 10
        while not late.answers and time.monotonic() < deadline:
            time.sleep(0.05)
    assert late.answers
    assert late.failures == []


async def _slow_body(scope: Any, receive: Any, send: Any) -> None:
    """Begins an answer, and ends it once the client says so."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await receive()
    await receive()
    await send({"type": "http.response.body", "body": b"ok"})


def test_an_answer_is_written_at_once() -> None:
    """A server that is killed after the head alone would leave boto3 with an empty answer, which it takes for one."""
    pieces: list[bytes] = []
    with served(PlainTextResponse("ok"), 60, partial(_Noted, pieces=pieces)) as port:
        answer(port, GOOD, GOOD, HEAD + b"\r\n")
    assert [piece[:12] + piece[-6:] for piece in pieces] == 3 * [b"HTTP/1.1 200\r\n\r\nok"]


def test_a_head_does_not_wait_for_a_body_that_takes_long_or_does_not_come() -> None:
    with served(_slow_body, 60) as port, socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(GOOD)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    with served(PlainTextResponse("ok"), 60) as port:
        received = answer(port, b"HEAD / HTTP/1.1\r\nHost: regard\r\nConnection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"\r\n\r\n")


LONG = {"CollectionIds": ["c" * 100] * (WHOLE_BYTES // 100)}


async def _long(scope: Any, receive: Any, send: Any) -> None:
    body = json.dumps(LONG).encode()
    headers = [framing(body, scope["http_version"]), (b"content-type", b"application/x-amz-json-1.1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def one_that_answers(part: bytes) -> Iterator[str]:
    """The address of a server that sends this to one client, and is gone."""

    def send() -> None:
        with listening.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(part)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=send)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(30)


def collections(endpoint: str) -> Any:
    """What boto3 makes of an answer to ListCollections."""
    client = boto3.client(
        "rekognition",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with closing(client):
        return client.list_collections()


def test_boto3_does_not_take_part_of_a_long_answer_for_it() -> None:
    """As it would one with a length, which it does not count: it would read an answer with nothing in it."""
    with served(_long, 60) as port:
        whole = answer(port, b"GET / HTTP/1.1\r\nHost: regard\r\nConnection: close\r\n\r\n")
    body = whole.index(b"\r\n\r\n") + 4
    for end in (body, (body + len(whole)) // 2, len(whole) - 5):
        with one_that_answers(whole[:end]) as endpoint, pytest.raises(ConnectionClosedError):
            collections(endpoint)
    with one_that_answers(whole) as endpoint:
        assert collections(endpoint)["CollectionIds"] == LONG["CollectionIds"]


def test_http_1_0_is_told_the_length_of_a_long_answer() -> None:
    with served(_long, 60) as port:
        head, _, body = answer(port, b"GET / HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
    assert json.loads(body) == LONG


@pytest.mark.parametrize("port", [0.3], indirect=True)
@pytest.mark.parametrize(
    ("request_", "then"),
    [
        (b"POST / HTTP/1.1\r\nHost: regard\r\nContent-Length: 0\r\n\r\n", b"\r\n"),
        (b"GET /none HTTP/1.1\r\nHost: regard\r\nContent-Length: 9\r\n\r\n", b"x"),
    ],
    ids=["a line", "more of a body that was not waited for"],
)
def test_what_begins_no_request_does_not_keep_a_connection(port: int, request_: bytes, then: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request_)
        assert connection.recv(65536).startswith(b"HTTP/1.1 ")
        connection.sendall(then)
        began = time.monotonic()
        while connection.recv(65536):
            pass
        assert time.monotonic() - began < 4  # uvicorn's rest between requests is five seconds
