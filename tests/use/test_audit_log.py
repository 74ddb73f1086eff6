"""The audit log: in order, complete and on disk, whoever writes it; and what it says of people can be made nobody's."""

import base64
import itertools
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.operations.context import Context
from regard.store import audit as stored
from regard.store.database import Database, raw
from regard.use.audit import AuditError, AuditLog, requests
from regard.use.audit.checkpoints import Checkpoint, NoteError, Signer, Verifier, notes, opened
from regard.use.audit.keeper import MAX_KINDS, Kind, Refusals
from regard.use.audit.proofs import prove
from regard.use.audit.records import canonical, decimal, facts
from regard.use.audit.verify import Verdict, verify
from regard.use.chain import Call
from regard.use.keys import Principal
from regard.use.seal import Sealer

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30
WRITER = """
import base64, sys
from sqlalchemy.engine import make_url
from regard.store.database import Database
from regard.use.audit import AuditLog
from regard.use.seal import Sealer
database = Database(make_url(sys.argv[1]), pool_size=2)
log = AuditLog(database, Sealer(base64.b64decode(sys.argv[2])))
for number in range(int(sys.argv[3])):
    log.record("request", op="DetectFaces", details={"writer": sys.argv[4], "number": number})
"""


def content(database: Database) -> list[dict[str, Any]]:
    with database.begin() as connection:
        return [facts(row[1]) for row in stored.stream(raw(connection), 1, 10**9)]


def verdict(log: AuditLog) -> Verdict:
    with log.database.snapshot() as connection:
        return verify(raw(connection), log.seal_key, Signer(log.sealer).verifier)


def test_concurrent_callers_get_one_chain(database: Database, audit_log: AuditLog) -> None:
    seqs: list[int] = []

    def write() -> None:
        for _ in range(50):
            seqs.append(audit_log.record("request", op="DetectFaces"))  # noqa: PERF401

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seqs) == list(range(1, 401))
    said = content(database)
    assert [record["seq"] for record in said] == sorted(seqs)
    assert all(one["ts"] <= other["ts"] for one, other in itertools.pairwise(said))
    assert verdict(audit_log).good


@pytest.fixture
def patient(database: Database, sealer: Sealer, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuditLog]:
    """A log on a machine with one core, whose records wait for others for as long as any test."""
    monkeypatch.setattr("regard.use.audit.log._COMPANY_S", 3600.0)
    log = AuditLog(database, sealer, cores=1)
    yield log
    log.close()


def transactions(database: Database) -> list[int]:
    """Which transaction each record was written in, the first one first."""
    with database.read() as connection:
        return list(connection.exec_driver_sql("SELECT xmin::text::bigint FROM audit_records ORDER BY seq").scalars())


def test_records_of_requests_that_keep_the_cores_busy_share_a_transaction(
    database: Database, patient: AuditLog
) -> None:
    with ExitStack() as requests_at_work, ThreadPoolExecutor() as threads:
        for _ in range(4):
            requests_at_work.enter_context(patient.expected())
        waiting = [threads.submit(patient.record, "request", op="DetectFaces") for _ in range(3)]
        assert sorted(record.result(PATIENCE_S) for record in waiting) == [1, 2, 3]
    assert len(set(transactions(database))) == 1


def test_a_record_does_not_wait_where_a_core_has_nothing_else_to_do(database: Database, patient: AuditLog) -> None:
    with ThreadPoolExecutor() as threads:
        with patient.expected():
            assert threads.submit(patient.record, "request", op="DetectFaces").result(PATIENCE_S) == 1
        with patient.expected(), patient.expected():
            assert threads.submit(patient.record, "request", op="DetectFaces").result(PATIENCE_S) == 2
        with ExitStack() as requests_at_work:
            for _ in range(5):
                requests_at_work.enter_context(patient.expected())
            waiting = threads.submit(patient.record, "request", op="DetectFaces")
            assert not wait([waiting], 0.1).done
        assert waiting.result(PATIENCE_S) == 3  # once the others are gone
    assert len(set(transactions(database))) == 3


def test_a_record_waits_for_a_moment_only(database: Database, sealer: Sealer) -> None:
    with closing(AuditLog(database, sealer, cores=1)) as log, ExitStack() as requests_at_work:
        for _ in range(100):
            requests_at_work.enter_context(log.expected())
        with ThreadPoolExecutor() as threads:
            assert threads.submit(log.record, "request", op="DetectFaces").result(PATIENCE_S) == 1


def test_processes_on_one_database_take_turns(database: Database) -> None:
    master_key = os.urandom(32)
    url = database.engine.url.render_as_string(hide_password=False)
    arguments = [sys.executable, "-c", WRITER, url, base64.b64encode(master_key).decode(), "150"]
    writers = [subprocess.Popen([*arguments, name]) for name in "abc"]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    log = AuditLog(database, Sealer(master_key))
    assert verdict(log).good
    by_writer: dict[str, list[int]] = {}
    for record in content(database):
        by_writer.setdefault(record["details"]["writer"], []).append(record["details"]["number"])
    assert by_writer == {name: list(range(150)) for name in "abc"}


