"""Access keys: what AWS clients sign with. Each belongs to an account and has one purpose; its secret is shown once."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.engine import Connection

from regard.store import keys
from regard.store.database import Executor
from regard.store.keys import Status, StoredKey
from regard.use.seal import Sealer

DEFAULT_ROLE = "application"

_ACCOUNT_DIGITS = 12
_KEY_ID_RANDOM_BYTES = 10  # sixteen base32 digits
_SECRET_BYTES = 30  # forty base64 digits


class AccountError(Exception):
    """An access key cannot be made as asked for; the text tells the operator why."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A new access key, the only time that its secret is in the clear."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    account_id: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who signed a request, in which standing, and for what. `epoch` is that of policies and opt-outs,
    `tags_epoch` that of the tags of the account's resources; None: not looked up."""

    access_key_id: str
    account_id: str
    secret: str = field(repr=False)
    purpose: str | None = None
    role: str = DEFAULT_ROLE
    status: Status = "active"
    account_status: Status = "active"
    account_purposes: Sequence[str] | None = None
    expires_at: datetime | None = None
    networks: Sequence[str] | None = None
    epoch: int = 0
    tags_epoch: int | None = None


def create_account(
    connection: Connection, name: str = "", contact: str = "", purposes: Sequence[str] | None = None
) -> str:
    """A new account; its 12 digits."""
    account_id = "".join(secrets.choice("0123456789") for _ in range(_ACCOUNT_DIGITS))
    keys.create_account(connection, account_id, name, contact, purposes)
    return account_id


def create(
    connection: Connection,
    sealer: Sealer,
    description: str = "",
    *,
    account_id: str | None = None,
    purpose: str | None = None,
    role: str = DEFAULT_ROLE,
    expires_at: datetime | None = None,
    networks: Sequence[str] | None = None,
) -> AccessKey:
    """A new access key, of this deployment's first account unless another is named; that is made with its first key.

    Raises `AccountError` if there is no such account, or it may not have keys of that purpose.
    """
    keys.lock_accounts(connection)
    account_id = account_id or keys.first_account(connection) or create_account(connection)
    account = keys.account(connection, account_id)
    if account is None:
        raise AccountError(f"There is no account {account_id}: `regard accounts list` shows those that there are.")
    if purpose is not None and account.purposes is not None and purpose not in account.purposes:
        raise AccountError(f"Account {account_id} may use {', '.join(account.purposes)}, not {purpose}.")
    access_key_id = "AKIA" + base64.b32encode(secrets.token_bytes(_KEY_ID_RANDOM_BYTES)).decode()
    secret = base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    keys.create(
        connection,
        access_key_id,
        account_id,
        sealer.seal(secret, access_key_id),
        description,
        purpose=purpose,
        role=role,
        expires_at=expires_at,
        networks=networks,
    )
    return AccessKey(access_key_id, secret, account_id)


def former(connection: Executor, access_key_id: str) -> Principal | None:
    """The holder of a key, be it revoked, without its secret; None for an unknown one."""
    key = keys.find(connection, access_key_id)
    return None if key is None else _principal(key, "")


def principal(connection: Executor, sealer: Sealer, access_key_id: str) -> Principal | None:
    """The holder of a key; None for an unknown or revoked one."""
    key = keys.find(connection, access_key_id)
    if key is None or key.revoked_at is not None:
        return None
    return _principal(key, sealer.unseal(key.sealed_secret, key.access_key_id))


def _principal(key: StoredKey, secret: str) -> Principal:
    return Principal(
        key.access_key_id,
        key.account_id,
        secret,
        key.purpose,
        key.role,
        key.status,
        key.account_status,
        key.account_purposes,
        key.expires_at,
        key.networks,
        key.epoch,
        key.tags_epoch,
    )
