"""Queries about consents, and about legal holds, which keep what would else be deleted."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from regard.store.tables import among, consents, legal_holds


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person agreed to. `evidence` is the SHA-256 of the signed release; `subject` is None after erasure."""

    consent_id: str
    subject: str | None
    purposes: tuple[str, ...]
    notice: str
    term: str
    evidence: bytes
    granted_at: datetime
    expires_at: datetime
    withdrawn_at: datetime | None = None
    erased_at: datetime | None = None

    def holds(self, purpose: str | None, now: datetime) -> bool:
        """Whether it covers a purpose now; None: whether it is in force at all."""
        in_force = self.withdrawn_at is None and self.granted_at <= now < self.expires_at
        return in_force and (purpose is None or purpose in self.purposes)


@dataclass(frozen=True, slots=True)
class LegalHold:
    """Faces that must be kept, of a collection or of a subject."""

    key: int
    collection_id: str | None
    subject: str | None
    reason: str
    placed_at: datetime


def _select() -> "sa.Select[Any]":
    columns = consents.c
    return sa.select(
        columns.consent_id,
        columns.subject,
        columns.purposes,
        columns.notice,
        columns.term,
        columns.evidence,
        columns.granted_at,
        columns.expires_at,
        columns.withdrawn_at,
        columns.erased_at,
    )


def _consent(row: "sa.Row[*tuple[Any, ...]]") -> Consent:
    consent_id, subject, purposes, notice, term, evidence, *times = row
    return Consent(consent_id, subject, tuple(purposes), notice, term, bytes(evidence), *times)


def add(connection: Connection, account_id: str, consent: Consent) -> bool:
    """Keep a consent; False if there is one of that id."""
    statement = insert(consents).values(
        account_id=account_id,
        consent_id=consent.consent_id,
        subject=consent.subject,
        purposes=list(consent.purposes),
        notice=consent.notice,
        term=consent.term,
        evidence=consent.evidence,
        granted_at=consent.granted_at,
        expires_at=consent.expires_at,
    )
    added = connection.execute(statement.on_conflict_do_nothing().returning(consents.c.consent_id))
    return added.first() is not None


def find(connection: Connection, account_id: str, consent_id: str) -> Consent | None:
    row = connection.execute(
        _select().where(consents.c.account_id == account_id, consents.c.consent_id == consent_id)
    ).first()
    return None if row is None else _consent(row)


def of_subjects(connection: Connection, account_id: str, subjects: Collection[str]) -> list[Consent]:
    """The consents of these people, in force or not, oldest first."""
    statement = _select().where(consents.c.account_id == account_id, among(consents.c.subject, subjects))
    return [_consent(row) for row in connection.execute(statement.order_by(consents.c.granted_at))]


def every(connection: Connection, account_id: str) -> list[Consent]:
    """All consents of an account, oldest first."""
    statement = _select().where(consents.c.account_id == account_id).order_by(consents.c.granted_at)
    return [_consent(row) for row in connection.execute(statement)]


def withdraw(connection: Connection, account_id: str, consent_id: str, at: datetime) -> bool:
    """End a consent; False if there is none of that id that has not been withdrawn."""
    statement = (
        sa.update(consents)
        .where(
            consents.c.account_id == account_id,
            consents.c.consent_id == consent_id,
            consents.c.withdrawn_at.is_(None),
        )
        .values(withdrawn_at=at)
    )
    return connection.execute(statement).rowcount == 1


def disown(connection: Connection, account_id: str, consent_ids: Sequence[str], at: datetime) -> None:
    """Take the person out of consents: what is left proves that there was one, not whose it was."""
    connection.execute(
        sa.update(consents)
        .where(consents.c.account_id == account_id, among(consents.c.consent_id, consent_ids))
        .values(subject=None, erased_at=at, withdrawn_at=sa.func.coalesce(consents.c.withdrawn_at, at))
    )


def hold(
    connection: Connection, account_id: str, reason: str, *, collection_id: str | None, subject: str | None
) -> int:
    """Place a legal hold on a collection or on a subject; its number."""
    statement = (
        sa.insert(legal_holds)
        .values(account_id=account_id, reason=reason, collection_id=collection_id, subject=subject)
        .returning(legal_holds.c.key)
    )
    return int(connection.execute(statement).scalar_one())


def release(connection: Connection, account_id: str, key: int) -> bool:
    """End a legal hold; False if there is none of that number in force."""
    statement = (
        sa.update(legal_holds)
        .where(legal_holds.c.account_id == account_id, legal_holds.c.key == key, legal_holds.c.released_at.is_(None))
        .values(released_at=sa.func.now())
    )
    return connection.execute(statement).rowcount == 1


def holds(connection: Connection, account_id: str) -> list[LegalHold]:
    """The legal holds of an account that are in force, oldest first."""
    columns = legal_holds.c
    statement = (
        sa.select(columns.key, columns.collection_id, columns.subject, columns.reason, columns.placed_at)
        .where(columns.account_id == account_id, columns.released_at.is_(None))
        .order_by(columns.key)
    )
    return [LegalHold(*row) for row in connection.execute(statement)]
