"""Requests made beforehand, and clients that only send them, so that they take little of the machine they share."""

import base64
import json
import socket
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


class Connection:
    """One client's connection, which is kept."""

    def __init__(self, server: Running) -> None:
        self._address = address(server)
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> None:
        """Send a request and read the answer. Raises AssertionError if it is none with a result."""
        try:
            status, content = self._exchange(request)
        except ConnectionError:  # the server closes one that was idle
            self.close()
            status, content = self._exchange(request)
        assert status == 200, content

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, request: bytes) -> tuple[int, bytes]:
        """The status and body of the response."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        answer = _Answer()
        parser = HttpResponseParser(answer)
        while not answer.complete:
            if not (read := self._socket.recv(_AT_ONCE)):
                raise ConnectionResetError
            parser.feed_data(read)
        return parser.get_status_code(), bytes(answer.body)


class _Answer:
    """What uvicorn's parser, which takes less of the machine than `http.client`, tells of an answer."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True
