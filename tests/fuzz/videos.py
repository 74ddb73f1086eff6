"""Changes to video files that know of boxes and elements, and files that name others, through `media.video`.

A case is a file, or nothing but what a playlist says. Only the module's own errors come of it, in time and memory that
the file accounts for, and nothing else is opened: `LURE` stands for the address of a socket that tells who comes.
"""

import io
import socket
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from tests.fuzz import mutate
from tests.fuzz.box import Box
from tests.fuzz.engine import Fault
from tests.videos import make_video, numbers

from regard.media import video

LURE = b"<lure>"
SECONDS = 5.0  # of CPU time: a frame of 40 million pixels may be decoded, converted and looked at
MEMORY = 1536 * 1024**2  # frames of 40 million pixels, as FFmpeg pads and keeps them
FRAMES = 12

_KINDS = (
    (".mp4", {"codec": "libx264", "audio": "aac"}),
    (".mp4", {"codec": "libx264", "container": {"movflags": "frag_keyframe+empty_moov"}}),
    (".mov", {"codec": "mpeg4", "rotation": 90}),
    (".mkv", {"codec": "libvpx-vp9"}),
    (".webm", {"codec": "libvpx-vp9", "audio": "libopus"}),
    (".mkv", {"codec": "libx264"}),
    (".avi", {"codec": "mpeg4"}),
    (".avi", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
)
_BOXES = tuple(
    b"ftyp moov mvhd trak tkhd edts elst mdia mdhd hdlr minf dinf dref stbl "
    b"stsd stts stss ctts stsc stsz stco co64 moof traf tfhd trun avc1 avcC "
    b"esds mp4a udta meta cmov alis url ".split()
)


@cache
def originals() -> Sequence[bytes]:
    """A short video of each kind that is read."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (suffix, options) in enumerate(_KINDS):
            path = Path(folder) / f"{number}{suffix}"
            made.append(make_video(path, numbers(8, 64, 48), gop=4, **options).read_bytes())  # type: ignore[arg-type]
    return tuple(made)


def _box_changed(data: bytes, random: Random) -> bytes:
    """A box has another size, another name, other numbers, or a copy; its contents may be another box."""
    places = [place for name in _BOXES if (place := data.find(name)) >= 4]
    if not places:
        return mutate.numbered(data, random)
    place = random.choice(places)
    (size,) = struct.unpack_from(">I", data, place - 4)
    match random.randrange(6):
        case 0:
            return (
                data[: place - 4]
                + struct.pack(
                    ">I", random.choice((0, 1, 7, 8, size - 1, size + 1, size * 2, 2**31, 2**32 - 1)) & 0xFFFFFFFF
                )
                + data[place:]
            )
        case 1:
            return data[:place] + random.choice((*_BOXES, b"free", b"uuid")).ljust(4)[:4] + data[place + 4 :]
        case 2:
            return (
                data[: place - 4]
                + data[place - 4 : place - 4 + min(size, 4096)] * 2
                + data[place - 4 + min(size, 4096) :]
            )
        case 3:
            inside = place + 4 + random.choice((0, 4, 8, 12, 16, 20, 36, 40, 44, 48, 72, 76))
            return (
                data[:inside]
                + struct.pack(">I", random.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, random.randrange(2**32))))
                + data[inside + 4 :]
            )
        case 4:
            return (
                data[: place + 4]
                + mutate.flipped(data[place + 4 : place + min(size, 400)], random, 20)
                + data[place + min(size, 400) :]
            )
        case _:
            return (
                data[: place + 4] + bytes(min(max(size - 8, 0), 100)) + data[place + 4 + min(max(size - 8, 0), 100) :]
            )


def _element_changed(data: bytes, random: Random) -> bytes:
    """Of Matroska or AVI: the number behind an identifier that counts, sizes or times."""
    known = (
        b"\x2a\xd7\xb1",
        b"\x44\x89",
        b"\xb0",
        b"\xba",
        b"\xe7",
        b"\x15\x49\xa9\x66",
        b"\x16\x54\xae\x6b",
        b"\x1f\x43\xb6\x75",
        b"\x86",
        b"\x63\xa2",
        b"\x23\xe3\x83",
        b"avih",
        b"strh",
        b"strf",
        b"idx1",
        b"movi",
        b"LIST",
        b"indx",
    )
    places = [
        place + len(name) for name in known if (place := data.find(name, random.randrange(1 + len(data) // 2))) >= 0
    ]
    if not places:
        return mutate.numbered(data, random)
    place = random.choice(places) + random.choice((0, 0, 1, 4, 8, 12, 20, 28, 32))
    return (
        data[:place]
        + random.choice((b"\xff" * 8, bytes(4), b"\x01" + b"\xff" * 7, b"\x80", random.randbytes(4)))
        + data[place + random.choice((1, 4, 8)) :]
    )


def _reference(data: bytes, random: Random) -> bytes:
    """A playlist, or a file that has one where it could be believed."""
    lists = (
        b"#EXTM3U\n#EXTINF:1,\nhttp://" + LURE + b"/a.ts\n",
        b"ffconcat version 1.0\nfile http://" + LURE + b"/a\nfile /etc/passwd\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
        b"<?xml version='1.0'?><MPD><BaseURL>http://" + LURE + b"/</BaseURL></MPD>",
        b"RTSPtext\nRTSP://" + LURE + b"/\n",
        b"concat:http://" + LURE + b"/a|http://" + LURE + b"/b",
    )
    text = random.choice(lists)
    if random.random() < 0.4:
        return text
    reference = b"\0\0\0\x2calis\0\0\0\0http://" + LURE + b"/x"
    place = data.find(b"url ")
    if place > 0 and random.random() < 0.5:
        return data[: place - 4] + reference + data[place + 8 :]
    return (
        random.choice((b"\0\0\0\x18ftypmp42", b"\0\0\0\x08free", b"RIFF\0\0\0\0AVI ", b"\x1a\x45\xdf\xa3"))
        + text
        + data[: random.randrange(200)]
    )


class Videos:
    """`media.video`, in a process of its own."""

    def __init__(self, box: Box, lure: socket.socket) -> None:
        self._box = box
        self._lure = lure
        self._address = b"127.0.0.1:%d" % lure.getsockname()[1]

    def generate(self, random: Random) -> bytes:
        data = random.choice(originals())
        for _ in range(random.choice((1, 1, 2, 3))):
            change = random.choice(
                (
                    _box_changed,
                    _box_changed,
                    _box_changed,
                    _element_changed,
                    mutate.anyhow,
                    _reference if random.random() < 0.3 else _element_changed,
                )
            )
            if data:
                data = change(data, random)
        return data

    def check(self, case: bytes) -> str:
        case = case.replace(LURE, self._address)
        said = self._box.tried(case)
        try:
            self._lure.accept()[0].close()
        except BlockingIOError:
            pass
        else:
            raise Fault("an address in the file was called")
        if said["cpu"] > SECONDS and self._box.tried(case)["cpu"] > SECONDS:
            raise Fault(f"{said['cpu']:.1f} s of CPU time: {said['outcome']}")
        if said["memory"] > MEMORY:
            raise Fault(f"{said['memory'] >> 20} MB: {said['outcome']}")
        return str(said["outcome"])


def tried(case: bytes) -> dict[str, Any]:
    """In the box: what comes of a file, of the first of its frames, and of its last chunk."""
    try:
        found = video.inspect(io.BytesIO(case))
        if not (np.diff(found.times_ms) >= 0).all() or found.duration_ms < 0 or not np.isfinite(found.frame_rate):
            raise Fault(f"times, duration or rate are senseless: {found}")
        seen = 0
        for chunk in {found.chunks[0], found.chunks[-1]}:
            for frame in islice(video.frames(io.BytesIO(case), found, chunk), FRAMES):
                if (
                    frame.pixels.shape != (found.height, found.width, 3)
                    or frame.luminance.shape != frame.pixels.shape[:2]
                ):
                    raise Fault(f"a frame of {frame.pixels.shape} in a video of {found.width}×{found.height}")
                seen += 1
        return {"outcome": "frames" if seen else "no frames"}
    except video.VideoError as error:
        return {"outcome": type(error).__name__}


@contextmanager
def opened(folder: Path) -> Iterator[Videos]:
    box = Box(__name__)
    with socket.create_server(("127.0.0.1", 0)) as lure:
        lure.setblocking(False)
        try:
            yield Videos(box, lure)
        finally:
            box.close()
