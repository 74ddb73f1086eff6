"""Queries about how often something was done lately: uses by a key, searches for the same person.

The counts are lost if the power fails within a moment of them; nothing else hangs on them, and so they do not wait
for the disk.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BIT
from sqlalchemy.engine import Connection

from regard.store.database import Executor
from regard.store.tables import probes

KEPT = timedelta(days=2)
"""How long counts and signatures are kept after the beginning of their period."""


_USE = """
    WITH unhurried AS (SELECT set_config('synchronous_commit', 'off', true))
    INSERT INTO uses AS known (access_key_id, rule, period, count) SELECT %s, %s, %s, 1 FROM unhurried
    ON CONFLICT (access_key_id, rule, period) DO UPDATE SET count = known.count + 1 RETURNING count"""


def use(connection: Executor, access_key_id: str, rule: str, period: datetime) -> int:
    """Count a use in the period that begins then; which one it is. One statement, which commits by itself.

    Whoever begins a period removes what is too old.
    """
    (number,) = connection.execute(_USE, (access_key_id, rule, period)).fetchone() or (0,)
    if number == 1:
        connection.execute("DELETE FROM uses WHERE period < now() - %s::interval", (KEPT,))
    return int(number)


_ONE_BY_ONE = sa.select(
    sa.func.set_config("synchronous_commit", "off", True),
    sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(sa.bindparam("searches"), 0)),
)
_ALIKE = (
    sa.select(sa.func.count())
    .select_from(probes)
    .where(
        probes.c.account_id == sa.bindparam("account_id"),
        probes.c.rule == sa.bindparam("rule"),
        probes.c.period == sa.bindparam("period"),
        sa.func.bit_count(probes.c.signature.op("#")(sa.cast(sa.bindparam("signature"), BIT(256))))
        <= sa.bindparam("radius"),
    )
)
_KEEP = sa.insert(probes)
_FORGET = sa.delete(probes).where(probes.c.period < sa.func.now() - KEPT)


def probe(
    connection: Connection, account_id: str, rule: str, period: datetime, signature: str, radius: int, most: int
) -> bool:
    """Keep the signature of a search unless `most` of the period differ from it in at most `radius` bits.

    `signature` is a string of 256 zeros and ones. Searches of an account wait for each other here.
    """
    kept = {"account_id": account_id, "rule": rule, "period": period, "signature": signature}
    connection.execute(_ONE_BY_ONE, {"searches": account_id + rule})
    if int(connection.execute(_ALIKE, kept | {"radius": radius}).scalar_one()) >= most:
        return False
    connection.execute(_KEEP, kept)
    connection.execute(_FORGET)
    return True
