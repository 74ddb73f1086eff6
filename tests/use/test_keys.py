"""Access keys and what is sealed with the master key."""

import base64
import os
import stat
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from regard.settings import Settings
from regard.store import keys as stored
from regard.store.database import Database, raw
from regard.use import keys
from regard.use.seal import Sealer, SealError, load_sealer


def test_a_key_has_amazons_form_and_its_secret_is_nowhere_in_the_database(database: Database) -> None:
    sealer = Sealer(os.urandom(32))
    with database.begin() as connection:
        key = keys.create(connection, sealer, "a test")
        row = stored.find(raw(connection), key.access_key_id)
    assert key.access_key_id.startswith("AKIA")
    assert len(key.access_key_id) == 20
    assert len(key.secret_access_key) == 40
    assert key.account_id.isdigit()
    assert row is not None
    assert key.secret_access_key.encode() not in row.sealed_secret


def test_keys_share_the_account_and_end_when_revoked(database: Database) -> None:
    sealer = Sealer(os.urandom(32))
    with database.begin() as connection:
        first, second = keys.create(connection, sealer), keys.create(connection, sealer)
        assert first.account_id == second.account_id
        assert stored.revoke(connection, first.access_key_id)
        assert not stored.revoke(connection, first.access_key_id)
        assert keys.principal(raw(connection), sealer, first.access_key_id) is None
        valid = keys.principal(raw(connection), sealer, second.access_key_id)
    assert valid is not None
    assert valid.secret == second.secret_access_key


def test_another_master_key_is_recognised(database: Database) -> None:
    with database.begin() as connection:
        key = keys.create(connection, Sealer(os.urandom(32)))
        with pytest.raises(SealError, match="REGARD_MASTER_KEY"):
            keys.principal(raw(connection), Sealer(os.urandom(32)), key.access_key_id)


def test_a_sealed_secret_cannot_be_moved_to_another_key() -> None:
    sealer = Sealer(os.urandom(32))
    with pytest.raises(SealError):
        sealer.unseal(sealer.seal("secret", "AKIA1"), "AKIA2")


def test_the_master_key_is_made_once_even_by_many_and_is_private(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    sealed: list[bytes] = []
    threads = [threading.Thread(target=lambda: sealed.append(load_sealer(settings).seal("x", "y"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [load_sealer(settings).unseal(one, "y") for one in sealed] == ["x"] * 8
    assert stat.S_IMODE((tmp_path / "home" / "master.key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["master.key"]


@pytest.mark.parametrize("value", ["not base64!", base64.b64encode(b"short").decode()])
def test_a_bad_master_key_is_explained(value: str) -> None:
    with pytest.raises(SealError, match=r"master key|REGARD_MASTER_KEY"):
        load_sealer(Settings(master_key=SecretStr(value)))
