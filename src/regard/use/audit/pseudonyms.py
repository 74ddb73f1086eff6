"""Names under which records speak of people, and how a name is destroyed.

A pseudonym is HMAC-SHA256 of an identifier (an ExternalImageId, a UserId, a FaceId) under a key from the master key
and a random salt of that identifier alone. With the salt, the same identifier always has the same pseudonym; once the
salt is deleted, nobody can tell whose pseudonym it was, the holder of the master key and a list of all names
included. The salts are found by a keyed digest, so the table names nobody. The records stay as they were hashed.
"""

import hmac
import secrets
from collections.abc import Sequence

from regard.store import audit as stored
from regard.store.audit import Connection
from regard.store.database import Executor
from regard.use.seal import Sealer

_SALT_BYTES = 32
_PSEUDONYM_BYTES = 16


class Pseudonyms:
    """Makes and destroys pseudonyms of identifiers of an account, such as `face:…`, `user:…`, `external:…`."""

    def __init__(self, sealer: Sealer) -> None:
        self._lookup_key = sealer.key("audit lookup of pseudonyms")
        self._key = sealer.key("audit pseudonyms")

    def of(self, connection: Executor, account: str, identifiers: Sequence[str]) -> list[str]:
        """The pseudonyms of identifiers, in their order, for a record that is to be written. The connection is one
        whose statements commit by themselves."""
        lookups = [self._lookup(account, identifier) for identifier in identifiers]
        salts = stored.kept_or_added(connection, {lookup: secrets.token_bytes(_SALT_BYTES) for lookup in lookups})
        if not salts.keys() >= set(lookups):  # another process was first
            salts = stored.salts(connection, lookups)
        # A salt that was destroyed between the two statements leaves a name that nobody can make again.
        return [
            self._pseudonym(salts.get(lookup) or secrets.token_bytes(_SALT_BYTES), account, identifier)
            for lookup, identifier in zip(lookups, identifiers, strict=True)
        ]

    def known(self, connection: Executor, account: str, identifiers: Sequence[str]) -> list[str]:
        """The pseudonyms of those identifiers that have one; none is made."""
        lookups = {self._lookup(account, identifier): identifier for identifier in identifiers}
        salts = stored.salts(connection, list(lookups))
        return [self._pseudonym(salt, account, lookups[lookup]) for lookup, salt in salts.items()]

    def shred(self, connection: Connection, account: str, identifiers: Sequence[str]) -> int:
        """Destroy the pseudonyms of identifiers; how many had one."""
        return stored.remove_salts(connection, [self._lookup(account, identifier) for identifier in identifiers])

    def _lookup(self, account: str, identifier: str) -> bytes:
        return hmac.digest(self._lookup_key, _named(account, identifier), "sha256")

    def _pseudonym(self, salt: bytes, account: str, identifier: str) -> str:
        digest = hmac.digest(self._key, salt + _named(account, identifier), "sha256")
        return digest[:_PSEUDONYM_BYTES].hex()


def _named(account: str, identifier: str) -> bytes:
    return f"{account}\0{identifier}".encode("utf-8", "surrogatepass")
