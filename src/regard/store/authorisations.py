"""Queries about authorisations: who may be searched for, in which case, approved by whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from regard.store.tables import authorisations

APPROVERS_NEEDED = 2
EVERYTHING = "*"
"""In `collections` or `operations`: any."""


@dataclass(frozen=True, slots=True)
class Authorisation:
    """A row of `authorisations`. It holds once two people have approved it who did not ask for it."""

    authorisation_id: str
    account_id: str
    authority: str
    case_reference: str
    collections: tuple[str, ...]
    operations: tuple[str, ...]
    requested_by: str
    approvers: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


_TABLE = authorisations.c
_COLUMNS = tuple(_TABLE[name] for name in Authorisation.__dataclass_fields__)


def _authorisation(row: "Row[*tuple[Any, ...]]") -> Authorisation:
    fields = row._asdict()
    return Authorisation(**fields | {n: tuple(fields[n]) for n in ("collections", "operations", "approvers")})


def request(
    connection: Connection,
    authorisation_id: str,
    account_id: str,
    authority: str,
    case_reference: str,
    requested_by: str,
    expires_at: datetime,
    collections: Sequence[str] = (EVERYTHING,),
    operations: Sequence[str] = (EVERYTHING,),
) -> None:
    """Ask for an authorisation; it needs approvals to hold."""
    connection.execute(
        sa.insert(authorisations).values(
            authorisation_id=authorisation_id,
            account_id=account_id,
            authority=authority,
            case_reference=case_reference,
            requested_by=requested_by,
            expires_at=expires_at,
            collections=list(collections),
            operations=list(operations),
        )
    )


def approve(connection: Connection, authorisation_id: str, approver: str) -> bool:
    """Add an approval; False for one who approved already or asked for it, or if there is none of that id."""
    statement = (
        sa.update(authorisations)
        .where(
            _TABLE.authorisation_id == authorisation_id,
            _TABLE.requested_by != approver,
            _TABLE.revoked_at.is_(None),
            sa.literal(approver) != sa.all_(_TABLE.approvers),
        )
        .values(approvers=sa.func.array_append(_TABLE.approvers, approver))
    )
    return connection.execute(statement).rowcount == 1


def revoke(connection: Connection, authorisation_id: str) -> bool:
    """End an authorisation; False if there is none of that id that holds or waits."""
    statement = (
        sa.update(authorisations)
        .where(_TABLE.authorisation_id == authorisation_id, _TABLE.revoked_at.is_(None))
        .values(revoked_at=sa.func.now())
    )
    return connection.execute(statement).rowcount == 1


def covering(
    connection: Connection, account_id: str, operation: str, collection_id: str | None, grace: timedelta
) -> str | None:
    """The id of one that covers the operation now: approved by two, or else asked for less than `grace` ago."""
    approved = sa.func.cardinality(_TABLE.approvers) >= APPROVERS_NEEDED
    statement = (
        sa.select(_TABLE.authorisation_id)
        .where(
            _TABLE.account_id == account_id,
            _TABLE.revoked_at.is_(None),
            _TABLE.expires_at > sa.func.now(),
            _TABLE.operations.overlap([EVERYTHING, operation]),
            _TABLE.collections.overlap([EVERYTHING] if collection_id is None else [EVERYTHING, collection_id]),
            sa.or_(approved, _TABLE.created_at > sa.func.now() - grace),
        )
        .order_by(approved.desc(), _TABLE.created_at)
        .limit(1)
    )
    return connection.execute(statement).scalar()


def every(connection: Connection) -> list[Authorisation]:
    """All of them, the oldest first."""
    rows = connection.execute(sa.select(*_COLUMNS).order_by(_TABLE.created_at))
    return [_authorisation(row) for row in rows]
