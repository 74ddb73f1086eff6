"""Whether a server should be sent requests: `/-/readyz`.

The port opens when the database is migrated and the networks of `REGARD_PRELOAD` are loaded, so a server that answers
has had both; what can go away is the database, and what comes is the end. Anybody may ask, however often, so the
database is asked once a second at most, over a connection outside the pool that requests wait for.
"""

import threading
import time

import anyio
import psycopg
import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from regard import metrics
from regard.store.database import Database

TRUSTED_S = 1.0
"""So long what was found out holds."""
_PATIENCE_S = 2.0

_log = structlog.get_logger("regard")


class Readiness:
    """Of one server. `end` says that it will take no more requests soon."""

    def __init__(self, database: Database) -> None:
        self.ending = False
        self._database = database
        self._asking = threading.Lock()
        self._asked_at = time.monotonic()  # the database has just been migrated
        self._objection: str | None = None
        self._threads = CapacityLimiter(2)  # one asks, the other has found that somebody does
        metrics.READY.set(1)

    async def objection(self) -> str | None:
        """Why the server is not ready; None if it is."""
        if self.ending:
            return "the server ends"
        if time.monotonic() - self._asked_at > TRUSTED_S:
            found: str | None = "the database does not answer in time"
            with anyio.move_on_after(_PATIENCE_S):
                await run_sync(self._ask, limiter=self._threads, abandon_on_cancel=True)
                found = self._objection
            if not self.ending:
                metrics.READY.set(found is None)
            return found
        return self._objection

    def end(self) -> None:
        self.ending = True
        metrics.READY.set(0)

    def _ask(self) -> None:
        with self._asking:
            if time.monotonic() - self._asked_at <= TRUSTED_S:
                return
            before, self._objection = self._objection, self._found()
            self._asked_at = time.monotonic()
        if self._objection != before:
            _log.warning("readiness", ready=self._objection is None, cause=self._objection)

    def _found(self) -> str | None:
        try:
            with self._database.connect_apart() as connection:
                row = connection.execute("SELECT count(*) FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return "the database is not migrated"
        except psycopg.Error:
            return "the database does not answer"
        return None if row == (1,) else "the database is not migrated"
