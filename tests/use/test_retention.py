"""Whose time is up, what keeps them, and what a receipt is worth."""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from regard.operations.video.analysis import Result
from regard.settings import Settings
from regard.store import collections, consents, deletions, faces, jobs, keys, removals, subjects, tags, users
from regard.store.collections import Collection
from regard.store.database import Database, raw
from regard.use import receipts, retention
from regard.use import subjects as rights
from regard.use.audit import AuditLog
from regard.use.consent import grant
from regard.use.receipts import ReceiptError
from regard.use.retention import EXPIRED, UNCONSENTED, Interactions
from regard.use.seal import Sealer
from regard.use.subjects import SubjectError
from regard.use.sweeper import Sweeper
from regard.use.tagged import whole_days

ACCOUNT, REGION = "123456789012", "us-east-1"
SEALER = Sealer(b"k" * 32)
TODAY = datetime.now(UTC)


def collection(database: Database, **own_tags: str) -> Collection:
    with database.begin() as connection:
        if keys.account(connection, ACCOUNT) is None:
            keys.create_account(connection, ACCOUNT)
        collections.create(connection, ACCOUNT, "staff", "m-1")
        named = {f"use:{name.replace('_', '-')}": value for name, value in own_tags.items()}
        tags.put(connection, retention.arn(REGION, ACCOUNT, "staff"), named)
    return locked(database)


def locked(database: Database) -> Collection:
    with database.begin() as connection:
        found = collections.lock(connection, ACCOUNT, "staff")
    assert found is not None
    return found


def enrol(database: Database, *names: str | None, user: str | None = None) -> list[uuid.UUID]:
    with database.begin() as connection:
        staff = collections.lock(connection, ACCOUNT, "staff")
        assert staff is not None
        vectors = np.random.default_rng(len(names)).standard_normal((len(names), 8)).astype(np.float32)
        new = [
            faces.NewFace(uuid.uuid4(), uuid.uuid4(), uuid.uuid4(), name, (0, 0, 1, 1), 99.0, vector)
            for name, vector in zip(names, vectors, strict=True)
        ]
        added = faces.add(connection, staff, new)
        if user is not None:
            if users.find(connection, staff.key, user) is None:
                users.create(connection, staff, user)
            found = users.find(connection, staff.key, user)
            assert found is not None
            users.associate(connection, staff, found, [face.key for face in added])
    return [face.face_id for face in added]


def met(database: Database, who: uuid.UUID | str, days: int) -> None:
    with database.begin() as connection:
        subjects.met(connection, ACCOUNT, [("staff", who)], (TODAY + timedelta(days=days)).date())


def agree(database: Database, subject: str, consent_id: str, days: int = 1000) -> None:
    with database.begin() as connection:
        granted = grant(
            subject, ["research"], "n", "t", b"r", TODAY + timedelta(days=days), consent_id=consent_id, now=TODAY
        )
        consents.add(connection, ACCOUNT, granted)


def sweep(database: Database, days: int, cap: int = 1095) -> dict[str, int]:
    """How many faces went, by reason, with the clock set so many days ahead."""
    _, given = retention.sweep(AuditLog(database, SEALER), REGION, cap, TODAY + timedelta(days=days))
    return {receipt.document["Reason"]: receipt.document["Faces"] for receipt in given}


def names_left(database: Database) -> list[str | None]:
    with database.read() as connection:
        return [person.external_image_id for person in subjects.of_collection(connection, locked(database).key)]


def test_faces_go_after_the_days_that_the_collection_says(database: Database) -> None:
    collection(database, retention_days="30")
    enrol(database, "alice", "bob")
    assert sweep(database, 30) == {}
    assert sweep(database, 31) == {EXPIRED: 2}
    assert names_left(database) == []
    assert locked(database).face_count == 0


def test_without_a_tag_the_cap_holds_and_no_tag_exceeds_it(database: Database) -> None:
    collection(database)
    enrol(database, "alice")
    assert sweep(database, 1095) == {}
    assert sweep(database, 1096) == {EXPIRED: 1}
    assert retention.days({"use:retention-days": "5000"}, 1095) == 1095
    assert retention.days({"use:retention-days": "5000"}, 0) == 5000
    assert retention.days({"use:retention-days": "soon"}, 1095) == 1095
    assert retention.days({}, 0) is None


