"""Who gets in: under overload most requests are still answered in time, because the rest is sent away at once.

Three things are bounded: the requests that wait for others to end, how long they wait, and the memory that the bodies
of all requests take. Who is beyond a bound gets AWS's ThrottlingException, before the body is read where it can be
known; SDKs try again later. A client that is silent in the middle of a request is cut off, and a request whose
client has gone before its turn is not carried out.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import structlog
from anyio import CapacityLimiter
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from regard import metrics
from regard.log import Seldom
from regard.settings import Settings
from regard.wire.errors import InvalidParameterException, ThrottlingException

# Two images of 5 MB in base64 (CompareFaces) and room for the other members.
MAX_BODY_BYTES = 16 * 1024 * 1024
# Whoever sends more slowly than this holds memory for longer than anybody on a poor line would.
SLOWEST_BYTES_PER_S = 16 * 1024

_log = structlog.get_logger("regard")


class SlowClient(Exception):
    """The client does not send what it announced."""


class Room:
    """Memory that one request's body has been granted."""

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission
        self.nbytes = 0

    def take(self, nbytes: int) -> None:
        """Have room for so many bytes in all. Raises ThrottlingException."""
        self._admission.take(nbytes - self.nbytes)
        self.nbytes = nbytes


def _check_size(nbytes: int, most: int) -> None:
    if nbytes > most:
        metrics.REFUSED.labels("large").inc()
        raise InvalidParameterException(f"The request is larger than {most} bytes.")


class Admission:
    """The door of a server; of its event loop alone."""

    def __init__(self, settings: Settings) -> None:
        self._turns = CapacityLimiter(settings.requests_at_once)
        self._places = settings.queue
        self._longest_wait_s = settings.queue_seconds
        self._patience_s = settings.patience_seconds
        self._free = settings.bodies_mb << 20
        self._waiting = 0
        self._refusals = Seldom()

    @contextmanager
    def room(self) -> Iterator[Room]:
        """Memory for one body, which is free again at the end."""
        room = Room(self)
        try:
            yield room
        finally:
            self.take(-room.nbytes)

    def take(self, nbytes: int) -> None:
        """Take memory, or give it back. Raises ThrottlingException."""
        if nbytes > self._free:
            raise self._throttled("bodies")
        self._free -= nbytes
        metrics.BODIES_HELD.inc(nbytes)

    async def body(
        self, headers: Iterable[tuple[str, str]], receive: Receive, room: Room, most: int = MAX_BODY_BYTES
    ) -> bytes:
        """The body of a request, of which the names of headers are in lower case.

        Raises ThrottlingException, InvalidParameterException for a body of more than `most` bytes, SlowClient, and
        ClientDisconnect.
        """
        announced = next((int(value) for name, value in headers if name == "content-length"), 0)
        _check_size(announced, most)
        if self._waiting >= self._places and self._turns.available_tokens < 1:
            raise self._throttled("queue")
        room.take(announced)
        with metrics.READING.track_inprogress():
            return await self._received(receive, room, most)

    async def _received(self, receive: Receive, room: Room, most: int) -> bytes:
        chunks: list[bytes] = []
        size, started, more = 0, time.monotonic(), True
        while more:
            slowest = started + self._patience_s + size / SLOWEST_BYTES_PER_S
            try:
                async with asyncio.timeout(min(self._patience_s, slowest - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                metrics.REFUSED.labels("slow").inc()
                raise SlowClient from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
            size += len(chunks[-1])
            _check_size(size, most)
            if size > room.nbytes:  # of a body whose length was not announced
                room.take(size)
        metrics.BODY_BYTES.inc(size)
        return b"".join(chunks)

    @asynccontextmanager
    async def turn(self, receive: Receive) -> AsyncIterator[None]:
        """The time in which a request whose body has been read is carried out.

        Raises ThrottlingException, and ClientDisconnect if the client goes while it waits.
        """
        borrower, arrived = object(), time.monotonic()
        try:
            self._turns.acquire_on_behalf_of_nowait(borrower)
        except anyio.WouldBlock:
            if self._waiting >= self._places:
                raise self._throttled("queue") from None
            await self._wait(receive, borrower)
        metrics.WAIT_SECONDS.observe(time.monotonic() - arrived)
        try:
            with metrics.IN_FLIGHT.track_inprogress():
                yield
        finally:
            self._turns.release_on_behalf_of(borrower)

    async def _wait(self, receive: Receive, borrower: object) -> None:
        gone = its_turn = False

        async def watch() -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            tasks.cancel_scope.cancel()

        self._waiting += 1
        try:
            with metrics.WAITING.track_inprogress():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(watch)
                    with anyio.move_on_after(self._longest_wait_s):
                        await self._turns.acquire_on_behalf_of(borrower)
                        its_turn = True
                    tasks.cancel_scope.cancel()
        finally:
            self._waiting -= 1
        if gone:
            if its_turn:
                self._turns.release_on_behalf_of(borrower)
            metrics.REFUSED.labels("gone").inc()
            raise ClientDisconnect
        if not its_turn:
            raise self._throttled("waited")

    def _throttled(self, cause: str) -> ThrottlingException:
        metrics.REFUSED.labels(cause).inc()
        if refused := self._refusals.happened():  # a line for each would be part of the overload
            _log.warning("overload", cause=cause, refused=refused, waiting=self._waiting)
        return ThrottlingException()
