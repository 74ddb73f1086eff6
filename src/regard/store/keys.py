"""Queries about accounts and access keys, and in which standing they are. Secrets come and go sealed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection, Row

from regard.store.database import Executor
from regard.store.tables import access_keys, accounts, appeals, policy_epoch, standings, text_of, violations

Status = Literal["active", "restricted", "suspended", "banned"]

_ACCOUNTS_LOCK = 0x41636373  # "Accs"


@dataclass(frozen=True, slots=True)
class Account:
    """A row of `accounts`. `purposes` are those that its keys may have; None: any."""

    account_id: str
    name: str
    contact: str
    status: Status
    purposes: tuple[str, ...] | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row of `access_keys` with what a request needs of its account, and the epochs of the policies and its tags."""

    access_key_id: str
    account_id: str
    sealed_secret: bytes
    description: str
    created_at: datetime
    revoked_at: datetime | None
    purpose: str | None
    role: str
    status: Status
    expires_at: datetime | None
    networks: list[str] | None
    account_status: Status
    account_purposes: list[str] | None
    tags_epoch: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A change of the status of an account or an access key, and why."""

    subject: str
    status: Status
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Appeal:
    """What was said against a suspension, and what came of it."""

    key: int
    subject: str
    statement: str
    created_at: datetime
    outcome: str | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Violation:
    """A denial by a rule of use."""

    decision_id: str
    account_id: str
    access_key_id: str
    policy: str
    rule: str
    sentence: str


_ACCOUNT = (
    accounts.c.account_id,
    accounts.c.name,
    accounts.c.contact,
    accounts.c.status,
    accounts.c.purposes,
    accounts.c.created_at,
)
_KEYS = sa.select(
    access_keys.c.access_key_id,
    access_keys.c.account_id,
    access_keys.c.sealed_secret,
    access_keys.c.description,
    access_keys.c.created_at,
    access_keys.c.revoked_at,
    access_keys.c.purpose,
    access_keys.c.role,
    access_keys.c.status,
    access_keys.c.expires_at,
    access_keys.c.networks,
    accounts.c.status.label("account_status"),
    accounts.c.purposes.label("account_purposes"),
    accounts.c.tags_epoch,
    policy_epoch.c.epoch,
).select_from(access_keys.join(accounts).join(policy_epoch, sa.true()))


def _key(row: Sequence[Any]) -> StoredKey:
    return StoredKey(*row)


def _account(row: "Row[*tuple[Any, ...]]") -> Account:
    fields = row._asdict()
    return Account(**fields | {"purposes": None if fields["purposes"] is None else tuple(fields["purposes"])})


def lock_accounts(connection: Connection) -> None:
    """Let no other transaction make an account until this one ends."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ACCOUNTS_LOCK)))


def first_account(connection: Connection) -> str | None:
    """The id of the oldest account."""
    return connection.execute(sa.select(accounts.c.account_id).order_by(accounts.c.created_at).limit(1)).scalar()


def create_account(
    connection: Connection,
    account_id: str,
    name: str = "",
    contact: str = "",
    purposes: Sequence[str] | None = None,
) -> None:
    connection.execute(
        insert(accounts).values(account_id=account_id, name=name, contact=contact, purposes=_array(purposes))
    )


def account(connection: Connection, account_id: str) -> Account | None:
    row = connection.execute(sa.select(*_ACCOUNT).where(accounts.c.account_id == account_id)).first()
    return None if row is None else _account(row)


def every_account(connection: Connection) -> list[Account]:
    """All accounts, oldest first."""
    return [_account(row) for row in connection.execute(sa.select(*_ACCOUNT).order_by(accounts.c.created_at))]


def create(
    connection: Connection,
    access_key_id: str,
    account_id: str,
    sealed: bytes,
    description: str,
    *,
    purpose: str | None = None,
    role: str = "application",
    expires_at: datetime | None = None,
    networks: Sequence[str] | None = None,
) -> None:
    connection.execute(
        insert(access_keys).values(
            access_key_id=access_key_id,
            account_id=account_id,
            sealed_secret=sealed,
            description=description,
            purpose=purpose,
            role=role,
            expires_at=expires_at,
            networks=_array(networks),
        )
    )


