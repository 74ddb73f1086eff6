"""Deletions once more: a backup holds people who were deleted after it, and a restored deployment must let them go.

A receipt names a face by the SHA-256 of its FaceId, by which it is found among those that came back. A deletion too
large to list its faces has one digest over all; it is repeated where that is the digest of the whole collection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from regard.store import collections, subjects
from regard.store.database import raw
from regard.use.audit import AuditLog
from regard.use.retention import let_go

REASON = "again, after a restore: {reason}"
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Repeated:
    """How many faces were deleted, and the receipts whose deletions could not be repeated in full, with why."""

    faces: int
    left: Sequence[tuple[str, str]]


def repeat(audit: AuditLog, documents: Sequence[Mapping[str, Any]], now: datetime) -> Repeated:
    """Do again what genuine receipts say was deleted (see `receipts.verify`). Doing it twice is harmless."""
    count, left = 0, []
    for document in documents:
        if document.get("Kind") != "deletion":
            continue
        reason = REASON.format(reason=str(document["Reason"]).removeprefix(REASON.format(reason="")))
        known, keys_there = True, False
        for collection_id in document["CollectionIds"]:
            with audit.database.read() as connection:
                collection = collections.find(raw(connection), document["AccountId"], collection_id)
                if collection is None:
                    continue
                if "FaceIdDigests" in document:
                    digests = [bytes.fromhex(digest) for digest in document["FaceIdDigests"]]
                    keys = subjects.by_digests(connection, collection.key, digests)
                elif subjects.digest(connection, collection.key).hex() == document["FaceIdsDigest"]:
                    keys = subjects.by_digests(connection, collection.key, None)
                else:
                    known, keys = False, []
            for start in range(0, len(keys), _BATCH):
                batch = keys[start : start + _BATCH]
                let_go(audit, document["AccountId"], collection, batch, reason, now, "RepeatDeletion")
            count += len(keys)
            keys_there |= bool(keys)
        if not known and not keys_there:
            left.append((document["ReceiptId"], "it lists no faces, and its collections hold others, too"))
        elif document["Consents"]:
            left.append((document["ReceiptId"], "it withdrew consents, which it does not name: erase the person again"))
    return Repeated(count, left)
