"""Human loops: a name stands for one picture, and the first result stays."""

import threading

import pytest
import sqlalchemy as sa

from regard.store import human_loops, keys
from regard.store.database import Database
from regard.store.tables import human_loops as table

ACCOUNT, OTHER = "123456789012", "210987654321"
FLOW = "arn:aws:sagemaker:us-east-1:123456789012:flow-definition/look"


@pytest.fixture
def accounts(database: Database) -> None:
    with database.begin() as connection:
        keys.create_account(connection, ACCOUNT)
        keys.create_account(connection, OTHER)


def start(database: Database, digest: bytes, label: str = "Weapons", account: str = ACCOUNT, flow: str = FLOW) -> None:
    with database.begin() as connection:
        human_loops.start(connection, account, flow, "loop", digest, ["FreeOfAdultContent"], [{"Name": label}])


def kept(database: Database) -> list[tuple[str, bytes, str]]:
    with database.read() as connection:
        rows = connection.execute(sa.select(table).order_by(table.c.key))
        return [(row.account_id, bytes(row.image_digest), row.labels[0]["Name"]) for row in rows]


@pytest.mark.usefixtures("accounts")
def test_the_same_picture_again_changes_nothing(database: Database) -> None:
    start(database, b"1", "Weapons")
    start(database, b"1", "Gambling")
    assert kept(database) == [(ACCOUNT, b"1", "Weapons")]


@pytest.mark.usefixtures("accounts")
def test_another_picture_needs_another_name(database: Database) -> None:
    start(database, b"1")
    with pytest.raises(human_loops.NameTaken):
        start(database, b"2")
    assert kept(database) == [(ACCOUNT, b"1", "Weapons")]


@pytest.mark.usefixtures("accounts")
def test_accounts_and_flows_have_names_of_their_own(database: Database) -> None:
    start(database, b"1")
    start(database, b"2", account=OTHER)
    start(database, b"3", flow=FLOW + "-again")
    assert [digest for _, digest, _ in kept(database)] == [b"1", b"2", b"3"]


@pytest.mark.usefixtures("accounts")
def test_of_two_at_once_one_is_kept(database: Database) -> None:
    outcomes: list[str] = []

    def run(digest: bytes) -> None:
        try:
            start(database, digest)
            outcomes.append("kept")
        except human_loops.NameTaken:
            outcomes.append("refused")

    threads = [threading.Thread(target=run, args=(bytes([number]),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["kept", "refused", "refused", "refused"]
    assert len(kept(database)) == 1
