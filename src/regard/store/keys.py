"""Queries about accounts and access keys. Secrets come and go sealed."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from regard.store.tables import access_keys, accounts

_ACCOUNTS_LOCK = 0x41636373  # "Accs"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row of `access_keys`."""

    access_key_id: str
    account_id: str
    sealed_secret: bytes
    description: str
    created_at: datetime
    revoked_at: datetime | None


_COLUMNS = (
    access_keys.c.access_key_id,
    access_keys.c.account_id,
    access_keys.c.sealed_secret,
    access_keys.c.description,
    access_keys.c.created_at,
    access_keys.c.revoked_at,
)


def lock_accounts(connection: Connection) -> None:
    """Let no other transaction make an account until this one ends."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ACCOUNTS_LOCK)))


def first_account(connection: Connection) -> str | None:
    """The id of the oldest account."""
    return connection.execute(sa.select(accounts.c.account_id).order_by(accounts.c.created_at).limit(1)).scalar()


def create_account(connection: Connection, account_id: str) -> None:
    connection.execute(insert(accounts).values(account_id=account_id))


def create(connection: Connection, access_key_id: str, account_id: str, sealed: bytes, description: str) -> None:
    connection.execute(
        insert(access_keys).values(
            access_key_id=access_key_id, account_id=account_id, sealed_secret=sealed, description=description
        )
    )


def find(connection: Connection, access_key_id: str) -> StoredKey | None:
    row = connection.execute(sa.select(*_COLUMNS).where(access_keys.c.access_key_id == access_key_id)).first()
    return None if row is None else StoredKey(*row)


def every(connection: Connection) -> list[StoredKey]:
    """All keys, revoked ones too, oldest first."""
    return [StoredKey(*row) for row in connection.execute(sa.select(*_COLUMNS).order_by(access_keys.c.created_at))]


def revoke(connection: Connection, access_key_id: str) -> bool:
    """End a key's validity; False if there is none of that id that is still valid."""
    statement = (
        sa.update(access_keys)
        .where(access_keys.c.access_key_id == access_key_id, access_keys.c.revoked_at.is_(None))
        .values(revoked_at=sa.func.now())
    )
    return connection.execute(statement).rowcount == 1