def test_whoever_is_met_stays_with_all_their_faces(database: Database) -> None:
    collection(database, retention_days="30")
    agree(database, "alice", "c1")
    alice, _ = enrol(database, "alice", "alice:c1")
    carol, _ = enrol(database, "x1", "x2", user="carol")
    enrol(database, "bob", "team:alice", None)
    met(database, alice, 20)
    met(database, "carol", 20)
    assert sweep(database, 31) == {EXPIRED: 3}
    assert sorted(map(str, names_left(database))) == ["alice", "alice:c1", "x1", "x2"]
    met(database, carol, 10)  # what is noted late does not set the clock back
    assert sweep(database, 50) == {}
    assert sweep(database, 51) == {EXPIRED: 4}


def test_where_consent_is_the_basis_who_has_none_goes_at_once(database: Database) -> None:
    collection(database, basis="consent", purpose="research")
    agree(database, "alice", "c1", days=100)
    agree(database, "bob", "c2", days=1000)
    enrol(database, "alice:c1", "bob", "mallory")
    assert sweep(database, 1) == {UNCONSENTED: 1}
    with database.begin() as connection:
        consents.withdraw(connection, ACCOUNT, "c2", TODAY)
    assert sweep(database, 2) == {UNCONSENTED: 1}
    assert names_left(database) == ["alice:c1"]
    assert sweep(database, 101) == {UNCONSENTED: 1}


def test_a_legal_hold_keeps_a_person_or_a_collection_until_it_is_released(database: Database) -> None:
    collection(database, retention_days="30")
    enrol(database, "alice", "bob")
    with database.begin() as connection:
        number = consents.hold(connection, ACCOUNT, "case 7", collection_id=None, subject="alice")
    found, given = retention.sweep(AuditLog(database, SEALER), REGION, 1095, TODAY + timedelta(days=31))
    assert [(due.held, list(due.faces)) for due in found] == [(1, [EXPIRED])]
    assert names_left(database) == ["alice"]
    with pytest.raises(SubjectError, match="legal hold"):
        rights.erase(AuditLog(database, SEALER), ACCOUNT, "alice", "asked", TODAY, principal="dpo")
    assert names_left(database) == ["alice"]
    with database.begin() as connection:
        assert consents.release(connection, ACCOUNT, number)
        assert not consents.release(connection, ACCOUNT, number)
        staff = consents.hold(connection, ACCOUNT, "case 8", collection_id="staff", subject=None)
    assert sweep(database, 31) == {}
    with database.begin() as connection:
        consents.release(connection, ACCOUNT, staff)
    assert sweep(database, 31) == {EXPIRED: 1}
    assert len(given) == 1


def test_who_is_swept_is_in_no_results_of_videos_any_more(database: Database) -> None:
    """Nor is anybody there whose consent has ended: the match would come back with the face that went."""
    collection(database, retention_days="1")
    (gone,) = enrol(database, "ann")
    met(database, gone, -9)
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE faces SET created_at = now() - interval '9 days'"))
        jobs.add(connection, "a" * 64, ACCOUNT, "AKIA", "FaceSearch", {"CollectionId": "staff"})
        job = jobs.get(connection, "a" * 64)
        assert job is not None
        matches = [{"Similarity": 99.0, "Face": {"FaceId": str(gone), "ExternalImageId": "ann"}}]
        assert jobs.succeed(connection, job, [Result(0, 0, {"Timestamp": 0, "FaceMatches": matches})])
    _, given = retention.sweep(AuditLog(database, SEALER), REGION, 1000, TODAY)
    assert [receipt.document["Faces"] for receipt in given] == [1]
    with database.read() as connection:
        (row,) = jobs.results(connection, job, "TIMESTAMPS", "by_time", 0, 10)
    assert row.body["FaceMatches"] == []


@pytest.mark.parametrize("said", ["0", "-1", "1.5", "ten", "", "\u0663\u0660", "\uff19"])
def test_only_a_plain_number_of_days_is_a_term(said: str) -> None:
    assert retention.days({"use:retention-days": said}, 1095) == 1095
    assert whole_days(said) is None


def test_a_dry_run_deletes_nobody(database: Database) -> None:
    collection(database, retention_days="1")
    enrol(database, "alice")
    found, given = retention.sweep(AuditLog(database, SEALER), REGION, 1095, TODAY + timedelta(days=9), dry_run=True)
    assert [len(due.faces[EXPIRED]) for due in found] == [1]
    assert given == []
    assert names_left(database) == ["alice"]


