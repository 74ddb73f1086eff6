"""Queries about deletions: the signed receipt of each, and whether its traces have left the disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from regard.store.tables import among, deletions


@dataclass(frozen=True, slots=True)
class Deletion:
    """A receipt as it was signed. `scrubbed_at` is None while traces may be on the disk."""

    receipt_id: UUID
    account_id: str
    document: str
    signature: bytes
    created_at: datetime
    scrubbed_at: datetime | None


def keep(connection: Connection, receipt_id: UUID, account_id: str, document: str, signature: bytes) -> None:
    connection.execute(
        sa.insert(deletions).values(
            receipt_id=receipt_id, account_id=account_id, document=document, signature=signature
        )
    )


def page(connection: Connection, account_id: str, limit: int) -> list[Deletion]:
    """The last deletions of an account, newest first."""
    columns = deletions.c
    statement = (
        sa.select(
            columns.receipt_id,
            columns.account_id,
            columns.document,
            columns.signature,
            columns.created_at,
            columns.scrubbed_at,
        )
        .where(columns.account_id == account_id)
        .order_by(columns.created_at.desc())
        .limit(limit)
    )
    return [Deletion(*row) for row in connection.execute(statement)]


def unscrubbed(connection: Connection) -> list[UUID]:
    """The receipts of deletions whose traces may be on the disk."""
    return list(
        connection.execute(sa.select(deletions.c.receipt_id).where(deletions.c.scrubbed_at.is_(None))).scalars()
    )


def oldest_unscrubbed(connection: Connection) -> datetime | None:
    """When the oldest deletion was whose traces may be on the disk."""
    return connection.execute(
        sa.select(sa.func.min(deletions.c.created_at)).where(deletions.c.scrubbed_at.is_(None))
    ).scalar()


def mark_scrubbed(connection: Connection, receipt_ids: Sequence[UUID]) -> None:
    connection.execute(
        sa.update(deletions).where(among(deletions.c.receipt_id, receipt_ids)).values(scrubbed_at=sa.func.now())
    )
