"""Who may call at all: accounts and keys that are suspended, expired, or used from elsewhere.

It is asked first. Whoever is suspended can still list, describe and delete, so that the people in their
collections can be let go.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

from regard.store.keys import Status
from regard.use.chain import Call
from regard.use.decisions import deny
from regard.use.keys import Principal

STILL_ALLOWED = ("List", "Describe", "Delete")
"""How the names of operations begin that a suspended caller may use."""

_ORDER: tuple[Status, ...] = ("active", "restricted", "suspended", "banned")


def status(principal: Principal) -> Status:
    """The worse of the key's and its account's. `restricted` is the use policy's matter, see `use.book`."""
    return max(principal.status, principal.account_status, key=_ORDER.index)


def objection(principal: Principal, client_ip: str, operation: str) -> tuple[str, str] | None:
    """What forbids the caller an operation from an address, and why; None if nothing does."""
    if principal.expires_at is not None and principal.expires_at <= datetime.now(UTC):
        return "the access key", f"it expired on {principal.expires_at:%Y-%m-%d %H:%M} UTC"
    if principal.networks is not None and not _within(client_ip, principal.networks):
        return "the access key", f"it may not be used from {client_ip or 'an unknown address'}"
    return barred(principal, operation)


def barred(principal: Principal, operation: str) -> tuple[str, str] | None:
    """The same, of what has nothing to do with this request: the caller is suspended or banned."""
    standing = status(principal)
    if standing == "banned" or (standing == "suspended" and not operation.startswith(STILL_ALLOWED)):
        whose = "access key" if principal.status == standing else "account"
        return f"the standing of the {whose}", f"it is {standing}"
    return None


class Standing:
    """Refuses whoever may not call."""

    def before(self, call: Call) -> None:
        principal = call.context.principal
        call.facts["purpose"] = principal.purpose
        found = objection(principal, call.client_ip, call.operation)
        if found is not None:
            raise deny(call, *found)

    def after(self, call: Call) -> None:
        pass


def _within(address: str, networks: Sequence[str]) -> bool:
    try:
        client = ip_address(address)
    except ValueError:
        return False
    return any(client in ip_network(network, strict=False) for network in networks)
