"""Changes to JPEG and PNG files that know what these are made of, through `media.images.decode`.

A case is a file. Only the module's own errors come of it, in time and memory that the pixels account for.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tests.fuzz import mutate
from tests.fuzz.box import Box
from tests.fuzz.engine import Fault

from regard.media import images

# A second of CPU time for a file, and for its pixels, at most a hundred million, so many times what those of a good
# file of the dearest kind take at that moment: how fast a core is depends on who else is at it. As much memory as
# the decoders take, and the file a few times over.
SECONDS, TIMES_THE_DEAREST = 1.0, 2.0
MEMORY, MEMORY_PER_PIXEL = 96 * 1024**2, 24

# The passes of an interlaced PNG: the first row and column of each, and how many rows and columns it goes on by.
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))

SIDES = (0, 1, 79, 80, 81, 96, 255, 1000, 9999, 10000, 10001, 32768, 65500, 65535)


# The files that are changed.


@cache
def originals() -> Sequence[bytes]:
    """One of each kind that cameras and programs write."""
    generator = np.random.default_rng(0)
    pixels = cv2.resize(generator.integers(0, 255, (6, 8, 4), np.uint8), (96, 84), interpolation=cv2.INTER_CUBIC)
    colour = Image.fromarray(pixels[..., :3])
    exif = Image.Exif()
    exif[274] = 6
    exif[0x010F] = "maker"
    made = [
        _saved(colour, "JPEG", quality=80),
        _saved(colour, "JPEG", quality=80, progressive=True),
        _saved(colour, "JPEG", quality=30, subsampling=0, exif=exif),
        _saved(colour, "JPEG", restart_marker_blocks=3, comment=b"comment", icc_profile=bytes(300)),
        _saved(colour.convert("L"), "JPEG", progressive=True),
        _saved(colour.convert("CMYK"), "JPEG"),
        _saved(colour.convert("CMYK"), "JPEG", progressive=True, exif=exif),
        _saved(colour, "MPO", save_all=True, append_images=[colour]),
        _saved(colour, "PNG", exif=exif),
        _saved(Image.fromarray(pixels, "RGBA"), "PNG", compress_level=9),
        _saved(colour.convert("P"), "PNG", transparency=3),
        _saved(colour.convert("P", palette=Image.Palette.ADAPTIVE, colors=4), "PNG", transparency=bytes([0, 128])),
        _saved(colour.convert("1"), "PNG"),
        _saved(colour.convert("L"), "PNG", transparency=7),
        _saved(Image.fromarray(pixels[..., [0, 3]], "LA"), "PNG"),
        _saved(colour, "PNG", save_all=True, append_images=[colour, colour.rotate(90)], duration=40),
        cv2.imencode(".png", pixels.astype(np.uint16) * 257)[1].tobytes(),
        cv2.imencode(".png", pixels[..., :3].astype(np.uint16) * 200)[1].tobytes(),
        _interlaced(pixels[..., :3]),
    ]
    return tuple(made)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _interlaced(pixels: Any) -> bytes:
    """Adam7, which no library here writes."""
    rows = [b"\0" + row.tobytes() for y, x, dy, dx in ADAM7 for row in pixels[y::dy, x::dx]]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    return png([(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")])


# JPEG: segments.

Segments = list[tuple[int, bytes]]


def segments(data: bytes) -> tuple[Segments, bytes]:
    """The segments before the first scan's data, and all from there on."""
    found: Segments = []
    position = 2
    while position + 4 <= len(data):
        marker, (length,) = data[position + 1], struct.unpack_from(">H", data, position + 2)
        found.append((marker, data[position + 4 : position + 2 + length]))
        position += 2 + length
        if marker == 0xDA:
            break
    return found, data[position:]


