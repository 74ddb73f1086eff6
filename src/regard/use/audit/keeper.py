"""What is done about the audit log while a server runs: checkpoints, pins, and requests that nobody known signed.

Anybody who reaches the port can send requests with no valid signature. Were each on record, they could fill the
disk; so they are counted by error, address and claimed key, and a record a minute says how many there were.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from psycopg import Error as DatabaseFailure
from sqlalchemy.exc import SQLAlchemyError

from regard.settings import Settings
from regard.store.database import raw
from regard.use.audit import checkpoints, pinning
from regard.use.audit.checkpoints import Signer
from regard.use.audit.log import AuditError, AuditLog
from regard.use.keys import Principal
from regard.wire.errors import ServiceError
from regard.wire.protocol import Request

CHECKPOINT_RECORDS = 1000
CHECKPOINT_SECONDS = 60.0
REFUSALS_SECONDS = 60.0
MAX_KINDS = 20  # of refusals told apart in one interval; the rest is counted together
REFUSED = "unauthenticated"
_PULSE_SECONDS = 1.0

_log = structlog.get_logger("regard")


@dataclass(frozen=True, slots=True)
class Kind:
    """Refusals that are counted together."""

    error: str
    client_ip: str
    principal: str | None = None


OTHERS = Kind("others", "")


class Refusals:
    """Counts requests that were refused before it was known who sent them."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._counts: dict[Kind, tuple[int, datetime]] = {}

    @contextmanager
    def counting(self, request: Request) -> Iterator[list[Principal]]:
        """Count the error that the block raises for a request. It is given a list, for whose key was named: of those
        that do not exist there would be no end."""
        found: list[Principal] = []
        try:
            yield found
        except ServiceError as error:
            self.count(Kind(error.code, request.client_ip, found[0].access_key_id if found else None))
            raise

    def count(self, kind: Kind) -> None:
        with self._lock:
            if kind not in self._counts and len(self._counts) >= MAX_KINDS:
                kind = OTHERS
            count, since = self._counts.get(kind, (0, datetime.now(UTC)))
            self._counts[kind] = count + 1, since

    def flush(self) -> None:
        """Put what was counted on record; what cannot be written is kept."""
        with self._lock:
            counts = list(self._counts.items())
            self._counts.clear()
        for written, (kind, (count, since)) in enumerate(counts):
            client = {"ip": kind.client_ip} if kind.client_ip else None
            try:
                self._log.record(
                    REFUSED, error=kind.error, principal=kind.principal, client=client, count=count, since=since
                )
            except AuditError:
                with self._lock:
                    for unwritten, (more, first) in counts[written:]:
                        self._counts[unwritten] = more + self._counts.get(unwritten, (0, first))[0], first
                raise


class Keeper:
    """A thread beside the server. `start` also concludes what killed servers left open."""

    def __init__(self, log: AuditLog, settings: Settings) -> None:
        self.refusals = Refusals(log)
        self._log, self._settings = log, settings
        self._signer = Signer(log.sealer)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._checked = self._flushed = time.monotonic()
        self._size = 0

    def start(self) -> None:
        closed = self._log.close_orphans()
        if closed:
            _log.warning("audit: requests were interrupted", intents=closed)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, with a last checkpoint."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._attempt(self.refusals.flush)
        self._attempt(self._checkpoint)

    def _run(self) -> None:
        while not self._ended.wait(_PULSE_SECONDS):
            now = time.monotonic()
            if now - self._flushed >= REFUSALS_SECONDS:
                self._flushed = now
                self._attempt(self.refusals.flush)
            if now - self._checked >= CHECKPOINT_SECONDS or self._log.last_seq - self._size >= CHECKPOINT_RECORDS:
                self._checked = now
                self._attempt(self._checkpoint)

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (AuditError, SQLAlchemyError, DatabaseFailure, OSError, BotoCoreError, ClientError) as error:
            _log.error("audit", cause=str(error))

    def _checkpoint(self) -> None:
        with self._log.database.read() as connection:
            note = checkpoints.make(raw(connection), self._signer)
        if note is None:
            return
        size = checkpoints.opened(note, self._signer.verifier).size
        if size > self._size:
            pinning.pin(self._settings, note, size)
            self._size = size
