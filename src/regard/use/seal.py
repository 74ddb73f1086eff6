"""The master key and what hangs on it: secrets sealed at rest and page tokens that cannot be forged."""

import base64
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from regard.settings import Settings

_KEY_BYTES = 32
_NONCE_BYTES = 12


class SealError(Exception):
    """The master key is unusable or is not the one that sealed; the text tells the operator what to do."""


class Sealer:
    """Seals small secrets with AES-256-GCM under a key derived from the master key."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _KEY_BYTES:
            raise SealError(f"the master key must be {_KEY_BYTES} bytes, this is {len(master_key)}")
        self.master_key = master_key
        self._cipher = AESGCM(_derive(master_key, b"secret keys"))
        self.pages = Fernet(base64.urlsafe_b64encode(_derive(master_key, b"page tokens")))

    def key(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose; the same for every process with this master key."""
        return _derive(self.master_key, purpose.encode())

    @property
    def fingerprint(self) -> str:
        """By which one master key is told from another; nothing follows from it."""
        return self.key("fingerprint")[:6].hex()

    def seal(self, secret: str, context: str) -> bytes:
        """The secret, encrypted; it can be opened with the same `context` only."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), context.encode())

    def unseal(self, sealed: bytes, context: str) -> str:
        try:
            opened = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())
        except InvalidTag as error:
            raise SealError(
                "a sealed secret cannot be opened: this master key is not the one that sealed it. Servers that "
                "share a database must share REGARD_MASTER_KEY (or the file master.key)"
            ) from error
        return opened.decode()


def _derive(master_key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"regard " + purpose).derive(master_key)


def load_sealer(settings: Settings) -> Sealer:
    """The sealer for this deployment; makes `master.key` in the data folder on first use."""
    if settings.master_key is not None:
        try:
            return Sealer(base64.b64decode(settings.master_key.get_secret_value(), validate=True))
        except ValueError as error:
            raise SealError("REGARD_MASTER_KEY is not base64") from error
    path = settings.home / "master.key"
    try:
        return Sealer(path.read_bytes())
    except FileNotFoundError:
        return Sealer(_create_key(path))


def _create_key(path: Path) -> bytes:
    """A new key in `path`, whole and readable by this user only; another process's, if that was first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(os.urandom(_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_bytes()
