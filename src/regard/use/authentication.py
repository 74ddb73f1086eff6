"""Who signed a request: AWS's Signature Version 4 held against the access keys of the deployment."""

from datetime import UTC, datetime

from regard.operations.context import Services
from regard.use import keys
from regard.use.keys import Principal
from regard.wire import sigv4
from regard.wire.protocol import Request


def authenticate(services: Services, request: Request, found: list[Principal]) -> Principal:
    """The principal; raises what `sigv4.verify` raises. `found` gets whose key was named, whoever signed."""
    found.clear()

    def secret_of(access_key_id: str) -> str | None:
        with services.database.at_hand() as connection:
            principal = keys.principal(connection, services.sealer, access_key_id)
        if principal is None:
            return None
        found.append(principal)
        return principal.secret

    sigv4.verify(request, secret_of=secret_of, region=services.settings.region, now=datetime.now(UTC))
    return found[0]
