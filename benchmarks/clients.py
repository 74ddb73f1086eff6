"""Requests made beforehand, and clients that only send them, so that they take little of the machine they share."""

import base64
import json
import socket
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from regard.demo import Running

_PIECE = 1 << 16


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
        host, _, port = server.endpoint.removeprefix("http://").partition(":")
        self._where = host, int(port)
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> None:
        """Send a request and read the answer. Raises AssertionError if it is none with a result."""
        try:
            answer = self._exchange(request)
        except ConnectionError:  # the server closes one that was idle
            self.close()
            answer = self._exchange(request)
        assert answer.startswith(b"HTTP/1.1 200 "), answer

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, request: bytes) -> bytes:
        """The head and body of the response."""
        if self._socket is None:
            self._socket = socket.create_connection(self._where)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        answer, size = b"", None
        while size is None or len(answer) < size:
            piece = self._socket.recv(_PIECE)
            if not piece:
                raise ConnectionResetError
            answer += piece
            head, end, _ = answer.partition(b"\r\n\r\n")
            if size is None and end:
                size = len(head) + len(end) + content_length(head)
        return answer


def content_length(head: bytes) -> int:
    """What the head of a response says of its body."""
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
