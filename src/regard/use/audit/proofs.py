"""Proofs for outsiders: that a record is in the log, or that the log has only grown, checked without the log.

A proof is one JSON file. It can be checked with `regard audit verify-proof` or with the few lines in docs/audit.md;
what it rests on is the key of the log's checkpoints, which its owner has published.
"""

import json
from hashlib import sha256
from typing import Any

from regard.store import audit as stored
from regard.store.audit import Connection
from regard.use.audit import merkle
from regard.use.audit.checkpoints import Checkpoint, Signer, Verifier, make, opened
from regard.use.audit.log import AuditError, kept
from regard.use.audit.records import facts

# What comes of JSON that is no proof: other types than expected, or nested too deeply to be read.
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, RecursionError)
INCLUSION, CONSISTENCY = "inclusion", "consistency"


def prove(connection: Connection, signer: Signer, seq: int) -> dict[str, Any]:
    """The proof that record `seq` is in the log as the newest checkpoint signs it, which is made if need be."""
    record = stored.find(connection, seq)
    if record is None:
        raise AuditError(f"there is no record {seq}")
    note, checkpoint = _covering(connection, signer, seq)
    return {
        "proof": INCLUSION,
        "seq": seq,
        "record": record.content.decode(),
        "path": [hashed.hex() for hashed in merkle.inclusion(kept(connection), seq - 1, checkpoint.size)],
        "checkpoint": note,
        "key": str(signer.verifier),
    }


def prove_growth(connection: Connection, signer: Signer, earlier: str) -> dict[str, Any]:
    """The proof that the log of the newest checkpoint begins with that of an earlier one."""
    old = opened(earlier, signer.verifier)
    note, checkpoint = _covering(connection, signer, old.size)
    if checkpoint.size < old.size:
        raise AuditError(f"the log was cut off: it has {checkpoint.size} records, and had {old.size}")
    return {
        "proof": CONSISTENCY,
        "earlier": earlier,
        "path": [hashed.hex() for hashed in merkle.consistency(kept(connection), old.size, checkpoint.size)],
        "checkpoint": note,
        "key": str(signer.verifier),
    }


def check(text: str, verifier: Verifier) -> str:
    """What a proof shows, in a sentence. Raises `ProofError` or `NoteError` if it shows nothing."""
    try:
        proof = json.loads(text)
        kind, path = proof["proof"], [bytes.fromhex(hashed) for hashed in proof["path"]]
        checkpoint = opened(proof["checkpoint"], verifier)
        if kind == CONSISTENCY:
            old = opened(proof["earlier"], verifier)
            merkle.check_consistency(old.size, old.root, checkpoint.size, checkpoint.root, path)
            return (
                f"The log of {checkpoint.size} records of {checkpoint.time} "
                f"begins with the {old.size} that it had on {old.time}."
            )
        content = proof["record"].encode()
        seq = facts(content)["seq"]
        leaf = merkle.leaf(sha256(content).digest())
        if merkle.root_of_inclusion(leaf, seq - 1, checkpoint.size, path) != checkpoint.root:
            raise merkle.ProofError("the proof leads to another root: the record is not in that log")
    except _UNREADABLE as error:
        raise merkle.ProofError(f"this is no proof: {error}") from error
    return f"Record {seq} is in the log of {checkpoint.size} records of {checkpoint.time}."


def claimed_key(text: str) -> str:
    """The key that a proof names itself, which proves nothing about whose log it is."""
    try:
        return str(json.loads(text)["key"])
    except _UNREADABLE as error:
        raise merkle.ProofError(f"this is no proof: {error}") from error


def _covering(connection: Connection, signer: Signer, seq: int) -> tuple[str, Checkpoint]:
    """The newest checkpoint, which stands for record `seq`, too."""
    last = next(iter(stored.checkpoints(connection, 1)), None)
    note = last.note if last is not None and last.size >= seq else make(connection, signer)
    if note is None:
        raise AuditError("the log is empty")
    return note, opened(note, signer.verifier)
