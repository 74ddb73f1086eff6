"""Pictures: from the bytes of a JPEG or PNG to upright RGB pixels, or a refusal.

Bytes come from anybody, so the header is read here and judged before the decoder allocates anything: the
format by content, the sides, the number of scans. Of a PNG only the chunks that make pixels reach the
decoder; compressed text, colour profiles and animation never do, nor does data that unpacks to much more than the
pixels. The decoder is OpenCV's: it refuses files that end too early, releases the GIL and is quicker than Pillow.
"""

import re
import threading
import weakref
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from struct import error as StructError  # noqa: N812
from struct import pack, unpack_from
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from regard import metrics

# "Guidelines and quotas in Amazon Rekognition": size and resolution of images. The 5 MB of bytes in a request
# are part of the service model.
MAX_S3_OBJECT_BYTES = 15 * 1024 * 1024
MIN_SIDE = 80
MAX_SIDE = 10_000

# Ours. A progressive JPEG costs a pass over all its pixels per scan, and a scan can be a dozen bytes;
# encoders write about ten.
MAX_SCANS = 64
# Ours. Scans times pixels: twenty scans of the largest picture.
MAX_SCANNED_PIXELS = 2_000_000_000
# Ours. Segments of a JPEG before its first scan, or chunks of a PNG: a file can hold millions that are empty.
MAX_PARTS = 65_536
# Ours. Bytes that the data of a PNG may unpack to beyond its pixels. Decoders unpack all, a third of a second for so
# much, and a megabyte of data can be a gigabyte.
MAX_SURPLUS = 128 * 1024**2
# Ours. Pixels that decoded pictures may hold in memory together, 3 bytes each (while a picture is decoded,
# 6 to 20), and how long a picture waits for others to be released, in seconds.
PIXELS_IN_FLIGHT = 200_000_000
PATIENCE = 10.0

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
"""Of files in a folder, those that are looked at as pictures; in lower case."""

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"


class ImageError(Exception):
    """A picture that is refused; the text says why and may be shown to the client."""


class InvalidImageFormat(ImageError):
    """Not a JPEG or PNG, or a broken one."""


class ImageTooLarge(ImageError):
    """More bytes, or longer sides, than are accepted."""


class ImageTooSmall(ImageError):
    """A side shorter than the caller accepts."""


