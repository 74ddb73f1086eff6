"""Idempotency tokens: the same token with the same request gives the same response, and no second effect."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from regard.store.tables import idempotency_tokens

LIFETIME = timedelta(hours=24)


class TokenMismatch(Exception):
    """The token was used with another request."""


def claim(
    connection: Connection, account_id: str, operation: str, token: str, request_digest: bytes
) -> dict[str, Any] | None:
    """None if the token is new, and then it is taken by this transaction; else the response that it got.

    A second transaction with the same token waits here until the first has ended.
    """
    connection.execute(sa.delete(idempotency_tokens).where(idempotency_tokens.c.created_at < sa.func.now() - LIFETIME))
    values = {"account_id": account_id, "operation": operation, "token": token}
    taken = connection.execute(
        insert(idempotency_tokens)
        .values(**values, request_digest=request_digest, response={})
        .on_conflict_do_nothing()
        .returning(idempotency_tokens.c.token)
    )
    if taken.first() is not None:
        return None
    row = connection.execute(
        sa.select(idempotency_tokens.c.request_digest, idempotency_tokens.c.response).filter_by(**values)
    ).one()
    if bytes(row.request_digest) != request_digest:
        raise TokenMismatch
    return dict(row.response)


def keep(connection: Connection, account_id: str, operation: str, token: str, response: dict[str, Any]) -> None:
    """Remember the response of a claimed token."""
    connection.execute(
        sa.update(idempotency_tokens)
        .filter_by(account_id=account_id, operation=operation, token=token)
        .values(response=response)
    )
