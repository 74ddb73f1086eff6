"""Queries about tags of resources, by ARN."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from regard.store.tables import among, tags

_OF_RESOURCE = (
    sa.select(tags.c.key, tags.c.value).where(tags.c.resource_arn == sa.bindparam("arn")).order_by(tags.c.key)
)  # made once, for rules ask it with every request


def get(connection: Connection, arn: str) -> dict[str, str]:
    return {row.key: row.value for row in connection.execute(_OF_RESOURCE, {"arn": arn})}


def put(connection: Connection, arn: str, new: Mapping[str, str]) -> None:
    """Set tags; one that is there gets the new value."""
    if not new:
        return
    statement = insert(tags)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[tags.c.resource_arn, tags.c.key], set_={"value": statement.excluded.value}
        ),
        [{"resource_arn": arn, "key": key, "value": value} for key, value in new.items()],
    )


def remove(connection: Connection, arn: str, keys: Collection[str] | None = None) -> None:
    """Remove the tags with these keys, or all."""
    statement = sa.delete(tags).where(tags.c.resource_arn == arn)
    if keys is not None:
        statement = statement.where(among(tags.c.key, keys))
    connection.execute(statement)
