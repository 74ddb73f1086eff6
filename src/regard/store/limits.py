"""Queries about how often something was done lately: uses by a key, searches for the same person.

The counts are lost if the power fails within a moment of them; nothing else hangs on them, and so they do not wait
for the disk.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BIT, insert
from sqlalchemy.engine import Connection

from regard.store.tables import probes, uses

KEPT = timedelta(days=2)
"""How long counts and signatures are kept after the beginning of their period."""


def _counting() -> "sa.Insert":
    unhurried = sa.select(sa.func.set_config("synchronous_commit", "off", True)).cte("unhurried")
    columns = ("access_key_id", "rule", "period", "count")
    values = sa.select(
        sa.bindparam("key_id", type_=sa.Text),
        sa.bindparam("named", type_=sa.Text),
        sa.bindparam("since", type_=sa.DateTime(timezone=True)),
        sa.literal(1),
    ).select_from(unhurried)
    return (
        insert(uses)
        .from_select(columns, values)
        .on_conflict_do_update(
            index_elements=[uses.c.access_key_id, uses.c.rule, uses.c.period], set_={"count": uses.c.count + 1}
        )
        .returning(uses.c.count)
        .add_cte(sa.delete(uses).where(uses.c.period < sa.func.now() - KEPT).cte("forgotten"))
    )


_COUNTING = _counting()  # made once, for every search asks it


def use(connection: Connection, access_key_id: str, rule: str, period: datetime) -> int:
    """Count a use in the period that begins then; which one it is. One statement, which commits by itself."""
    counted = connection.execute(_COUNTING, {"key_id": access_key_id, "named": rule, "since": period})
    return int(counted.scalar_one())


def probe(
    connection: Connection, account_id: str, rule: str, period: datetime, signature: str, radius: int, most: int
) -> bool:
    """Keep the signature of a search unless `most` of the period differ from it in at most `radius` bits.

    `signature` is a string of 256 zeros and ones. Searches of an account wait for each other here.
    """
    connection.execute(
        sa.select(
            sa.func.set_config("synchronous_commit", "off", True),
            sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(account_id + rule, 0)),
        )
    )
    distance = sa.func.bit_count(probes.c.signature.op("#")(sa.cast(signature, BIT(256))))
    alike = (
        sa.select(sa.func.count())
        .select_from(probes)
        .where(
            probes.c.account_id == account_id,
            probes.c.rule == rule,
            probes.c.period == period,
            distance <= radius,
        )
    )
    if int(connection.execute(alike).scalar_one()) >= most:
        return False
    connection.execute(sa.insert(probes).values(account_id=account_id, rule=rule, period=period, signature=signature))
    connection.execute(sa.delete(probes).where(probes.c.period < sa.func.now() - KEPT))
    return True
