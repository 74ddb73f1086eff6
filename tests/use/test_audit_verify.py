"""Verifying: whatever is done to one record, it is found, and the record is named."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regard.store import audit as stored
from regard.store.audit import Connection, Head, Record
from regard.store.database import Database, raw
from regard.use.audit import AuditError, AuditLog, checkpoints, records, spans
from regard.use.audit import verify as verifying
from regard.use.audit.checkpoints import Signer
from regard.use.audit.merkle import FANOUT
from regard.use.audit.spans import Span
from regard.use.audit.verify import Verdict, verify
from regard.use.seal import Sealer

RECORDS = 600  # three blocks of the tree, the last of them not full


class Undone(Exception):
    """Ends a transaction that must leave nothing."""


@pytest.fixture(scope="module")
def log(postgres: Any) -> Iterator[AuditLog]:
    """A log of `RECORDS` records with checkpoints after 100, 511 and all."""
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url

    name = f"audit_{uuid.uuid4().hex}"
    server = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    database = Database(make_url(postgres.url).set(database=name), pool_size=5)
    log = AuditLog(database, Sealer(os.urandom(32)))
    for size in (100, 511, RECORDS):
        with database.begin() as connection:
            while (seq := log.write(connection, "request", op="DetectFaces", count=size, error="é\u2028")) < size:
                assert seq
        with database.begin() as connection:
            checkpoints.make(raw(connection), Signer(log.sealer))
    yield log
    log.close()
    database.close()
    with server.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    server.dispose()


def verdict(log: AuditLog, connection: Connection, pins: tuple[str, ...] = ()) -> Verdict:
    """What verifying finds, which is the same whether it is shared or not."""

    @contextmanager
    def share(total: int) -> Iterator[Iterator[Span]]:
        firsts = range(1, total + 1, FANOUT)
        yield (spans.span(connection, log.seal_key, first, min(first + FANOUT - 1, total)) for first in firsts)

    found = verify(connection, log.seal_key, Signer(log.sealer).verifier, pins)
    with patch.object(verifying, "SHARED", 0):
        assert verify(connection, log.seal_key, Signer(log.sealer).verifier, pins, share=share) == found
    return found


def test_processes_share_the_work(log: AuditLog) -> None:
    share = partial(spans.shared, log.database.conninfo, log.seal_key, processes=2)
    seen: list[int] = []
    with (
        log.database.snapshot() as pooled,
        patch.object(verifying, "SHARED", 0),
        patch.object(spans, "RECORDS", FANOUT),
    ):
        found = verify(
            raw(pooled),
            log.seal_key,
            Signer(log.sealer).verifier,
            passed=lambda done, _: seen.append(done),
            share=share,
        )
    assert (found.findings, found.records, found.covered) == ([], RECORDS, RECORDS)
    assert seen == [256, 512, 600]


def after(log: AuditLog, change: Callable[[Connection], object], pins: tuple[str, ...] = ()) -> Verdict:
    """What verifying finds after a change, which is undone."""
    found = None
    try:
        with log.database.begin() as pooled:
            connection = raw(pooled)
            connection.execute("SET LOCAL session_replication_role = replica")  # past the trigger that forbids it
            change(connection)
            found = verdict(log, connection, pins)
            raise Undone
    except Undone:
        assert found is not None
        return found


def named(found: Verdict) -> list[int | None]:
    return [finding.seq for finding in found.findings]


def rewritten(log: AuditLog, record: Record, content: bytes, how: str) -> Record:
    """A record with another content: its hash adapted, too, or its seal as well, which takes the master key."""
    if how == "content":
        return Record(record.seq, content, record.hash, record.seal)
    hashed = sha256(content).digest()
    if how == "hash":
        return Record(record.seq, content, hashed, record.seal)
    import hmac

    return Record(record.seq, content, hashed, hmac.digest(log.seal_key, hashed, "sha256"))


def put(connection: Connection, seq: int, record: Record) -> None:
    connection.execute(
        "UPDATE audit_records SET content = %s, hash = %s, seal = %s WHERE seq = %s",
        (record.content, record.hash, record.seal, seq),
    )


seqs = st.integers(1, RECORDS)
hows = st.sampled_from(["content", "hash", "seal"])
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_an_untouched_log_is_good(log: AuditLog) -> None:
    with log.database.snapshot() as connection:
        found = verdict(log, raw(connection))
    assert (found.good, found.records, found.checkpoints, found.covered) == (True, RECORDS, 3, RECORDS)


@quick
@given(seqs, hows, st.data())
def test_a_changed_record_is_named(log: AuditLog, seq: int, how: str, data: st.DataObject) -> None:
    """One byte of the content, or one member of what it says, even by somebody who has the master key."""

    def change(connection: Connection) -> None:
        record = stored.find(connection, seq)
        assert record is not None
        said = records.facts(record.content)
        member = data.draw(st.sampled_from(sorted(said)))
        if how == "content" and data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(record.content) - 1))
            byte = record.content[at] ^ (1 << data.draw(st.integers(0, 7)))
            content = record.content[:at] + bytes([byte]) + record.content[at + 1 :]
        elif data.draw(st.booleans()) and member not in ("seq", "ts", "prev_hash", "event"):
            content = records.canonical({name: value for name, value in said.items() if name != member})
        else:
            other: Any = {"seq": said["seq"] + 1, "prev_hash": "0" * 63 + "1", "ts": "2001-01-01T00:00:00.000000Z"}
            content = records.canonical(said | {member: other.get(member, "changed")})
        put(connection, seq, rewritten(log, record, content, how))

    found = named(after(log, change))
    assert found[:1] == [seq]
    assert len(found) == 1


@quick
@given(seqs, st.booleans(), st.sampled_from([32, 31, 33, 0]))
def test_a_changed_hash_or_seal_is_named(log: AuditLog, seq: int, of_hash: bool, size: int) -> None:
    def change(connection: Connection) -> None:
        record = stored.find(connection, seq)
        assert record is not None
        other = os.urandom(size)
        hashed, seal = (other, record.seal) if of_hash else (record.hash, other)
        put(connection, seq, Record(seq, record.content, hashed, seal))

    assert named(after(log, change)) == [seq]


@quick
@given(st.integers(1, RECORDS), st.booleans())
def test_a_removed_record_is_named(log: AuditLog, seq: int, closed_up: bool) -> None:
    def change(connection: Connection) -> None:
        connection.execute("DELETE FROM audit_records WHERE seq = %s", (seq,))
        if closed_up:
            connection.execute("UPDATE audit_records SET seq = seq + 9999 WHERE seq > %s", (seq,))
            connection.execute("UPDATE audit_records SET seq = seq - 10000 WHERE seq > 9999")

    assert named(after(log, change))[0] == seq


@quick
@given(seqs, seqs)
def test_two_records_that_changed_places_are_both_named(log: AuditLog, one: int, other: int) -> None:
    if one == other:
        return

    def change(connection: Connection) -> None:
        first, second = stored.find(connection, one), stored.find(connection, other)
        assert first is not None
        assert second is not None
        put(connection, one, second)
        put(connection, other, first)

    assert sorted(str(seq) for seq in named(after(log, change))) == sorted([str(one), str(other)])


@quick
@given(seqs, st.integers(1, RECORDS + 1))
def test_a_record_put_in_again_is_named(log: AuditLog, copied: int, at: int) -> None:
    def change(connection: Connection) -> None:
        record = stored.find(connection, copied)
        assert record is not None
        connection.execute("UPDATE audit_records SET seq = seq + 10000 WHERE seq >= %s", (at,))
        connection.execute("UPDATE audit_records SET seq = seq - 9999 WHERE seq > 9999")
        stored.append(connection, [Record(at, record.content, record.hash, record.seal)])

    found = named(after(log, change))[0]
    assert found == (at if copied != at else at + 1)  # a copy in its own place moves the record itself


def test_a_record_appended_without_the_master_key_is_named(log: AuditLog) -> None:
    def change(connection: Connection) -> None:
        head = stored.head(connection)
        assert head is not None
        ts = records.timestamp(log._clock())
        forged = records.chained(head, "request", {"op": "DetectFaces"}, ts, os.urandom(32))
        stored.append(connection, [forged])

    assert named(after(log, change)) == [RECORDS + 1]


@quick
@given(st.integers(0, RECORDS - 1))
def test_a_log_cut_off_with_its_checkpoints_is_missed_by_a_pinned_one_only(log: AuditLog, left: int) -> None:
    with log.database.read() as connection:
        pinned = stored.checkpoints(raw(connection))[0].note

    def change(connection: Connection) -> None:
        connection.execute("DELETE FROM audit_records WHERE seq > %s", (left,))
        connection.execute("DELETE FROM audit_nodes WHERE (index + 1) * 256 > %s", (left,))

    def change_all(connection: Connection) -> None:
        change(connection)
        connection.execute("DELETE FROM audit_checkpoints WHERE size > %s", (left,))

    assert named(after(log, change)) == [left + 1]
    assert after(log, change_all).good
    assert named(after(log, change_all, (pinned,))) == [left + 1]


@quick
@given(st.integers(1, RECORDS))
def test_a_log_written_anew_from_a_record_on_differs_from_what_was_signed(log: AuditLog, seq: int) -> None:
    """By somebody who has the master key and signs new checkpoints, too: only the pinned one tells."""
    with log.database.read() as connection:
        pinned = stored.checkpoints(raw(connection))[0].note

    def change(connection: Connection) -> None:
        before = stored.find(connection, seq - 1)
        head = records.START
        if before is not None:
            head = Head(before.seq, before.hash, records.facts(before.content)["ts"])
        connection.execute("DELETE FROM audit_records WHERE seq >= %s", (seq,))
        connection.execute("DELETE FROM audit_nodes WHERE (index + 1) * 256 >= %s", (seq,))
        connection.execute("DELETE FROM audit_checkpoints WHERE size >= %s", (seq,))
        log._append(
            connection,
            head if head.seq else None,
            [_entry() for _ in range(seq, RECORDS + 1)],
        )
        checkpoints.make(connection, Signer(log.sealer))

    assert after(log, change).good
    assert named(after(log, change, (pinned,))) != []


def _entry() -> Any:
    from regard.use.audit.log import _Entry

    return _Entry("request", {"op": "ListFaces"})


def test_a_changed_hash_of_the_tree_is_found(log: AuditLog) -> None:
    def change(connection: Connection) -> None:
        connection.execute("UPDATE audit_nodes SET hash = %s WHERE index = 1", (os.urandom(32),))

    (finding,) = after(log, change).findings
    assert "257 to 512" in str(finding)


def test_a_forged_checkpoint_is_found_and_a_rewritten_log_is_not_signed(log: AuditLog) -> None:
    def forge(connection: Connection) -> None:
        note = stored.checkpoints(connection)[0].note
        connection.execute(
            "UPDATE audit_checkpoints SET note = %s WHERE size = %s", (note[:-10] + "AAAAAA==\n", RECORDS)
        )

    assert not after(log, forge).good

    def rewrite(connection: Connection) -> None:
        connection.execute("UPDATE audit_records SET hash = %s WHERE seq = %s", (os.urandom(32), RECORDS - 1))
        with pytest.raises(AuditError, match="not those that were last signed"):
            checkpoints.make(connection, Signer(log.sealer))

    assert not after(log, rewrite).good


def test_the_database_refuses_to_change_records(log: AuditLog) -> None:
    for statement in ("UPDATE audit_records SET seal = ''", "DELETE FROM audit_records", "TRUNCATE audit_records"):
        with pytest.raises(psycopg.errors.RaiseException), log.database.begin() as connection:
            raw(connection).execute(statement)
