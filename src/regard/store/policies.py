"""Queries about policies: the versions of each, and the epoch that tells running servers of a change."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.engine import Connection

from regard.store.tables import policies, policy_epoch


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a policy. `document` is its text, None where it was withdrawn; `digest` the text's SHA-256."""

    name: str
    version: int
    document: str | None
    digest: str
    created_at: datetime


_COLUMNS = (policies.c.name, policies.c.version, policies.c.document, policies.c.digest, policies.c.created_at)


def epoch(connection: Connection) -> int:
    """The number that every change of policies and of the opt-out gallery raises."""
    return int(connection.execute(sa.select(policy_epoch.c.epoch)).scalar_one())


def in_force(connection: Connection) -> list[Version]:
    """The last version of each policy that is not withdrawn, by name."""
    last = sa.select(*_COLUMNS).ext(distinct_on(policies.c.name)).order_by(policies.c.name, policies.c.version.desc())
    return [Version(*row) for row in connection.execute(last) if row.document is not None]


def history(connection: Connection, name: str) -> list[Version]:
    """All versions of a policy, the first first."""
    statement = sa.select(*_COLUMNS).where(policies.c.name == name).order_by(policies.c.version)
    return [Version(*row) for row in connection.execute(statement)]


def put(connection: Connection, documents: Mapping[str, tuple[str | None, str]]) -> dict[str, int]:
    """Put documents, each with its digest, into force under their names, and None to withdraw; the new versions.

    Those that are in force already, unchanged, are left out. Concurrent changes wait for each other.
    """
    connection.execute(sa.update(policy_epoch).values(epoch=policy_epoch.c.epoch + 1))
    made = {}
    for name, (document, digest) in documents.items():
        earlier = history(connection, name)
        last = earlier[-1] if earlier else None
        if (None if last is None else last.document) == document:
            continue
        made[name] = 1 if last is None else last.version + 1
        connection.execute(sa.insert(policies).values(name=name, version=made[name], document=document, digest=digest))
    return made