def _array(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


_KEY = text_of(_KEYS.where(access_keys.c.access_key_id == sa.bindparam("wanted")))


def find(connection: Executor, access_key_id: str) -> StoredKey | None:
    """The key with its account's status and the epochs: all that a request needs, in one query."""
    row = connection.execute(_KEY, {"wanted": access_key_id}).fetchone()
    return None if row is None else _key(row)


def every(connection: Connection) -> list[StoredKey]:
    """All keys, revoked ones too, oldest first."""
    return [_key(row) for row in connection.execute(_KEYS.order_by(access_keys.c.created_at))]


def revoke(connection: Connection, access_key_id: str) -> bool:
    """End a key's validity; False if there is none of that id that is still valid."""
    statement = (
        sa.update(access_keys)
        .where(access_keys.c.access_key_id == access_key_id, access_keys.c.revoked_at.is_(None))
        .values(revoked_at=sa.func.now())
    )
    return connection.execute(statement).rowcount == 1


def declare_purpose(connection: Connection, access_key_id: str, purpose: str) -> bool:
    """Give a key that has none its one purpose; False if it has one, or is not there."""
    statement = (
        sa.update(access_keys)
        .where(access_keys.c.access_key_id == access_key_id, access_keys.c.purpose.is_(None))
        .values(purpose=purpose)
    )
    return connection.execute(statement).rowcount == 1


def set_status(connection: Connection, subject: str, status: Status, reason: str) -> bool:
    """Put an account or an access key into a standing and keep why; False if there is none of that id."""
    changed = sum(
        connection.execute(sa.update(table).where(column == subject).values(status=status)).rowcount
        for table, column in ((accounts, accounts.c.account_id), (access_keys, access_keys.c.access_key_id))
    )
    if changed:
        connection.execute(sa.insert(standings).values(subject=subject, status=status, reason=reason))
    return bool(changed)


def history(connection: Connection, subject: str | None = None) -> list[Standing]:
    """The changes of status, of one or of all, oldest first."""
    columns = standings.c
    statement = sa.select(columns.subject, columns.status, columns.reason, columns.since).order_by(columns.key)
    if subject is not None:
        statement = statement.where(columns.subject == subject)
    return [Standing(*row) for row in connection.execute(statement)]


def violated(connection: Connection, violation: Violation) -> None:
    """Keep a denial by a rule of use."""
    connection.execute(
        sa.insert(violations).values(
            decision_id=violation.decision_id,
            account_id=violation.account_id,
            access_key_id=violation.access_key_id,
            policy=violation.policy,
            rule=violation.rule,
            sentence=violation.sentence,
        )
    )


def violations_since(connection: Connection, access_key_id: str, since: datetime) -> int:
    """How many denials a key got after `since` and after it was last reinstated."""
    reinstated = (
        sa.select(sa.func.max(standings.c.since))
        .where(standings.c.subject == access_key_id, standings.c.status == "active")
        .scalar_subquery()
    )
    statement = (
        sa.select(sa.func.count())
        .select_from(violations)
        .where(
            violations.c.access_key_id == access_key_id,
            violations.c.created_at > sa.func.greatest(since, reinstated),
        )
    )
    return int(connection.execute(statement).scalar_one())


def violation(connection: Connection, decision_id: str) -> Violation | None:
    """The denial of that id."""
    columns = violations.c
    row = connection.execute(
        sa.select(
            columns.decision_id,
            columns.account_id,
            columns.access_key_id,
            columns.policy,
            columns.rule,
            columns.sentence,
        ).where(columns.decision_id == decision_id)
    ).first()
    return None if row is None else Violation(*row)


def appeal(connection: Connection, subject: str, statement: str) -> int:
    """Keep what is said against a standing; its number."""
    return int(
        connection.execute(
            sa.insert(appeals).values(subject=subject, statement=statement).returning(appeals.c.key)
        ).scalar_one()
    )


def decide_appeal(connection: Connection, key: int, outcome: str) -> bool:
    """Keep what came of an appeal; False if there is none of that number that is open."""
    statement = (
        sa.update(appeals)
        .where(appeals.c.key == key, appeals.c.outcome.is_(None))
        .values(outcome=outcome, decided_at=sa.func.now())
    )
    return connection.execute(statement).rowcount == 1


def every_appeal(connection: Connection) -> list[Appeal]:
    """All appeals, oldest first."""
    columns = appeals.c
    statement = sa.select(
        columns.key, columns.subject, columns.statement, columns.created_at, columns.outcome, columns.decided_at
    )
    return [Appeal(*row) for row in connection.execute(statement.order_by(columns.key))]