def jpeg(parts: Segments, rest: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(_segment(marker, payload) for marker, payload in parts) + rest


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", (len(payload) + 2) & 0xFFFF) + payload


def _frame(parts: Segments, rest: bytes, random: Random) -> bytes:
    """Another precision, other sides, components or sampling."""
    for number, (marker, payload) in enumerate(parts):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(payload) > 6:
            frame = bytearray(payload)
            match random.randrange(5):
                case 0:
                    struct.pack_into(">HH", frame, 1, random.choice(SIDES), random.choice(SIDES))
                case 1:
                    struct.pack_into(">H", frame, random.choice((1, 3)), random.choice(SIDES))
                case 2:
                    frame[random.choice((0, 5))] = random.choice((0, 1, 2, 3, 4, 8, 12, 16, 255))
                case 3:
                    frame[random.choice(range(7, len(frame), 3))] = random.choice(
                        (0, 0x11, 0x14, 0x41, 0x44, 0x12, 0xFF)
                    )
                case _:
                    frame[random.randrange(6, len(frame))] = random.randrange(256)
            parts[number] = (random.choice((marker, marker, marker, 0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA)), bytes(frame))
    return jpeg(parts, rest)


def _table(parts: Segments, rest: bytes, random: Random) -> bytes:
    """Other Huffman or quantisation tables, restart intervals, or parameters of a scan."""
    places = [number for number, (marker, _) in enumerate(parts) if marker in (0xC4, 0xDB, 0xDD, 0xDA)]
    if places:
        number = random.choice(places)
        marker, payload = parts[number]
        change = random.choice((mutate.flipped, mutate.cut, mutate.stuffed, lambda data, _: bytes(len(data))))
        parts[number] = (marker, change(payload, random))
    if random.random() < 0.2:
        parts.insert(random.randrange(len(parts) + 1), (0xDD, struct.pack(">H", random.choice((0, 1, 2, 65535)))))
    return jpeg(parts, rest)


def _arranged(parts: Segments, rest: bytes, random: Random) -> bytes:
    """Segments are missing, twice there, in another order, or of another kind."""
    number = random.randrange(len(parts))
    match random.randrange(4):
        case 0:
            del parts[number]
        case 1:
            parts.insert(random.randrange(len(parts) + 1), parts[number])
        case 2:
            random.shuffle(parts)
        case _:
            parts[number] = (random.randrange(1, 256), parts[number][1])
    return jpeg(parts, rest)


def _many(parts: Segments, rest: bytes, random: Random) -> bytes:
    """Thousands of markers, segments or scans."""
    scan = b"\xff\xda" + struct.pack(">H", 8) + b"\1\1\0\0\x3f\0" + b"\0"
    data = jpeg(parts, rest)
    part = random.choice((b"\xff\x01", b"\xff\xd0", b"\xff\xff", b"\xff\xe1\0\2", b"\xff\xfe\0\0", b"\xff\xe0\0\3\xff"))
    count = random.choice((3, 70, 3000, 3000, 1_000_000 if random.random() < 0.1 else 9))
    if random.random() < 0.3:
        return data[:-2] + scan * min(count, 3000) + data[-2:]
    return data[:2] + part * count + data[2:]


def _scans(parts: Segments, rest: bytes, random: Random) -> bytes:
    """The last scan of a progressive file over and over, of a picture with larger sides."""
    begin = rest.rfind(b"\xff\xda")
    scans = rest[begin:-2] * random.choice((2, 20, 52, 60)) if begin >= 0 else b""
    side = random.choice((96, 1000, 3000, 10_000 if random.random() < 0.05 else 500))
    sized = [(m, p[:1] + struct.pack(">HH", side, side) + p[5:]) if m in (0xC0, 0xC2) else (m, p) for m, p in parts]
    return jpeg(sized, rest[:-2] + scans + rest[-2:])


def exif(random: Random) -> bytes:
    """A directory of tags that leads anywhere."""
    order = random.choice("<>")
    count = random.choice((0, 1, 2, 12, 65535))
    entry = struct.pack(
        f"{order}HHIHH",
        *random.choice(((274, 3, 1, 6, 0), (274, 3, 1, 9, 0), (274, 4, 1, 3, 0), (1, 2, 2**32 - 1, 8, 8))),
    )
    offset = random.choice((8, 8, 8, 0, 4, 2**31, 2**32 - 1))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", offset)
    return (
        head
        + struct.pack(f"{order}H", count)
        + entry * random.choice((1, 1, 2, 5400))
        + random.randbytes(random.randrange(9))
    )


def _exif_segment(parts: Segments, rest: bytes, random: Random) -> bytes:
    parts.insert(random.randrange(2), (0xE1, (b"Exif\0\0" + exif(random))[:65533]))
    return jpeg(parts, rest)


JPEG_CHANGES = (_frame, _frame, _table, _table, _arranged, _many, _scans, _exif_segment)


# PNG: chunks.

Chunks = list[tuple[bytes, bytes]]


def chunks(data: bytes) -> Chunks:
    found: Chunks = []
    position = 8
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        found.append((kind, data[position + 8 : position + 8 + length]))
        position += 12 + length
    return found


def png(parts: Chunks) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, payload) for kind, payload in parts)


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def _header(parts: Chunks, random: Random) -> bytes:
    """Other sides, depth, colour or interlacing."""
    head = bytearray(parts[0][1])
    if len(head) >= 13:
        match random.randrange(4):
            case 0:
                struct.pack_into(
                    ">I", head, random.choice((0, 4)), random.choice((*SIDES, 2**31 - 1, 2**31, 2**32 - 1))
                )
            case 1:
                head[8], head[9] = random.choice((1, 2, 4, 8, 16, 3)), random.choice((0, 2, 3, 4, 6, 1))
            case 2:
                head[12] ^= 1
            case _:
                head[random.randrange(8, 13)] = random.randrange(256)
        parts[0] = (parts[0][0], bytes(head))
    return png(parts)


