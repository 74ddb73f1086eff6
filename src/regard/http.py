"""HTTP/1.1 as uvicorn speaks it, with an end to what comes before a body.

Neither uvicorn nor the parser that it uses bounds the address, the headers or the trailers of a request, which anybody
can send, or sets a time for them. Nor does it ask whether a connection has been closed meanwhile before it writes an
answer to it, which uvloop takes for a mistake. And it writes the head of an answer by itself: were the server killed
then, boto3 would take a head with status 200 for an answer with nothing in it, and not try again.
"""

from asyncio import AbstractEventLoop, BaseTransport, TimerHandle, Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Ours. AWS clients send about a kilobyte; proxies add some.
MAX_HEAD_BYTES = 64 * 1024
WHOLE_BYTES = 8 * 1024
"""Of a body that surely leaves in one piece: the smallest buffer that Linux gives a connection has 16 kB."""


def framing(body: bytes, version: str) -> tuple[bytes, bytes]:
    """The header that tells where the body of an answer ends: its length, or chunks where it may leave in parts.

    Were the server killed between two parts, boto3 would take the first, with a length that it does not reach, for an
    answer with nothing in it. That a chunk is missing it sees, and asks again. HTTP/1.0 has no chunks.
    """
    if len(body) > WHOLE_BYTES and version != "1.0":
        return b"transfer-encoding", b"chunked"
    return b"content-length", str(len(body)).encode()


class HeadTooLarge(Exception):
    """An address, headers and trailers of more than `MAX_HEAD_BYTES`."""


class Whole:
    """A transport that passes the head of an answer on together with what follows it at once, and nothing once it
    closes."""

    def __init__(self, transport: Transport, loop: AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(b"HTTP/"):
            self._head = data
            self._loop.call_soon(self._flush)  # if nothing follows
        else:
            self._flush(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self, data: bytes = b"") -> None:
        head, self._head = self._head, b""
        if (head or data) and not self._transport.is_closing():
            self._transport.write(head + data)


class BoundedHttp(HttpToolsProtocol):
    """One connection. A head that is too large is answered with status 400, one that takes longer than `patience_s`
    with an end; between requests a connection may rest for as long as uvicorn's `timeout_keep_alive`."""

    _size = 0  # of the head, as far as the parser has told
    _silent = 0  # bytes since the parser last told anything: it collects a name and a value until they end
    _told = False
    _deadline: TimerHandle | None = None

    def __init__(self, *arguments: object, patience_s: float, **keywords: object) -> None:
        super().__init__(*arguments, **keywords)  # type: ignore[arg-type]
        self._patience_s = patience_s

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(Whole(transport, self.loop))  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._told = False
        super().data_received(data)
        self._silent = 0 if self._told else self._silent + len(data)
        if self._silent > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")
        if self._deadline is None and self.timeout_keep_alive_task is None and self._is_idle():
            self._await_head()  # uvicorn ends the rest between requests with the first byte, even one that begins none

    def on_message_begin(self) -> None:
        self._told = True
        self._size = 0
        if self._deadline is None:
            self._await_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._told = True
        self._end_wait()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._told = True
        super().on_body(body)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _count(self, size: int) -> None:
        self._told = True
        self._size += size
        if self._size > MAX_HEAD_BYTES:
            raise HeadTooLarge  # which the parser turns into an invalid request

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(self._patience_s, self.transport.close)

    def _end_wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
