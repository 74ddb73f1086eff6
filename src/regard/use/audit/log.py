"""Appending to the audit log.

Calls that come at the same time share a transaction: whoever is first commits for all that wait behind (group
commit), and nobody returns before the records are on disk. Where requests keep every core busy the first waits a moment
for others, since a transaction takes as much of a core for one record as for several. Servers that share a database
take turns at the lock of the chain's head.

A request that may change something is announced first, by an *intent*. While its process lives, it will say how that
ended, in an *outcome*. The intents of a process that was killed are closed by whoever starts next, with
*interrupted*: the change may have been made or not, and the log says so.
"""

import hmac
import math
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
from sqlalchemy.engine import Connection as PooledConnection

from regard.store import audit as stored
from regard.store.audit import Connection, Head, Record
from regard.store.database import Database, raw
from regard.store.direct import Direct
from regard.use.audit import merkle, records
from regard.use.audit.pseudonyms import Pseudonyms
from regard.use.seal import Sealer

INTENT, OUTCOME, INTERRUPTED, REQUEST = "intent", "outcome", "interrupted", "request"
_COMPANY_S = 0.01  # the longest that a record waits for others

T = TypeVar("T")
Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class AuditError(Exception):
    """The audit log cannot be written or read; the text tells the operator why."""


@dataclass(slots=True)
class _Entry:
    """What a caller waits for."""

    event: str
    facts: Mapping[str, Any]
    seq: int = 0
    hash: bytes = b""
    done: bool = False
    error: Exception | None = None


