"""Access keys: what AWS clients sign with. Each belongs to an account; its secret is shown once."""

import base64
import secrets
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from regard.store import keys
from regard.use.seal import Sealer

_ACCOUNT_DIGITS = 12
_KEY_ID_RANDOM_BYTES = 10  # sixteen base32 digits
_SECRET_BYTES = 30  # forty base64 digits


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A new access key, the only time that its secret is in the clear."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    account_id: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who signed a request."""

    access_key_id: str
    account_id: str
    secret: str = field(repr=False)


def create(connection: Connection, sealer: Sealer, description: str = "") -> AccessKey:
    """A new access key of this deployment's account, which is made with its first key."""
    keys.lock_accounts(connection)
    account_id = keys.first_account(connection)
    if account_id is None:
        account_id = "".join(secrets.choice("0123456789") for _ in range(_ACCOUNT_DIGITS))
        keys.create_account(connection, account_id)
    access_key_id = "AKIA" + base64.b32encode(secrets.token_bytes(_KEY_ID_RANDOM_BYTES)).decode()
    secret = base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    keys.create(connection, access_key_id, account_id, sealer.seal(secret, access_key_id), description)
    return AccessKey(access_key_id, secret, account_id)


def principal(connection: Connection, sealer: Sealer, access_key_id: str) -> Principal | None:
    """The holder of a valid key; None for an unknown or revoked one."""
    key = keys.find(connection, access_key_id)
    if key is None or key.revoked_at is not None:
        return None
    return Principal(key.access_key_id, key.account_id, sealer.unseal(key.sealed_secret, key.access_key_id))
