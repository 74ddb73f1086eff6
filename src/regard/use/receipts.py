"""Receipts of deletions: what was deleted, when and why, signed, so that it can be shown to have been said.

A receipt tells no name: of each FaceId it has the SHA-256, which who knows the id can make again. It is signed by
Ed25519 with a key that follows from the master key, over its canonical JSON (sorted keys, no spaces).
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy.engine import Connection

from regard.store import deletions
from regard.use.seal import Sealer

BY_CLIENT = "a client of the API asked for it"
MAX_LISTED = 4096  # DeleteFaces' most; of a larger deletion a receipt has one digest over all


class ReceiptError(Exception):
    """A receipt is not genuine, or cannot be read; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A signed document."""

    document: dict[str, Any]
    signature: bytes

    def to_json(self, sealer: Sealer) -> dict[str, Any]:
        """What is handed out."""
        public = _key(sealer).public_key().public_bytes_raw()
        return {
            "Document": self.document,
            "Signature": base64.b64encode(self.signature).decode(),
            "PublicKey": base64.b64encode(public).decode(),
        }


def sign(sealer: Sealer, document: Mapping[str, Any]) -> Receipt:
    return Receipt(dict(document), _key(sealer).sign(_canonical(document)))


def give(
    connection: Connection,
    sealer: Sealer,
    account_id: str,
    reason: str,
    *,
    collections: Sequence[str],
    face_ids: Sequence[UUID] = (),
    faces: int | None = None,
    digest: bytes | None = None,
    users: int = 0,
    consents: int = 0,
    now: datetime | None = None,
) -> Receipt:
    """Sign for what this transaction deletes, and keep the receipt with it.

    The faces are those of `face_ids`, or as many as `faces` says, with their `digest`, see `digest_of`.
    """
    receipt_id = uuid4()
    document: dict[str, Any] = {
        "Kind": "deletion",
        "ReceiptId": str(receipt_id),
        "AccountId": account_id,
        "Time": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "Reason": reason,
        "CollectionIds": sorted(collections),
        "Faces": len(face_ids) if faces is None else faces,
        "FaceIdsDigest": (digest or digest_of(face_ids)).hex(),
        "Users": users,
        "Consents": consents,
        "Remaining": 0,
    }
    if faces is None and len(face_ids) <= MAX_LISTED:
        document["FaceIdDigests"] = [one.hex() for one in _digests(face_ids)]
    receipt = sign(sealer, document)
    deletions.keep(connection, receipt_id, account_id, _canonical(document).decode(), receipt.signature)
    return receipt


def digest_of(face_ids: Sequence[UUID]) -> bytes:
    """SHA-256 over the SHA-256s of FaceIds, in the order of the ids."""
    return hashlib.sha256(b"".join(_digests(face_ids))).digest()


def _digests(face_ids: Sequence[UUID]) -> list[bytes]:
    return [hashlib.sha256(str(face_id).encode()).digest() for face_id in sorted(face_ids)]


def verify(content: bytes, public_key: bytes) -> list[dict[str, Any]]:
    """The documents of a file of receipts, each signed by that key. Raises `ReceiptError`."""
    try:
        receipts = orjson.loads(content)
        signed = [(dict(entry["Document"]), base64.b64decode(entry["Signature"])) for entry in receipts]
    except (ValueError, TypeError, KeyError) as error:
        raise ReceiptError("this is no file of receipts") from error
    if not signed:
        raise ReceiptError("the file has no receipt")
    key = Ed25519PublicKey.from_public_bytes(public_key)
    for document, signature in signed:
        try:
            key.verify(signature, _canonical(document))
        except InvalidSignature:
            raise ReceiptError(
                f"receipt {document.get('ReceiptId', 'without an id')}: the signature is not this deployment's, or the "
                "receipt was changed"
            ) from None
    return [document for document, _ in signed]


def summary(document: Mapping[str, Any]) -> str:
    """One line for people."""
    if document.get("Kind") == "deletion":
        what = f"{document['Faces']} faces, {document['Users']} users, {document['Consents']} consents were deleted"
        return f"{document['ReceiptId']}: {what} on {document['Time']}: {document['Reason']}"
    found = document.get("FilesWithTraces")
    searched = "not searched" if found is None else f"searched, {len(found)} files with traces"
    return f"{document['ReceiptId']}: scrubbed on {document['Time']}, the data folder was {searched}"


def public_key(sealer: Sealer) -> bytes:
    """The 32 bytes that receipts of this deployment are checked with."""
    return _key(sealer).public_key().public_bytes_raw()


def _key(sealer: Sealer) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sealer.key("deletion receipts"))


def _canonical(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
