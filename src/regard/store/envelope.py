"""Files that only who has the passphrase can read, and that nobody can change, cut or rearrange unnoticed.

    "regard backup 1\\n" · salt of 16 bytes · chunks

Each chunk is 1 MiB of the content, the last one less, under AES-256-GCM; its nonce is its number and whether it is the
last, so that chunks fit in one place only (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015).
The key follows from passphrase and salt by scrypt, so no two files share one.
"""

import os
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"regard backup 1\n"
CHUNK = 1 << 20
_SALT_BYTES, _TAG_BYTES, _NUMBER_BYTES = 16, 16, 11
_SCRYPT_COST = 1 << 17  # 128 MB and half a second for each guess


class EnvelopeError(Exception):
    """The file cannot be opened; the text says why."""


class Writer:
    """Seals what is written to it into `file`. What was not finished with `close` does not open."""

    def __init__(self, file: BinaryIO, passphrase: bytes) -> None:
        salt = os.urandom(_SALT_BYTES)
        self._file = file
        self._head = MAGIC + salt
        self._cipher = _cipher(passphrase, salt)
        self._number = 0
        self._pending = bytearray()
        file.write(self._head)

    def write(self, data: bytes) -> None:
        self._pending += data
        while len(self._pending) > CHUNK:
            self._seal(bytes(self._pending[:CHUNK]), last=False)
            del self._pending[:CHUNK]

    def close(self) -> None:
        self._seal(bytes(self._pending), last=True)

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, last=last), chunk, self._head))
        self._number += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, failed: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if failed is None:
            self.close()


def opened(file: BinaryIO, passphrase: bytes) -> Iterator[bytes]:
    """The content, chunk by chunk, each as it was written. Raises `EnvelopeError` where it was not."""
    head = file.read(len(MAGIC) + _SALT_BYTES)
    if not head.startswith(MAGIC) or len(head) != len(MAGIC) + _SALT_BYTES:
        raise EnvelopeError("this is no backup of Regard")
    cipher = _cipher(passphrase, head[len(MAGIC) :])
    number, sealed = 0, file.read(CHUNK + _TAG_BYTES)
    while True:
        following = file.read(CHUNK + _TAG_BYTES)
        try:
            yield cipher.decrypt(_nonce(number, last=not following), sealed, head)
        except (InvalidTag, ValueError) as error:
            wrong = "the passphrase is wrong, or " if number == 0 else ""
            raise EnvelopeError(f"{wrong}the file is not whole: it was cut or changed") from error
        if not following:
            return
        number, sealed = number + 1, following


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_NUMBER_BYTES) + bytes([last])


def _cipher(passphrase: bytes, salt: bytes) -> AESGCM:
    return AESGCM(Scrypt(salt, 32, _SCRYPT_COST, 8, 1).derive(passphrase))
