"""Heads of requests have an end: of bytes and of time."""

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from regard.http import MAX_HEAD_BYTES, BoundedHttp


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Of a server whose patience is a minute, or the seconds that the test names."""
    protocol: Any = partial(BoundedHttp, patience_s=getattr(request, "param", 60.0))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        application = Starlette(routes=[Route("/", _echo, methods=["POST"])])
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
