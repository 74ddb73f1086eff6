"""Changes to bytes that know nothing of what these mean."""

from random import Random

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def flipped(data: bytes, random: Random, most: int = 8) -> bytes:
    """Some bytes are others."""
    changed = bytearray(data)
    for _ in range(random.randint(1, most) if changed else 0):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def numbered(data: bytes, random: Random) -> bytes:
    """A number of 1 to 8 bytes at any place is one at the edge of a type."""
    width = random.choice((1, 2, 4, 8))
    number = random.choice(_NUMBERS) % (1 << 8 * width)
    place = random.randrange(max(1, len(data) - width))
    return data[:place] + number.to_bytes(width, random.choice(("big", "little"))) + data[place + width :]


def cut(data: bytes, random: Random) -> bytes:
    """It ends early: anywhere, in the first bytes, or in the last."""
    place = random.choice((random.randrange(len(data) + 1), random.randrange(40), len(data) - random.randrange(1, 20)))
    return data[: max(0, place)]


def spliced(data: bytes, random: Random) -> bytes:
    """A part is missing, twice there, or somewhere else."""
    start = random.randrange(len(data) + 1)
    stop = min(len(data), start + random.choice((1, 4, 16, 256, 4096)))
    place = random.randrange(len(data) + 1)
    part = random.choice((b"", data[start:stop] * 2, data[place : place + stop - start]))
    return data[:start] + part + data[stop:]


def stuffed(data: bytes, random: Random) -> bytes:
    """Bytes of no meaning come in between or at an end."""
    place = random.choice((0, len(data), random.randrange(len(data) + 1)))
    return data[:place] + random.randbytes(random.choice((1, 3, 50, 1000))) + data[place:]


def anyhow(data: bytes, random: Random) -> bytes:
    """One of the above."""
    return random.choice((flipped, flipped, numbered, numbered, cut, spliced, stuffed))(data, random)