def test_an_effect_and_its_record_are_there_together_or_not_at_all(database: Database, audit_log: AuditLog) -> None:
    with pytest.raises(ZeroDivisionError), database.begin() as connection:
        audit_log.write(connection, "suspension", account="123456789012")
        raise ZeroDivisionError
    assert content(database) == []
    with database.begin() as connection:
        assert audit_log.write(connection, "suspension", account="123456789012") == 1
    assert [record["event"] for record in content(database)] == ["suspension"]


def test_a_broken_connection_costs_no_record(database: Database, audit_log: AuditLog) -> None:
    audit_log.record("request")
    with database.begin() as connection:
        raw(connection).execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert audit_log.record("request") == 2
    assert verdict(audit_log).good


def test_what_another_wrote_meanwhile_is_followed(database: Database, sealer: Sealer, audit_log: AuditLog) -> None:
    other = AuditLog(database, sealer)
    assert [log.record("request") for log in (audit_log, audit_log, other, other, audit_log)] == [1, 2, 3, 4, 5]
    with database.begin() as connection:
        assert other.write(connection, "standing") == 6
    assert audit_log.record("request") == 7
    assert verdict(audit_log).good
    other.close()


def test_what_a_killed_process_announced_is_closed_and_what_a_living_one_did_is_not(
    database: Database, sealer: Sealer, audit_log: AuditLog
) -> None:
    killed = AuditLog(database, sealer)
    dead = killed.record("intent", op="DeleteFaces", request_id="r")
    alive = audit_log.record("intent", op="IndexFaces")
    killed.close()  # as the system closes the connections of a process that is no more
    third = AuditLog(database, sealer)
    assert third.close_orphans() == [dead]
    assert third.close_orphans() == []
    last = content(database)[-1]
    assert (last["event"], last["intent"], last["op"], last["request_id"]) == ("interrupted", dead, "DeleteFaces", "r")
    assert verdict(third).unfinished == 1
    audit_log.record("outcome", intent=alive)
    found = verdict(third)
    assert (found.good, found.unfinished) == (True, 0)
    third.close()


def test_an_intent_without_its_end_is_named(database: Database, audit_log: AuditLog) -> None:
    seq = audit_log.record("intent", op="DeleteFaces")
    with database.begin() as connection:
        raw(connection).execute("DELETE FROM audit_intents")
    assert [finding.seq for finding in verdict(audit_log).findings] == [seq]


def test_a_shredded_name_is_nobodys_and_the_log_stays_whole(database: Database, audit_log: AuditLog) -> None:
    account = "123456789012"
    before = audit_log.pseudonym(account, "external:ann", "user:ann")
    assert audit_log.pseudonym(account, "external:ann") == before[:1]
    assert audit_log.pseudonym("210987654321", "external:ann") != before[:1]
    audit_log.record("outcome", account=account, subjects=before)
    assert verdict(audit_log).good
    with database.begin() as connection:
        assert audit_log.shred(connection, account, "external:ann", "external:nobody") == 1
        assert audit_log.pseudonyms.known(raw(connection), account, ["external:ann", "user:ann"]) == before[1:]
    assert audit_log.pseudonym(account, "external:ann") != before[:1]
    with database.read() as connection:
        rows = raw(connection).execute("SELECT lookup, salt FROM audit_pseudonyms").fetchall()
    assert all(b"ann" not in value for row in rows for value in row)
    assert verdict(audit_log).good
    assert content(database)[0]["subjects"] == before


def test_an_outcome_names_whom_its_intent_named_though_the_name_was_destroyed_meanwhile(
    database: Database, audit_log: AuditLog
) -> None:
    account, face = "123456789012", str(uuid.uuid4())
    services = cast(Any, SimpleNamespace(settings=SimpleNamespace(region="us-east-1")))
    context = Context(Principal("AKIA", account, "secret"), services)
    request = {"CollectionId": "staff", "FaceIds": [face], "Image": {"Bytes": b"picture"}}
    call = Call("r", "DeleteFaces", context, request=request)

    def delete(_: Context, __: object) -> dict[str, Any]:
        with database.begin() as connection:
            assert audit_log.shred(connection, account, f"face:{face}") == 1
        return {}

    requests.announced(audit_log, call, delete)(context, request)
    requests.conclude(audit_log, call)
    intent, outcome = content(database)
    assert outcome["intent"] == intent["seq"]
    assert outcome["subjects"] == intent["subjects"]
    assert outcome["input_digest"] == intent["input_digest"] == {"Image": audit_log.digest(b"picture")}
    with database.read() as connection:
        assert audit_log.pseudonyms.known(raw(connection), account, [f"face:{face}"]) == []


def test_whoever_is_named_by_several_at_once_has_one_name(audit_log: AuditLog) -> None:
    people = [f"external:{number}" for number in range(50)]
    with ThreadPoolExecutor(8) as threads:
        named = list(threads.map(lambda _: audit_log.pseudonym("123456789012", *people), range(8)))
    assert named == [audit_log.pseudonym("123456789012", *people)] * 8