class AuditLog:
    """The audit log of a deployment. Safe to use from many threads and processes.

    `record` writes in a transaction of its own, `write` in the caller's, so that an effect and its record are there
    together or not at all. Both return the record's `seq`. `cores` are those of this machine that requests which are
    `expected` to be recorded keep busy; without, no record waits for others.
    """

    def __init__(self, database: Database, sealer: Sealer, clock: Clock = _now, *, cores: float = math.inf) -> None:
        self.database = database
        self.sealer = sealer
        self.pseudonyms = Pseudonyms(sealer)
        self.seal_key = sealer.key("audit seals")
        self._digest_key = sealer.key("audit input digests")
        self._clock = clock
        self.last_seq = 0  # of what this process has appended
        self._server = secrets.randbelow(2**31)
        self._connection: Connection | None = None
        self._direct: Direct | None = None  # on the connection, for what every request appends
        self._head: Head | None = None  # of the log, when this process last appended to it
        self._cores = cores
        self._mutex = threading.Lock()  # of the list of those who wait, and of how many are expected
        self._company = threading.Condition(self._mutex)
        self._expected = 0
        self._turn = threading.Lock()  # to commit; guards the connection and the head
        self._waiting: list[_Entry] = []

    def record(self, event: str, facts: Mapping[str, Any] | None = None, **more: Any) -> int:
        """Append a record, on disk when this returns. `facts` are members of `records.MEMBERS`."""
        entry = _Entry(event, records.checked({**(facts or {}), **more}))
        with self._mutex:
            self._waiting.append(entry)
            self._tell_who_waits()
        with self._turn:
            if not entry.done:  # else it was committed with those before
                self._wait_for_company()
                self._commit()
        if entry.error is not None:
            raise AuditError(f"the audit log cannot be written: {entry.error}") from entry.error
        return entry.seq

    def write(
        self, connection: PooledConnection, event: str, facts: Mapping[str, Any] | None = None, **more: Any
    ) -> int:
        """Append a record in the caller's transaction: there if and only if what else it does is.

        Call it last in the transaction: all others who append wait until it ends.
        """
        entry = _Entry(event, records.checked({**(facts or {}), **more}))
        under = raw(connection)
        self._append(under, stored.locked_head(under), [entry])
        return entry.seq

    @contextmanager
    def expected(self) -> Iterator[None]:
        """A request that will be recorded is at work in the block."""
        with self._mutex:
            self._expected += 1
        try:
            yield
        finally:
            with self._mutex:
                self._expected -= 1
                self._tell_who_waits()

    def digest(self, data: bytes) -> str:
        """The keyed digest that stands for an input: equal for equal bytes, and nothing without the master key."""
        return hmac.digest(self._digest_key, data, "sha256").hex()

    def pseudonym(self, account: str, *identifiers: str) -> list[str]:
        """What records call identifiers of an account (`face:…`, `user:…`, `external:…`), named now if need be."""
        with self.database.at_hand() as connection:
            return self.pseudonyms.of(connection, account, identifiers)

    def shred(self, connection: PooledConnection, account: str, *identifiers: str) -> int:
        """Destroy the names of identifiers, so that no record can be tied to them any more; how many had one."""
        return self.pseudonyms.shred(raw(connection), account, identifiers)

    def close_orphans(self) -> list[int]:
        """Conclude the intents of processes that were killed; the seqs of the intents."""
        with self._turn:
            return self._insisting(self._close_orphans)

    def close(self) -> None:
        """Let go of the connection."""
        with self._turn:
            self._disconnect()

    def _wait_for_company(self) -> None:
        """Wait for other records for a moment, unless a core would have nothing to do meanwhile; the turn is held."""
        with self._company:
            self._company.wait_for(self._leaves_cores_idle, _COMPANY_S)

    def _tell_who_waits(self) -> None:
        if self._leaves_cores_idle():
            self._company.notify()

    def _leaves_cores_idle(self) -> bool:
        """Whether fewer requests are at work than there are cores, or just as many."""
        return self._expected - len(self._waiting) <= self._cores

    def _commit(self) -> None:
        """Append everything that waits."""
        with self._mutex:
            batch, self._waiting = self._waiting, []
        error: Exception | None = None
        try:
            self._insisting(lambda connection: self._append_batch(connection, batch))
        except Exception as raised:
            error = raised
        else:
            self.last_seq = batch[-1].seq
        for entry in batch:
            entry.done, entry.error = True, error

    def _append_batch(self, connection: Connection, batch: Sequence[_Entry]) -> None:
        last = batch[-1]
        if last.hash and stored.hashes(connection, last.seq, last.seq) == [last.hash]:
            return  # the connection broke after it was committed, before that was heard
        head, self._head = self._head, None
        if head is not None and (head.seq + len(batch)) // merkle.FANOUT == head.seq // merkle.FANOUT:
            made, following = self._chained(head, batch)
            self._direct = self._direct or Direct(connection)
            if stored.append_to(self._direct, head, made, _opened(batch), self._server, _closed(batch)):
                self._head = following
                return
        # Another process has appended meanwhile, or a block of the tree is full.
        with stored.at_head(connection) as found:
            following = self._append(connection, found, batch)
        self._head = following

    def _append(self, connection: Connection, head: Head | None, batch: Sequence[_Entry]) -> Head:
        """Append to the locked head; the new one."""
        head = head or records.START
        made, following = self._chained(head, batch)
        stored.append(connection, made)
        _grow(connection, head.seq, following.seq)
        if opened := _opened(batch):
            stored.open_intents(connection, opened, self._server)
        if closed := _closed(batch):
            stored.close_intents(connection, closed)
        return following

    def _chained(self, head: Head, batch: Sequence[_Entry]) -> tuple[list[Record], Head]:
        """The records that follow `head`, and the last of them as the head.

        Time never goes back: a clock that was set back repeats the last time until it has caught up.
        """
        made, ts = list[Record](), max(records.timestamp(self._clock()), head.ts)
        for entry in batch:
            record = records.chained(head, entry.event, entry.facts, ts, self.seal_key)
            made.append(record)
            head, entry.seq, entry.hash = Head(record.seq, record.hash, ts), record.seq, record.hash
        return made, head

    def _close_orphans(self, connection: Connection) -> list[int]:
        with stored.orphaned(connection) as seqs:
            entries = []
            for seq in seqs:
                intent = stored.find(connection, seq)
                said = {} if intent is None else records.facts(intent.content)
                kept = {
                    name: said[name]
                    for name in ("request_id", "account", "principal", "op", "resource")
                    if name in said
                }
                entries.append(_Entry(INTERRUPTED, kept | {"intent": seq}))
            if entries:
                self._append_batch(connection, entries)
        return seqs

    def _insisting(self, work: Callable[[Connection], T]) -> T:
        """What `work` gives, tried again if the connection had broken before it; the turn is held."""
        fresh = self._connection is None
        try:
            return work(self._connected())
        except psycopg.OperationalError:
            broken = self._connection is None or self._connection.broken or self._connection.closed
            if broken:
                self._disconnect()
            if fresh or not broken:
                raise
        return work(self._connected())

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self.database.connect_apart()
            try:
                stored.live(self._connection, self._server)
            except BaseException:
                self._disconnect()
                raise
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = self._direct = self._head = None


def _opened(batch: Sequence[_Entry]) -> list[int]:
    return [entry.seq for entry in batch if entry.event == INTENT]


def _closed(batch: Sequence[_Entry]) -> list[int]:
    return [entry.facts["intent"] for entry in batch if "intent" in entry.facts]


def kept(connection: Connection) -> merkle.Kept:
    """What roots and proofs are made of."""

    def hashes(level: int, start: int, stop: int) -> list[bytes]:
        if level:
            return stored.nodes(connection, level, start, stop)
        return [merkle.leaf(hashed) for hashed in stored.hashes(connection, start + 1, stop)]

    return hashes


def _grow(connection: Connection, before: int, after: int) -> None:
    """Keep the hashes of the subtrees that the records before+1 … after have filled."""
    read = kept(connection)
    for block in range(before // merkle.FANOUT + 1, after // merkle.FANOUT + 1):
        level, filled = 1, block
        while True:
            hashed = merkle.fold(read(level - 1, (filled - 1) * merkle.FANOUT, filled * merkle.FANOUT))
            stored.add_node(connection, level, filled - 1, hashed)
            if filled % merkle.FANOUT:
                break
            level, filled = level + 1, filled // merkle.FANOUT
