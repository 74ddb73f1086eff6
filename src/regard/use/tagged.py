"""The tags of collections, which rules of use ask with every request: a process keeps them until one is changed.

The account's epoch, which the database raises with every change of a tag, is read together with the access key.
"""

from collections.abc import Mapping
from weakref import WeakKeyDictionary

from regard.operations.context import Context
from regard.store import tags
from regard.store.database import Database

MAX_KEPT = 10_000  # collections of which a process keeps the tags

_Kept = dict[str, tuple[int, Mapping[str, str]]]  # by ARN, since which epoch they are known


def whole_days(text: str) -> int | None:
    """The number of days that a tag says in ASCII's digits, at least 1; None where it says anything else."""
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def tags_of(context: Context, collection_id: str) -> Mapping[str, str]:
    """The tags of a collection of the caller, as they were when the access key was looked up, or later."""
    database, epoch = context.services.database, context.principal.tags_epoch
    arn = context.arn(f"collection/{collection_id}")
    kept = _KEPT.setdefault(database, {})
    known = kept.get(arn)
    if known is not None and epoch is not None and known[0] >= epoch:
        return known[1]
    with database.read() as connection:
        found = tags.get(connection, arn)
    if epoch is not None:
        if len(kept) >= MAX_KEPT:
            kept.clear()
        kept[arn] = epoch, found
    return found


_KEPT: WeakKeyDictionary[Database, _Kept] = WeakKeyDictionary()
