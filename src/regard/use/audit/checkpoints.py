"""Checkpoints: the size and the Merkle root of the log at one time, signed, to be held where nobody can change them.

A checkpoint is a signed note as transparency logs use it (C2SP tlog-checkpoint and signed-note): text that people
can read, mail and keep in git, and that tools of others can check and countersign.

    regard-audit/5f2c…              whose log
    20852163                        how many records
    CsUYapGGPo4dkMgIAUqom/Xajj…=    the root of the tree over their hashes
    head 9b1e…                      the hash of the last of them
    time 2026-11-24T23:52:15.000000Z

    — regard-audit/5f2c… Az3grl…    Ed25519, by a key from the master key

The key that checks it is text, too: name, key id and public key, as `regard audit key` prints it.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from regard.store import audit as stored
from regard.store.audit import Connection
from regard.use.audit import merkle, records
from regard.use.audit.log import AuditError, kept
from regard.use.seal import Sealer

_ED25519 = b"\x01"
_ID_BYTES = 4
_NOTE = re.compile(r"(?:[^\n]+\n){3,}\n(?:— [^\n]+\n)+")


class NoteError(AuditError):
    """Text that is no checkpoint, or one that the key did not sign."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """The key that checks signatures of a log: what an outsider needs to have from its owner once."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """The key that `str` wrote. Raises `NoteError` if it is none."""
        try:
            name, key_id, key = text.strip().split("+", 2)
            verifier = cls(name, base64.b64decode(key, validate=True).removeprefix(_ED25519))
            Ed25519PublicKey.from_public_bytes(verifier.public)
        except ValueError as error:
            raise NoteError("this is no key of an audit log: NAME+ID+BASE64, see `regard audit key`") from error
        if verifier.key_id.hex() != key_id:
            raise NoteError("the key and its id do not belong together")
        return verifier


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says. `head` is the hash of record number `size`."""

    origin: str
    size: int
    root: bytes
    head: bytes
    time: str

    def text(self) -> str:
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\nhead {self.head.hex()}\ntime {self.time}\n"


class Signer:
    """Signs the checkpoints of this deployment."""

    def __init__(self, sealer: Sealer) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(sealer.key("audit checkpoints"))
        public = self._private.public_key().public_bytes_raw()
        self.verifier = Verifier(f"regard-audit/{sha256(public).hexdigest()[:16]}", public)

    def sign(self, checkpoint: Checkpoint) -> str:
        """The checkpoint as a signed note."""
        text = checkpoint.text()
        signature = base64.b64encode(self.verifier.key_id + self._private.sign(text.encode())).decode()
        return f"{text}\n— {self.verifier.name} {signature}\n"


def opened(note: str, verifier: Verifier) -> Checkpoint:
    """What a signed note says. Raises `NoteError` unless the key signed it; signatures of others are passed over."""
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        match line.split(" "):
            case ["—", verifier.name, encoded]:
                signature = _decoded(encoded)
                if signature[:_ID_BYTES] != verifier.key_id:
                    continue
                try:
                    Ed25519PublicKey.from_public_bytes(verifier.public).verify(signature[_ID_BYTES:], text.encode())
                except InvalidSignature as error:
                    raise NoteError("the signature of the checkpoint is wrong") from error
                return _read(text)
    raise NoteError(f"the checkpoint is not signed by {verifier.name} ({verifier.key_id.hex()})")


def notes(text: str) -> Iterator[str]:
    """The signed notes in a file, in which there may be several, one after another."""
    found = [match.group() for match in _NOTE.finditer(text if text.endswith("\n") else text + "\n")]
    if not found:
        raise NoteError("there is no checkpoint in this file")
    yield from found


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise NoteError("the checkpoint is damaged") from error


def _read(text: str) -> Checkpoint:
    origin, size, root, *more = text.splitlines()
    said = dict(line.split(" ", 1) for line in more if " " in line)
    try:
        return Checkpoint(origin, int(size), _decoded(root), bytes.fromhex(said["head"]), said["time"])
    except (KeyError, ValueError) as error:
        raise NoteError("the checkpoint is damaged") from error


def make(connection: Connection, signer: Signer) -> str | None:
    """A new checkpoint of the log as it is, kept in the database; the last one if nothing was added since.

    None for an empty log. Raises `AuditError`, and signs nothing, if the log does not begin with what the last
    checkpoint stood for: a log that was rewritten gets no new signature.
    """
    head = stored.head(connection)
    last = next(iter(stored.checkpoints(connection, 1)), None)
    if last is not None:
        _check_beginning(connection, opened(last.note, signer.verifier), head.seq if head else 0)
    if head is None or (last is not None and last.size == head.seq):
        return None if last is None else last.note
    checkpoint = Checkpoint(
        signer.verifier.name,
        head.seq,
        merkle.root(kept(connection), 0, head.seq),
        head.hash,
        records.timestamp(datetime.now(UTC)),
    )
    note = signer.sign(checkpoint)
    stored.add_checkpoint(connection, head.seq, note)
    return note


def _check_beginning(connection: Connection, last: Checkpoint, size: int) -> None:
    if last.size > size:
        raise AuditError(f"the log was cut off: it has {size} records and had {last.size} when last signed")
    if merkle.root(kept(connection), 0, last.size) != last.root:
        raise AuditError(
            f"the first {last.size} records are not those that were last signed: see `regard audit verify`"
        )