_GIGABYTE = b"\0" * (1 << 20)


@cache
def _bomb() -> bytes:
    """A megabyte of a zlib stream that would be a gigabyte."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(_GIGABYTE) for _ in range(1024)) + packer.flush()


def _pixels(parts: Chunks, random: Random) -> bytes:
    """Other data for the pixels: too little, too much, none, noise, or a bomb."""
    head = dict(parts).get(b"IHDR", b"")
    if random.random() < 0.02 and len(head) == 13:
        side = random.choice((4000, 4000, 10_000))
        head = (
            struct.pack(">II", side, side)
            + random.choice((b"\x08\x02", b"\x10\x06", b"\x01\x00", b"\x08\x03"))
            + b"\0\0\0"
        )
        return png(
            [
                (b"IHDR", head),
                (b"PLTE", bytes(768)),
                (b"IDAT", _bomb()[: random.choice((300_000, 1 << 20))]),
                (b"IEND", b""),
            ]
        )
    size = random.choice((0, 1, 1000, 96 * 84 * 3 + 84, 96 * 84 * 8 + 84, 500_000))
    raw = random.choice(
        (bytes(size), random.randbytes(min(size, 30_000)), bytes(random.randrange(6) for _ in range(min(size, 9000))))
    )
    data = zlib.compress(raw, random.choice((0, 1, 9)))
    if random.random() < 0.3:
        data = mutate.anyhow(data, random)
    pieces = random.choice((1, 1, 2, 50, len(data)))
    step = max(1, -(-len(data) // max(1, pieces)))
    found = [(b"IDAT", data[start : start + step]) for start in range(0, len(data), step)][:5000]
    return png([part for part in parts if part[0] not in (b"IDAT", b"IEND")] + found + [(b"IEND", b"")])


def _chunk_changed(parts: Chunks, random: Random) -> bytes:
    """Chunks are missing, twice there, in another order, of another kind, or with other contents."""
    number = random.randrange(len(parts))
    kind, payload = parts[number]
    match random.randrange(6):
        case 0:
            del parts[number]
        case 1:
            parts.insert(random.randrange(len(parts) + 1), parts[number])
        case 2:
            random.shuffle(parts)
        case 3:
            parts[number] = (
                random.choice((b"PLTE", b"tRNS", b"IDAT", b"IEND", b"IHDR", b"\0\0\0\0", b"CgBI", b"acTL")),
                payload,
            )
        case 4:
            parts[number] = (kind, mutate.anyhow(payload, random))
        case _:
            parts = [
                parts[0],
                *[(b"tEXt", b"")] * random.choice((10, 3000, 300_000 if random.random() < 0.1 else 5)),
                *parts[1:],
            ]
    return png(parts)


def _more_chunks(parts: Chunks, random: Random) -> bytes:
    """What makes no pixels: text and profiles that unpack to a gigabyte, animation, Exif, palettes, transparency."""
    payloads: tuple[Callable[[], tuple[bytes, bytes]], ...] = (
        lambda: (b"zTXt", b"k\0\0" + _bomb()),
        lambda: (b"iCCP", b"p\0\0" + _bomb()),
        lambda: (b"iTXt", b"k\0\1\0\0\0" + _bomb()),
        lambda: (b"eXIf", exif(random)),
        lambda: (b"acTL", struct.pack(">II", random.choice((0, 1, 2**31)), 0)),
        lambda: (b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**31, 2**31, 0, 0, 0, 0, 9, 9)),
        lambda: (b"PLTE", bytes(random.choice((0, 1, 3, 768, 771, 3000)))),
        lambda: (b"tRNS", random.randbytes(random.choice((0, 1, 2, 6, 256, 257)))),
        lambda: (b"gAMA", random.randbytes(4)),
        lambda: (b"sBIT", random.randbytes(4)),
        lambda: (b"bKGD", random.randbytes(6)),
    )
    for _ in range(random.randint(1, 3)):
        parts.insert(random.randrange(1, len(parts)), random.choice(payloads)())
    return png(parts)


PNG_CHANGES = (_header, _header, _pixels, _pixels, _chunk_changed, _chunk_changed, _more_chunks)


class Images:
    """`media.images.decode`, in a process of its own."""

    def __init__(self, box: Box) -> None:
        self._box = box

    def generate(self, random: Random) -> bytes:
        data = random.choice(originals())
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            structured = random.random() < 0.7
            with suppress(IndexError, ValueError, struct.error):  # what an earlier change has left is not always a file
                if structured and data.startswith(b"\xff\xd8"):
                    data = random.choice(JPEG_CHANGES)(*segments(data), random)
                elif structured and len(parts := chunks(data)) > 1:
                    data = random.choice(PNG_CHANGES)(parts, random)
                else:
                    data = mutate.anyhow(data, random)
        return data

    def check(self, case: bytes) -> str:
        said = self._box.tried(case)
        pixels = said["pixels"]
        if said["cpu"] > SECONDS and said["cpu"] > SECONDS + TIMES_THE_DEAREST * self._dearest() * pixels:
            raise Fault(f"{said['cpu']:.1f} s of CPU time for {pixels} pixels: {said['outcome']}")
        if said["memory"] > MEMORY + MEMORY_PER_PIXEL * pixels + 4 * len(case):
            raise Fault(f"{said['memory'] >> 20} MB for {pixels} pixels and {len(case)} bytes: {said['outcome']}")
        return str(said["outcome"])

    def _dearest(self) -> float:
        """Seconds of CPU time for a pixel of 16 bits with transparency, the dearest kind that there is."""
        good = self._box.tried(_dear())
        return float(good["cpu"] / good["pixels"])


@cache
def _dear() -> bytes:
    noise = np.random.default_rng(0).integers(0, 1 << 16, (2000, 2000, 4), np.uint16)
    return cv2.imencode(".png", noise)[1].tobytes()


def tried(case: bytes) -> dict[str, Any]:
    """In the box: what comes of a file, and how many pixels it says that it has, as far as that is accepted."""
    cv2.setNumThreads(1)
    outcome, pixels = "decoded", 0
    try:
        image = images.decode(case)
        height, width, channels = image.shape
        if channels != 3 or image.dtype != np.uint8 or min(height, width) < images.MIN_SIDE:
            raise Fault(f"{image.shape} {image.dtype}")
        pixels = height * width
    except images.ImageError as error:
        outcome = type(error).__name__
        if "the decoder" in str(error):  # which did some work before it refused
            pixels = _announced(case)
    return {"outcome": outcome, "pixels": pixels}


def _announced(case: bytes) -> int:
    picture = images._header(case)
    return picture.width * picture.height


@contextmanager
def opened(folder: Path) -> Iterator[Images]:
    box = Box(__name__)
    try:
        yield Images(box)
    finally:
        box.close()
