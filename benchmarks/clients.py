"""Requests made beforehand, and clients that only send them, so that they take little of the machine they share."""

import base64
import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from httptools import HttpResponseParser

from regard.demo import Running

_AT_ONCE = 1 << 18  # bytes


def address(server: Running) -> tuple[str, int]:
    """The host and port of a server."""
    host, _, port = server.endpoint.removeprefix("http://").partition(":")
    return host, int(port)


def encoded(picture: bytes) -> str:
    """The bytes of a picture as they are sent."""
    return base64.b64encode(picture).decode()


def signed(server: Running, operation: str, parameters: dict[str, Any]) -> bytes:
    """All bytes of a signed HTTP request; a signature holds for five minutes."""
    body = json.dumps(parameters).encode()
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"RekognitionService.{operation}"}
    unsigned = AWSRequest("POST", f"{server.endpoint}/", headers, body)
    key = Credentials(server.key["AccessKeyId"], server.key["SecretAccessKey"])
    SigV4Auth(key, "rekognition", server.key["Region"]).add_auth(unsigned)
    host = server.endpoint.removeprefix("http://")
    lines = "".join(f"{name}: {value}\r\n" for name, value in unsigned.headers.items())
    return f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def ask(server: Running, request: Callable[[], bytes], clients: int, seconds: float) -> list[float]:
    """Milliseconds of each request of so many clients, every one of which sends its next when the last is answered.

    One thread does for all of them: threads would wait for one another, and take time that the server could use.
    Raises AssertionError if an answer is none with a result.
    """
    times: list[float] = []
    with DefaultSelector() as selector, ExitStack() as connections:
        stop = time.perf_counter() + seconds
        for _ in range(clients):
            client = connections.enter_context(closing(_Client(server)))
            selector.register(client, client.send(request()), client)
        while selector.get_map():
            for key, ready in selector.select():
                client = key.data
                if ready & EVENT_WRITE:
                    selector.modify(client, client.go_on(), client)
                elif client.is_answered():
                    times.append((time.perf_counter() - client.began) * 1000)
                    if time.perf_counter() < stop:
                        selector.modify(client, client.send(request()), client)
                    else:
                        selector.unregister(client)
    return times


class _Client:
    """One connection, and the request that it is at. What sends says which event it waits for next."""

    began = 0.0

    def __init__(self, server: Running) -> None:
        self._socket = socket.create_connection(address(server))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, request: bytes) -> int:
        self.began = time.perf_counter()
        self._left, self._answer = memoryview(request), _Answer()
        self._parser = HttpResponseParser(self._answer)
        return self.go_on()

    def go_on(self) -> int:
        with suppress(BlockingIOError):
            while self._left:
                self._left = self._left[self._socket.send(self._left) :]
        return EVENT_WRITE if self._left else EVENT_READ

    def is_answered(self) -> bool:
        """Read what has come; whether that was the end of it."""
        read = self._socket.recv(_AT_ONCE)
        assert read, "the server has closed the connection"
        self._parser.feed_data(read)
        if self._answer.complete:
            assert self._parser.get_status_code() == 200, bytes(self._answer.body)
        return self._answer.complete


class _Answer:
    """What uvicorn's parser, which takes less of the machine than `http.client`, tells of an answer."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True
