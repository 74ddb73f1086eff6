"""Accounts, purposes, standings and authorisations as they are kept."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from regard.store import authorisations, policies
from regard.store import keys as stored
from regard.store.database import Database, raw
from regard.use import keys
from regard.use.book import Shelf, digest_of
from regard.use.keys import AccountError
from regard.use.seal import Sealer
from regard.use.standing import status

LATER = datetime.now(UTC) + timedelta(days=1)
POLICY = 'name = "mine"\ntitle = "Mine"\n[holds]\npurposes = ["mine"]'


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(os.urandom(32))


def test_a_key_has_one_purpose_which_its_account_must_allow(database: Database, sealer: Sealer) -> None:
    with database.begin() as connection:
        account = keys.create_account(connection, "Front office", "privacy@example.org", ["photo-search"])
        key = keys.create(connection, sealer, account_id=account, purpose="photo-search")
        with pytest.raises(AccountError, match="may use photo-search, not research"):
            keys.create(connection, sealer, account_id=account, purpose="research")
        with pytest.raises(AccountError, match="There is no account 000000000000"):
            keys.create(connection, sealer, account_id="000000000000")
        assert not stored.declare_purpose(connection, key.access_key_id, "research")
        found = keys.principal(raw(connection), sealer, key.access_key_id)
    assert found is not None
    assert (found.purpose, found.account_purposes) == ("photo-search", ["photo-search"])


def test_a_key_of_before_purposes_has_none_and_gets_one_once(database: Database, sealer: Sealer) -> None:
    with database.begin() as connection:
        key = keys.create(connection, sealer)
        assert stored.declare_purpose(connection, key.access_key_id, "research")
        assert not stored.declare_purpose(connection, key.access_key_id, "photo-search")


def test_the_worse_standing_counts_and_each_change_is_kept(database: Database, sealer: Sealer) -> None:
    with database.begin() as connection:
        key = keys.create(connection, sealer)
        assert stored.set_status(connection, key.account_id, "restricted", "one")
        assert stored.set_status(connection, key.access_key_id, "suspended", "two")
        assert not stored.set_status(connection, "AKIANOBODY", "banned", "three")
        found = keys.principal(raw(connection), sealer, key.access_key_id)
        assert found is not None
        assert status(found) == "suspended"
        assert [(one.subject, one.status, one.reason) for one in stored.history(connection)] == [
            (key.account_id, "restricted", "one"),
            (key.access_key_id, "suspended", "two"),
        ]


def test_violations_before_a_reinstatement_count_no_more(database: Database, sealer: Sealer) -> None:
    with database.begin() as connection:
        key = keys.create(connection, sealer)

    def violate(decision_id: str) -> None:
        with database.begin() as connection:
            stored.violated(
                connection, stored.Violation(decision_id, key.account_id, key.access_key_id, "p@1", "r", "…")
            )

    def count(since: timedelta) -> int:
        with database.read() as connection:
            return stored.violations_since(connection, key.access_key_id, datetime.now(UTC) - since)

    violate("d-1")
    violate("d-2")
    assert (count(timedelta(hours=1)), count(timedelta(hours=-1))) == (2, 0)
    with database.begin() as connection:
        stored.set_status(connection, key.access_key_id, "active", "heard")
    violate("d-3")
    assert count(timedelta(hours=1)) == 1
    with database.read() as connection:
        assert stored.violation(connection, "d-3") is not None


def test_an_authorisation_takes_two_people_who_did_not_ask(database: Database) -> None:
    def covered(operation: str = "SearchFaces", collection: str | None = "suspects", grace: int = 0) -> bool:
        with database.read() as connection:
            found = authorisations.covering(connection, "1" * 12, operation, collection, timedelta(hours=grace))
        return found is not None

    def approve(by: str) -> bool:
        with database.begin() as connection:
            return authorisations.approve(connection, "a-1", by)

    with database.begin() as connection:
        stored.create_account(connection, "1" * 12)
        authorisations.request(
            connection, "a-1", "1" * 12, "court", "7", "ann", LATER, ["suspects"], ["SearchFaces", "SearchUsers"]
        )
    assert not covered()
    assert covered(grace=48)
    assert [approve(name) for name in ("ann", "ben", "ben", "eve")] == [False, True, False, True]
    assert covered()
    assert not covered("SearchFacesByImage")
    assert not covered(collection="staff")
    assert not covered(collection=None)
    with database.begin() as connection:
        assert authorisations.revoke(connection, "a-1")
        assert not authorisations.revoke(connection, "a-1")
    assert not covered(grace=48)


def test_an_authorisation_ends(database: Database) -> None:
    with database.begin() as connection:
        stored.create_account(connection, "1" * 12)
        authorisations.request(connection, "a-1", "1" * 12, "court", "7", "ann", datetime.now(UTC) - timedelta(hours=1))
        for name in ("ben", "eve"):
            authorisations.approve(connection, "a-1", name)
        assert authorisations.covering(connection, "1" * 12, "SearchFaces", None, timedelta()) is None


def test_a_server_reads_policies_again_when_a_key_comes_with_a_later_epoch(database: Database) -> None:
    shelf = Shelf()
    first = shelf.at(database, 0)
    assert "mine" not in first.purposes
    with database.begin() as connection:
        assert policies.put(connection, {"mine": (POLICY, digest_of(POLICY))}) == {"mine": 1}
        epoch = policies.epoch(connection)
    assert shelf.at(database, first.epoch) is first
    second = shelf.at(database, epoch)
    assert second.held["mine"].name == "mine@1"
    assert shelf.at(database, first.epoch) is second


def test_versions_are_kept_and_what_is_unchanged_makes_none(database: Database) -> None:
    def put(text: str | None) -> dict[str, int]:
        with database.begin() as connection:
            return policies.put(connection, {"mine": (text, digest_of(text or ""))})

    changed = POLICY.replace("Mine", "Mine, again")
    assert [put(POLICY), put(POLICY), put(changed), put(None)] == [{"mine": 1}, {}, {"mine": 2}, {"mine": 3}]
    with database.read() as connection:
        assert policies.in_force(connection) == []
        assert [one.document for one in policies.history(connection, "mine")] == [POLICY, changed, None]


def test_several_policies_are_applied_all_or_none(database: Database) -> None:
    with pytest.raises(RuntimeError, match="half-way"), database.begin() as connection:
        policies.put(connection, {"mine": (POLICY, digest_of(POLICY))})
        raise RuntimeError("half-way")
    with database.read() as connection:
        assert policies.in_force(connection) == []
        assert policies.epoch(connection) == 0