class TooManyImages(ImageError):
    """Other pictures fill the memory set aside for pixels; the same request may succeed later."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """What a header says: sides in pixels as stored, whether pixels may be transparent, Exif's bytes, and the
    bytes to decode; of a PNG also what of these is compressed, and to how many bytes it unpacks."""

    width: int
    height: int
    alpha: bool
    exif: bytes
    data: bytes
    packed: tuple[memoryview, ...] = ()
    unpacked: int = 0


def decode(
    data: bytes, minimum: int = MIN_SIDE, maximum: int = MAX_SIDE, enough: int | None = None
) -> NDArray[np.uint8]:
    """The pixels [height, width, 3] of a JPEG or PNG, RGB, 0–255, turned upright as Exif's orientation says.

    The format is told by content. Of a file with several pictures (an animated PNG, the MPO that phones
    write) the first one counts. Colour profiles and gamma are ignored. Transparent pixels are laid over
    white, where most pages show them. 16-bit samples keep their upper byte, or nearly (±1 where the picture
    has transparency). Data that is damaged in the middle is decoded as far as libjpeg can; a file that ends
    too early is refused. Bytes after the end are ignored.

    Who says that so many pixels of the shorter side are `enough` may get a large JPEG two, four or eight times
    smaller, never with fewer: libjpeg then transforms only the low frequencies, which takes less than half the time.

    The pixels count against `PIXELS_IN_FLIGHT` until the array, and every view of it, is gone.

    Raises InvalidImageFormat, ImageTooLarge (a side above `maximum` pixels), ImageTooSmall (a side below
    `minimum` pixels) or TooManyImages (no room within `PATIENCE` seconds).
    """
    picture = _header(data)
    if max(picture.width, picture.height) > maximum:
        raise ImageTooLarge(f"{picture.width}×{picture.height} pixels; at most {maximum} a side")
    if min(picture.width, picture.height) < minimum:
        raise ImageTooSmall(f"{picture.width}×{picture.height} pixels; at least {minimum} a side")
    pixels = picture.width * picture.height
    _room.take(pixels)
    try:
        image = _UPRIGHT.get(_orientation(picture.exif), _as_stored)(_pixels(picture, _shrink(picture, enough)))
    except BaseException:
        _room.give_back(pixels)
        raise
    metrics.DECODED_PIXELS.inc(pixels)
    weakref.finalize(image, _room.give_back, pixels).atexit = False
    return image


class _Room:
    """Counts the pixels in memory, and lets a picture wait for room."""

    def __init__(self, pixels: int) -> None:
        self._free = pixels
        self._changed = threading.Condition()  # re-entrant: arrays can die while it is held

    def take(self, pixels: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= pixels, PATIENCE):
                raise TooManyImages(f"no room for {pixels} pixels within {PATIENCE} s")
            self._free -= pixels

    def give_back(self, pixels: int) -> None:
        with self._changed:
            self._free += pixels
            self._changed.notify_all()


_room = _Room(PIXELS_IN_FLIGHT)


def _header(data: bytes) -> _Picture:
    try:
        if data.startswith(_JPEG):
            return _jpeg(data)
        if data.startswith(_PNG):
            return _png(data)
    except StructError as cause:
        raise InvalidImageFormat("the file ends too early") from cause
    raise InvalidImageFormat("neither JPEG nor PNG")


def _jpeg(data: bytes) -> _Picture:
    """ITU-T T.81, annex B: segments up to the first scan. Walks as libjpeg's `next_marker` does."""
    sides: tuple[int, int] | None = None
    exif = b""
    position = 2
    parts = 0
    while found := _JPEG_MARKER.search(data, position):
        marker, position = data[found.end() - 1], found.end()
        (length,) = unpack_from(">H", data, position)
        parts += 1
        if parts > MAX_PARTS:
            raise InvalidImageFormat(f"more than {MAX_PARTS} segments")
        if marker in _JPEG_FRAMES:
            if sides:
                raise InvalidImageFormat("two frame headers")
            sides = unpack_from(">HH", data, position + 3)
        elif marker == 0xE1 and not exif and data.startswith(b"Exif\0\0", position + 2):
            exif = data[position + 8 : position + length]
        elif marker == 0xDA:
            break
        elif marker == 0xD9:
            raise InvalidImageFormat("no picture before the end")
        position += length
    if not sides or 0 in sides:
        raise InvalidImageFormat("no frame header, or an empty one")
    # Inside a scan 0xFF is followed by 0 or a restart marker, so these two cannot be pixels.
    end = data.find(b"\xff\xd9", position)
    if end < 0:
        raise InvalidImageFormat("the file ends too early")
    height, width = sides
    scans = data.count(b"\xff\xda", position, end) + 1
    if scans > min(MAX_SCANS, max(1, MAX_SCANNED_PIXELS // (height * width))):
        raise InvalidImageFormat(f"{scans} scans of {width}×{height} pixels")
    return _Picture(width, height, alpha=False, exif=exif, data=data)


_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # of those that have a length
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _png(data: bytes) -> _Picture:
    """Portable Network Graphics, third edition, section 5; keeps the chunks that make pixels."""
    if not data.startswith(b"\0\0\0\rIHDR", len(_PNG)):
        raise InvalidImageFormat("no IHDR")
    width, height, depth, colour = unpack_from(">IIBB", data, len(_PNG) + 8)
    if not width or not height:
        raise InvalidImageFormat("an empty picture")
    kept = [_PNG]
    packed: list[memoryview] = []
    transparent = colour in (4, 6)
    exif = b""
    position = len(_PNG)
    parts = 0
    kind = b""
    while kind != b"IEND":
        length, kind = unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise InvalidImageFormat("the file ends too early")
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT"):
            kept.append(data[position:end])
            transparent |= kind == b"tRNS"
            if kind == b"IDAT":
                packed.append(memoryview(data)[position + 8 : end - 4])
        elif kind == b"eXIf":
            exif = data[position + 8 : end - 4]
        position = end
        parts += 1
        if parts > MAX_PARTS:
            raise InvalidImageFormat(f"more than {MAX_PARTS} chunks")
    kept.append(_PNG_END)
    # In each row a byte for its filter, and parts of bytes; where the picture is interlaced, of up to two rows for one.
    unpacked = height * (width * depth * _PNG_CHANNELS.get(colour, 4) // 8 + 4)
    return _Picture(width, height, transparent, exif, b"".join(kept), tuple(packed), unpacked)


_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_END = pack(">I4sI", 0, b"IEND", 0xAE426082)
_DEFLATE_RATIO = 1032  # no byte of data unpacks to more
_PACKED_PIECE, _UNPACKED_PIECE = 1 << 18, 1 << 20


def _refuse_surplus(picture: _Picture) -> None:
    """Raises InvalidImageFormat where the data of a PNG unpacks to much more than its pixels."""
    room = picture.unpacked + MAX_SURPLUS
    if _DEFLATE_RATIO * sum(map(len, picture.packed)) <= room:
        return
    inflater = zlib.decompressobj()
    pieces = (part[at : at + _PACKED_PIECE] for part in picture.packed for at in range(0, len(part), _PACKED_PIECE))
    for piece in pieces:
        rest: memoryview | bytes = piece
        while rest:
            try:
                room -= len(inflater.decompress(rest, _UNPACKED_PIECE))
            except zlib.error:  # the decoder comes no further either
                return
            if room < 0:
                raise InvalidImageFormat("the decoder would unpack much more than the pixels")
            if inflater.eof:
                return
            rest = inflater.unconsumed_tail


def _orientation(exif: bytes) -> int:
    """Exif 2.32, section 4.6.4: tag 274 of the first directory, 1–8; 1 where it is absent or senseless."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (directory,) = unpack_from(f"{order}I", exif, 4)
        (entries,) = unpack_from(f"{order}H", exif, directory)
        for i in range(entries):
            tag, kind, count, value = unpack_from(f"{order}HHIH", exif, directory + 2 + 12 * i)
            if tag == 274:
                return int(value) if (kind, count) == (3, 1) else 1
    except StructError:  # a directory that reaches beyond the segment
        pass
    return 1


def _as_stored(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image


_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[Any]]] = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: lambda image: cv2.transpose(image),
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def _shrink(picture: _Picture, enough: int | None) -> int:
    """How many times smaller a picture is decoded: 1, 2, 4 or 8. Of a PNG every pixel has to be unpacked anyway."""
    if enough is None or not picture.data.startswith(_JPEG):
        return 1
    shorter = min(picture.width, picture.height)
    return next((times for times in (8, 4, 2) if shorter >= times * enough), 1)


# Where RGB is asked for, these say the scale alone; OpenCV has no names for both together.
_SCALES = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


def _pixels(picture: _Picture, shrink: int) -> NDArray[np.uint8]:
    _refuse_surplus(picture)
    flags = cv2.IMREAD_COLOR_RGB | _SCALES[shrink] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_UNCHANGED if picture.alpha else flags)
    except cv2.error as cause:
        raise InvalidImageFormat("the decoder failed") from cause
    if image is None or image.shape[:2] != (-(-picture.height // shrink), -(-picture.width // shrink)):
        raise InvalidImageFormat("the decoder refused it")
    return np.asarray(_over_white(image) if picture.alpha else image, np.uint8)


def _over_white(image: NDArray[Any]) -> NDArray[Any]:
    """Lays BGRA pixels, 8 or 16 bits a sample, over white and turns them into RGB.

    OpenCV gives no fourth channel for a gray picture with a transparent shade, nor for a `tRNS` chunk that
    makes no sense; such pictures are opaque.
    """
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    ink = cv2.bitwise_not(cv2.cvtColor(image, cv2.COLOR_BGRA2RGB))
    alpha = cv2.cvtColor(image[..., 3], cv2.COLOR_GRAY2RGB)
    return cv2.bitwise_not(cv2.multiply(ink, alpha, dst=ink, scale=1 / 255))
