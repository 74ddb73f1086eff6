"""The audit log for programs of auditors: `GET /-/audit`, `/-/audit/checkpoints`, `/-/audit/proof`.

The key's role must allow `regard:ReadAudit` (officer, auditor).
"""

from datetime import UTC, datetime
from typing import Any

from starlette.routing import Route

from regard.store import audit as stored
from regard.store.database import raw
from regard.use.audit import proofs, reading
from regard.use.audit.checkpoints import Signer
from regard.use.audit.log import AuditError
from regard.use.control import Asked, Door, NothingThere, Work, endpoint

ACTION = "regard:ReadAudit"
DEFAULT_RECORDS = 100
MAX_RECORDS = 1000


def routes(door: Door) -> list[Route]:
    """The addresses."""

    def route(path: str, read: Work) -> Route:
        return Route(path, endpoint(door, ACTION, read, ValueError))

    return [route("/-/audit", _records), route("/-/audit/checkpoints", _checkpoints), route("/-/audit/proof", _proof)]


def _records(asked: Asked) -> dict[str, Any]:
    """`since`, `until` (ISO 8601), `limit`, `before` (a seq); any other name is a member and what it must be."""
    query = asked.parameters
    members = {name: value for name, value in query.items() if name not in ("since", "until", "limit", "before")}
    wanted = reading.Wanted(_moment(query.get("since")), _moment(query.get("until")), members)
    limit = min(int(query.get("limit", DEFAULT_RECORDS)), MAX_RECORDS)
    before = int(query["before"]) if "before" in query else None
    with asked.services.database.snapshot() as connection:
        return {"Records": reading.newest(raw(connection), wanted, limit, before)}


def _checkpoints(asked: Asked) -> dict[str, Any]:
    limit = min(int(asked.parameters.get("limit", DEFAULT_RECORDS)), MAX_RECORDS)
    with asked.services.database.read() as connection:
        found = stored.checkpoints(raw(connection), limit)
    return {
        "Key": str(Signer(asked.services.sealer).verifier),
        "Checkpoints": [{"Size": checkpoint.size, "Note": checkpoint.note} for checkpoint in found],
    }


def _proof(asked: Asked) -> dict[str, Any]:
    """`seq`: that this record is in the log. `size`: that the log has grown from the kept checkpoint of that size."""
    query, signer = asked.parameters, Signer(asked.services.sealer)
    with asked.services.database.read() as pooled:
        connection = raw(pooled)
        try:
            if "seq" in query:
                return proofs.prove(connection, signer, int(query["seq"]))
            size = int(query.get("size", ""))
            earlier = next((one.note for one in stored.checkpoints(connection) if one.size == size), None)
            if earlier is None:
                raise NothingThere(f"there is no checkpoint of {size} records")
            return proofs.prove_growth(connection, signer, earlier)
        except AuditError as error:
            raise NothingThere(str(error)) from error


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC)
