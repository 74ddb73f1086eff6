import io
import os

import pytest

from regard.store import envelope
from regard.store.envelope import CHUNK, EnvelopeError, Writer, opened

HEAD = len(envelope.MAGIC) + 16
SEALED = CHUNK + 16


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "_SCRYPT_COST", 2)


def sealed(content: bytes, passphrase: bytes = b"secret") -> bytes:
    file = io.BytesIO()
    with Writer(file, passphrase) as writer:
        for start in range(0, len(content), 700_000):
            writer.write(content[start : start + 700_000])
    return file.getvalue()


def content_of(data: bytes, passphrase: bytes = b"secret") -> bytes:
    return b"".join(opened(io.BytesIO(data), passphrase))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
def test_what_was_sealed_comes_out(size):
    content = os.urandom(size)
    data = sealed(content)
    assert content_of(data) == content
    assert content[:32] not in data or size < 32


def test_nobody_else_can_open_it():
    with pytest.raises(EnvelopeError, match="the passphrase is wrong"):
        content_of(sealed(b"embeddings"), b"guess")
    with pytest.raises(EnvelopeError, match="no backup of Regard"):
        content_of(b"PGDMP and so on, something else altogether")


@pytest.mark.parametrize("left", [0, 1, HEAD - 1, HEAD, HEAD + 1, HEAD + SEALED, HEAD + 2 * SEALED, -1])
def test_what_was_cut_does_not_open(left):
    data = sealed(bytes(2 * CHUNK + 100))
    with pytest.raises(EnvelopeError):
        content_of(data[:left])


@pytest.mark.parametrize("place", [len(envelope.MAGIC), HEAD, HEAD + SEALED + 9, -1])
def test_what_was_changed_does_not_open(place):
    data = bytearray(sealed(bytes(2 * CHUNK + 100)))
    data[place] ^= 1
    with pytest.raises(EnvelopeError):
        content_of(bytes(data))


def test_chunks_stay_in_their_order_and_nothing_follows():
    data = sealed(bytes(3 * CHUNK))
    head, chunks = data[:HEAD], [data[HEAD + n * SEALED : HEAD + (n + 1) * SEALED] for n in range(3)]
    for other in ([chunks[1], chunks[0], chunks[2]], [chunks[0], chunks[2]], [*chunks, chunks[2]]):
        with pytest.raises(EnvelopeError):
            content_of(head + b"".join(other))


def test_what_was_given_up_does_not_open():
    file = io.BytesIO()
    with pytest.raises(ZeroDivisionError), Writer(file, b"secret") as writer:
        writer.write(bytes(2 * CHUNK))
        raise ZeroDivisionError
    with pytest.raises(EnvelopeError):
        content_of(file.getvalue())