def test_time_does_not_go_back(database: Database, sealer: Sealer) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    clock = iter([now, now - timedelta(hours=1), now + timedelta(hours=1)])
    log = AuditLog(database, sealer, lambda: next(clock))
    for _ in range(3):
        log.record("request")
    times = [record["ts"] for record in content(database)]
    assert times == ["2026-01-01T00:00:00.000000Z"] * 2 + ["2026-01-01T01:00:00.000000Z"]
    with database.begin() as connection:
        under = raw(connection)
        found = [stored.first_at(under, moment) for moment in ("2025", times[0], times[2], "2027")]
    assert found == [1, 1, 3, 4]
    log.close()


def test_strangers_cannot_fill_the_log(database: Database, audit_log: AuditLog) -> None:
    refusals = Refusals(audit_log)
    for number in range(1000):
        refusals.count(Kind("UnrecognizedClientException", f"192.0.2.{number % 200}"))
    refusals.flush()
    refusals.flush()
    said = content(database)
    assert len(said) == MAX_KINDS + 1
    assert sum(record["count"] for record in said) == 1000


@pytest.mark.parametrize(
    "wrong", [{"unknown": 1}, {"details": {"seq": 1}}, {"details": {"x": object()}}, {"count": float("nan")}]
)
def test_what_cannot_be_recorded_is_refused_before_others_wait_for_it(
    audit_log: AuditLog, wrong: dict[str, Any]
) -> None:
    with pytest.raises((ValueError, TypeError)):
        audit_log.record("request", wrong)
    assert audit_log.record("request") == 1


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (80.0, "80"),
        (99.98766, "99.9877"),
        (1e-7, "0"),
        (-0.0, "0"),
        (1e20, "100000000000000000000"),
        (0.1, "0.1"),
        (Decimal("1.50"), "1.5"),
    ],
)
def test_numbers_with_fractions_are_text_that_every_language_writes_alike(number: float, text: str) -> None:
    assert decimal(number) == text


members = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False, width=32),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(members)
def test_the_canonical_form_is_one_line_that_reads_back_to_itself(value: Any) -> None:
    once = canonical(value)
    assert b"\n" not in once
    said = json.loads(once)
    assert canonical(said) == once
    assert json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() == once


def test_what_could_not_be_written_for_a_while_does_not_hinder_what_comes_later(
    database: Database, audit_log: AuditLog
) -> None:
    other = AuditLog(database, audit_log.sealer)
    for _ in range(8):  # by turns, so that each looks the head up, and psycopg prepares what that asks
        other.record("request", op="DetectFaces")
        before = audit_log.record("request", op="DetectFaces")
    audit_log.record("request", op="DetectFaces")
    with database.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END$$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER full_disk BEFORE INSERT ON audit_records EXECUTE FUNCTION full_disk()"
        )
    for _ in range(8):
        with pytest.raises(AuditError, match="cannot be written"):
            audit_log.record("request", op="DetectFaces")
    with database.begin() as connection:
        connection.exec_driver_sql("DROP FUNCTION full_disk CASCADE")
    after = [audit_log.record("request", op="DetectFaces") for _ in range(4)]
    assert after == [before + number for number in range(2, 6)]
    other.close()


def test_a_checkpoint_is_good_for_its_key_only(sealer: Sealer) -> None:
    signer, other = Signer(sealer), Signer(Sealer(os.urandom(32)))
    checkpoint = Checkpoint(signer.verifier.name, 7, os.urandom(32), os.urandom(32), "2026-01-01T00:00:00.000000Z")
    note = signer.sign(checkpoint)
    assert opened(note, signer.verifier) == checkpoint
    assert opened(note + other.sign(checkpoint).splitlines()[-1] + "\n", signer.verifier) == checkpoint
    assert Verifier.parse(str(signer.verifier)) == signer.verifier
    for wrong in (note.replace("\n7\n", "\n8\n"), note.replace("2026", "2027"), note[:-9] + "\n", "", "7"):
        with pytest.raises(NoteError):
            opened(wrong, signer.verifier)
    with pytest.raises(NoteError):
        opened(note, other.verifier)
    assert list(notes(f"{note}\n{note}\n")) == [note, note]
    with pytest.raises(AuditError):
        Verifier.parse(str(signer.verifier)[:-8])


def test_the_script_of_the_docs_checks_a_proof_and_finds_a_false_one(
    database: Database, audit_log: AuditLog, tmp_path: Path
) -> None:
    script = (ROOT / "docs" / "audit.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
    for _ in range(5):
        audit_log.record("request", op="DetectFaces", error="é")
    signer = Signer(audit_log.sealer)
    with database.begin() as connection:
        proof = prove(raw(connection), signer, 3)
    results = []
    for said in (proof["record"], proof["record"].replace("Detect", "Search")):
        file = tmp_path / "proof.json"
        file.write_text(json.dumps(proof | {"record": said}), "utf-8")
        arguments = [sys.executable, "-W", "ignore", "-c", script, str(file), str(signer.verifier)]
        results.append(subprocess.run(arguments, capture_output=True, text=True, check=False))
    assert results[0].stdout.strip() == proof["record"]
    assert results[1].returncode != 0
    assert "NOT in the log" in results[1].stderr
