"""Who may be enrolled, and whose consent has ended: the rules, without a server."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from regard.store import consents, keys
from regard.store.consents import Consent
from regard.store.database import Database
from regard.store.subjects import Person
from regard.use.consent import ConsentError, basis, grant, permits_enrolment, subject_of, uncovered

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ACCOUNT = "123456789012"


def consent(**changes: Any) -> Consent:
    given: dict[str, Any] = {
        "subject": "alice",
        "purposes": ["building-access"],
        "notice": "We compare your face with those of the staff at the door.",
        "term": "while you work here",
        "release": b"signed",
        "expires_at": NOW + timedelta(days=100),
        "consent_id": "c1",
        "now": NOW,
    } | changes
    return grant(**given)


def person(external: str | None = None, user: str | None = None) -> Person:
    return Person(1, external, user, uuid.uuid4())


def test_of_the_release_only_the_digest_is_kept() -> None:
    assert consent(release=b"what she signed").evidence == hashlib.sha256(b"what she signed").digest()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"subject": "al:ice"}, "subject"),
        ({"subject": ""}, "subject"),
        ({"consent_id": "c 1"}, "consent id"),
        ({"purposes": []}, "purposes"),
        ({"notice": " "}, "told"),
        ({"term": ""}, "told"),
        ({"release": b""}, "release"),
        ({"expires_at": NOW}, "ended"),
    ],
)
def test_a_consent_says_all_that_the_law_asks_for(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConsentError, match=why):
        consent(**changes)


@pytest.mark.parametrize(
    ("external", "purposes", "days", "allowed"),
    [
        ("alice", {"building-access"}, 0, True),
        ("alice:c1", {"building-access"}, 0, True),
        ("alice:c1", set(), 0, True),
        ("alice:c1", {"building-access", "research"}, 99, True),
        ("alice:c2", {"building-access"}, 0, False),
        ("alice:c1:x", {"building-access"}, 0, False),
        ("bob", {"building-access"}, 0, False),
        ("alicea", {"building-access"}, 0, False),
        ("alice", {"research"}, 0, False),
        ("alice", {"building-access"}, 100, False),
        ("alice", {"building-access"}, -1, False),
    ],
)
def test_enrolment_needs_a_consent_in_force_for_the_purpose(
    external: str, purposes: set[str], days: int, allowed: bool
) -> None:
    assert permits_enrolment([consent()], external, purposes, NOW + timedelta(days=days)) is allowed


def test_a_consent_that_replaces_another_covers_the_faces_of_the_first() -> None:
    expired, renewed = consent(), consent(consent_id="c2", expires_at=NOW + timedelta(days=500))
    later = NOW + timedelta(days=200)
    enrolled = person("alice:c1")
    assert uncovered([expired], [enrolled], {"building-access"}, later) == [enrolled]
    assert uncovered([expired, renewed], [enrolled], {"building-access"}, later) == []


def test_a_face_is_covered_by_either_of_its_names_and_without_any_never() -> None:
    people = [person("alice"), person("photo-7", "alice"), person("photo-7"), person()]
    assert uncovered([consent()], people, set(), NOW) == people[2:]


def test_the_tags_of_a_collection_say_its_basis() -> None:
    found = basis({"use:basis": "consent", "use:purpose": "building-access research"})
    assert found.consent
    assert found.purposes == {"building-access", "research"}
    assert not basis({"use:basis": "contract"}).consent
    assert basis({}).purposes == frozenset()


def test_what_is_withdrawn_or_disowned_is_in_force_no_more(database: Database) -> None:
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
        assert consents.add(connection, ACCOUNT, consent())
        assert not consents.add(connection, ACCOUNT, consent(subject="bob"))  # the id is taken
        assert consents.find(connection, ACCOUNT, "c1") == consent()
        assert consents.withdraw(connection, ACCOUNT, "c1", NOW + timedelta(days=1))
        assert not consents.withdraw(connection, ACCOUNT, "c1", NOW + timedelta(days=2))
        (withdrawn,) = consents.of_subjects(connection, ACCOUNT, ["alice"])
        assert not withdrawn.holds(None, NOW + timedelta(days=1))
        consents.disown(connection, ACCOUNT, ["c1"], NOW + timedelta(days=3))
        assert consents.of_subjects(connection, ACCOUNT, ["alice"]) == []
        left = consents.find(connection, ACCOUNT, "c1")
        assert left is not None
        assert (left.subject, left.evidence) == (None, consent().evidence)


def test_consents_of_another_account_count_nothing(database: Database) -> None:
    with database.begin() as connection:
        for account in (ACCOUNT, "210987654321"):
            keys.create_account(connection, account)
        consents.add(connection, ACCOUNT, consent())
        assert consents.of_subjects(connection, "210987654321", ["alice"]) == []
        assert not consents.withdraw(connection, "210987654321", "c1", NOW)


def test_a_name_is_read_up_to_its_colon() -> None:
    assert [subject_of(name) for name in ("alice", "alice:c1", "alice:c1:x")] == ["alice"] * 3