def test_a_user_who_loses_a_face_gets_a_vector_of_the_rest(database: Database) -> None:
    staff = collection(database)
    first, second = enrol(database, "a", "b", user="carol")
    with database.begin() as connection:
        owner = collections.lock(connection, ACCOUNT, "staff")
        assert owner is not None
        known = {face.face_id: face for face in faces.by_face_ids(raw(connection), staff.key, [first, second])}
        subjects.delete_faces(connection, owner, [known[first].key])
        carol = users.find(connection, staff.key, "carol")
        assert carol is not None
        assert carol.embedding is not None
        rest = known[second].embedding
        np.testing.assert_allclose(carol.embedding, rest / np.linalg.norm(rest), atol=1e-6)
        owner = collections.lock(connection, ACCOUNT, "staff")
        assert owner is not None
        assert subjects.delete_faces(connection, owner, [known[second].key]) == ([second], ["carol"])
        assert users.find(connection, staff.key, "carol") is None


def test_more_faces_than_one_transaction_takes_go_in_batches(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_BATCH", 3)
    collection(database, retention_days="1")
    enrol(database, *[f"p{number}" for number in range(7)])
    _, given = retention.sweep(AuditLog(database, SEALER), REGION, 1095, TODAY + timedelta(days=9))
    assert [receipt.document["Faces"] for receipt in given] == [3, 3, 1]
    assert names_left(database) == []


def test_a_receipt_is_genuine_as_it_was_given_and_only_so(database: Database) -> None:
    collection(database, retention_days="1")
    gone = enrol(database, "alice", "bob")
    _, given = retention.sweep(AuditLog(database, SEALER), REGION, 1095, TODAY + timedelta(days=9))
    entries = [receipt.to_json(SEALER) for receipt in given]
    public = receipts.public_key(SEALER)
    (document,) = receipts.verify(json.dumps(entries).encode(), public)
    assert document["FaceIdsDigest"] == receipts.digest_of(gone).hex()
    assert "alice" not in json.dumps(entries)
    assert not any(str(face_id) in json.dumps(entries) for face_id in gone)
    for path, value in changes(entries[0]["Document"]):
        changed = json.loads(json.dumps(entries))
        changed[0]["Document"][path] = value
        with pytest.raises(ReceiptError):
            receipts.verify(json.dumps(changed).encode(), public)
    with pytest.raises(ReceiptError):
        receipts.verify(json.dumps(entries).encode(), receipts.public_key(Sealer(b"x" * 32)))
    for nonsense in (b"", b"[]", b"{}", b'[{"Document": {}}]', b"\xff"):
        with pytest.raises(ReceiptError):
            receipts.verify(nonsense, public)


def changes(document: dict[str, Any]) -> Sequence[tuple[str, Any]]:
    """Each member changed a little, and one more."""
    return [
        *((name, value + 1 if isinstance(value, int) else [*value, "x"] if isinstance(value, list) else f"{value}x")
          for name, value in document.items()),
        ("Note", "added"),
    ]  # fmt: skip


def test_the_digest_of_a_collection_is_that_of_its_face_ids(database: Database) -> None:
    staff = collection(database)
    with database.read() as connection:
        assert subjects.digest(connection, staff.key) == receipts.digest_of([])
    ids = enrol(database, *[f"p{number}" for number in range(20)])
    with database.read() as connection:
        assert subjects.digest(connection, staff.key) == receipts.digest_of(ids)


def test_a_person_is_found_by_every_name_and_by_no_likeness_of_one(database: Database) -> None:
    collection(database)
    agree(database, "alice", "c1")
    named = enrol(database, "alice", "alice:c1")
    associated = enrol(database, "alice:c1", "photo-9", user="u-7")
    enrol(database, "alicea", "alice:other", "bob:alice", "team:alice", "bob")
    everything = {*named, *associated}
    with database.read() as connection:
        for ref in ("alice", "u-7"):
            found = rights.find(connection, ACCOUNT, ref)
            assert {held.face.face_id for held in found.faces} == everything, ref
            assert [held.user.user_id for held in found.users] == ["u-7"]
            assert [consent.consent_id for consent in found.consents] == ["c1"]
        one = rights.find(connection, ACCOUNT, str(named[0]))
        assert [held.face.face_id for held in one.faces] == [named[0]]
        assert one.consents == []
        assert not rights.find(connection, ACCOUNT, "team")
        assert not rights.find(connection, "210987654321", "alice")


def test_an_export_has_everything_and_vectors_only_if_asked(database: Database) -> None:
    collection(database)
    agree(database, "alice", "c1")
    enrol(database, "alice:c1", user="alice")
    with database.read() as connection:
        holding = rights.find(connection, ACCOUNT, "alice")
    said = json.loads(json.dumps(rights.export(holding, ACCOUNT, TODAY)))
    (face,), (user,), (consent,) = said["Faces"], said["Users"], said["Consents"]
    assert (face["CollectionId"], face["UserId"], user["UserId"]) == ("staff", "alice", "alice")
    assert consent["Purposes"] == ["research"]
    assert "Embedding" not in json.dumps(said["Faces"])
    with_vectors = rights.export(holding, ACCOUNT, TODAY, embeddings=True)
    assert len(with_vectors["Faces"][0]["Embedding"]) == 8


def test_an_erasure_leaves_nothing_but_a_receipt_and_proof_of_consent(database: Database) -> None:
    collection(database)
    agree(database, "alice", "c1")
    enrol(database, "alice:c1", "photo", user="u-7")
    enrol(database, "bob")
    audit = AuditLog(database, SEALER)
    (pseudonym,) = audit.pseudonym(ACCOUNT, "external:alice:c1")
    erasure = rights.erase(audit, ACCOUNT, "alice", "GDPR Art. 17", TODAY, principal="dpo")
    assert erasure is not None
    assert len(erasure.vectors) == 3
    document = erasure.receipt.document
    assert (document["Faces"], document["Users"], document["Consents"]) == (2, 1, 1)
    assert names_left(database) == ["bob"]
    assert rights.erase(audit, ACCOUNT, "alice", "again", TODAY, principal="dpo") is None
    with database.read() as connection:
        assert not rights.find(connection, ACCOUNT, "u-7")
        (kept,) = deletions.page(connection, ACCOUNT, 9)
        assert json.loads(kept.document) == document
        dumped = " ".join(
            str(row)
            for table in ("faces", "users", "consents", "deletions", "interactions", "idempotency_tokens", "tags")
            for row in connection.execute(sa.text(f"SELECT * FROM {table}"))  # noqa: S608
        )
    assert "alice" not in dumped
    assert "u-7" not in dumped
    with database.begin() as connection:
        recorded = [bytes(row.content) for row in connection.execute(sa.text("SELECT content FROM audit_records"))]
        assert [json.loads(content)["op"] for content in recorded] == ["EraseSubject"]
        assert "alice" not in str(recorded)
    assert audit.pseudonym(ACCOUNT, "external:alice:c1") != [pseudonym], "the name is made anew"


def test_the_schedule_to_publish_says_each_collections_term(database: Database) -> None:
    text = retention.schedule(
        [
            ("staff", {"use:purpose": "building-access", "use:basis": "consent", "use:retention-days": "365"}),
            ("old", {}),
        ],
        1095,
    )
    assert "| staff | building-access | consent | 365 days without an interaction, or the end of the consent |" in text
    assert "| old | not stated | not stated | 1095 days without an interaction |" in text
    assert "1095 days after the person's last interaction" in text


def test_a_server_sweeps_and_scrubs_at_its_hour_or_a_day_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "KEPT", 0)
    collection(database, retention_days="1")
    enrol(database, "alice")
    sweeper = Sweeper(Settings(scrub_hour=3), AuditLog(database, SEALER))
    noon = (TODAY + timedelta(days=9)).replace(hour=12)
    sweeper.once(TODAY.replace(hour=12))
    assert names_left(database) == ["alice"]
    sweeper.once(noon)
    assert names_left(database) == []
    with database.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM removals")).scalar_one() == 0
        assert deletions.unscrubbed(connection) == [], "it had waited for nine days"
        statement = sa.text("UPDATE deletions SET created_at = :noon, scrubbed_at = NULL RETURNING receipt_id")
        waiting = connection.execute(statement, {"noon": noon}).scalar_one()
    sweeper.once(noon + timedelta(hours=8))
    with database.read() as connection:
        assert deletions.unscrubbed(connection) == [waiting]
    sweeper.once(noon + timedelta(hours=25))
    with database.read() as connection:
        assert deletions.unscrubbed(connection) == []


def test_who_is_recognised_is_written_down_once_a_day(database: Database) -> None:
    staff = collection(database)
    alice, bob = enrol(database, "alice", "bob")
    enrol(database, "x", user="carol")
    interactions = Interactions(database)
    interactions._note(ACCOUNT, "staff", [alice, "carol"])
    interactions._note(ACCOUNT, "staff", [alice])
    interactions._note(ACCOUNT, "gone", [bob])
    interactions.flush()
    with database.read() as connection:
        noted = list(connection.execute(sa.text("SELECT face_key FROM interactions ORDER BY 1")).scalars())
        people = {person.external_image_id: person.key for person in subjects.of_collection(connection, staff.key)}
    assert noted == [people["alice"], people["x"]]
    interactions._note(ACCOUNT, "staff", [alice])
    assert interactions._met == {}, "it is known for today"
