"""What a server does by itself for the people in its collections: the sweep every hour, the scrub every night.

Of several servers with one database, one sweeps at a time. `regard retention run` and `scrub` do the same by hand.
"""

import threading
import time
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import OperationalError

from regard.settings import Settings
from regard.store import deletions, removals
from regard.store.scrub import ScrubError, scrub
from regard.use import retention
from regard.use.audit import AuditLog

_SWEEP_LOCK = 0x53776565_70  # "Sweep"
_FIRST_S = 60.0  # after the start, so that a server that is started again and again sweeps, too
_EVERY_S = 3600.0
_LATEST = timedelta(hours=24)  # a deletion waits no longer for the scrub, even if no server runs at that hour

log = structlog.get_logger("regard")


class Sweeper:
    """A thread that sweeps and scrubs until the process ends."""

    def __init__(self, settings: Settings, audit: AuditLog) -> None:
        self._settings, self._audit, self._database = settings, audit, audit.database

    def start(self) -> None:
        threading.Thread(target=self._run, name="sweeper", daemon=True).start()

    def _run(self) -> None:
        pause = _FIRST_S
        while True:
            time.sleep(pause)
            pause = _EVERY_S
            try:
                self.once(datetime.now(UTC))
            except ScrubError as error:
                log.warning("not scrubbed", cause=str(error))
            except OperationalError as error:
                log.warning("not swept", cause=str(error.orig))
            except Exception:
                log.exception("not swept")

    def once(self, now: datetime) -> None:
        """Sweep, and scrub if it is time."""
        with self._database.read() as connection:
            if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(_SWEEP_LOCK))).scalar_one():
                return
            try:
                self._sweep(now)
                if self._is_time(now):
                    scrubbed = scrub(self._database, everything=False)
                    log.info("scrubbed", tables=len(scrubbed.tables), left=scrubbed.left)
            finally:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(_SWEEP_LOCK)))

    def _sweep(self, now: datetime) -> None:
        settings = self._settings
        found, receipts = retention.sweep(self._audit, settings.region, settings.retention_cap_days, now)
        if receipts:
            log.info("swept", faces=sum(receipt.document["Faces"] for receipt in receipts), receipts=len(receipts))
        if held := sum(due.held for due in found):
            log.info("kept by legal holds", faces=held)
        removals.forget(self._database)

    def _is_time(self, now: datetime) -> bool:
        with self._database.read() as connection:
            oldest = deletions.oldest_unscrubbed(connection)
        return now.hour == self._settings.scrub_hour or (oldest is not None and now - oldest > _LATEST)
