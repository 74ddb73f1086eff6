"""What an MP4 or MOV says of its samples, read before FFmpeg believes it.

The tables of such a file are short whatever they count: a few hundred bytes can announce billions of samples, and
FFmpeg makes an entry of some 70 bytes of memory for each before it reads the first. So all that is not pictures and
sound is looked through for the boxes that count. They are looked for as bytes, wherever they lie, for a parser that
understood another nesting than FFmpeg's would be led past them.
"""

import os
import re
from collections.abc import Iterator
from struct import error as StructError  # noqa: N812
from struct import unpack_from
from typing import Protocol

import numpy as np

# Ours. Samples of all tracks; six hours of video with 120 frames a second and of sound with 50 packets have half
# as many.
MAX_SAMPLES = 8_000_000
# Ours. Bytes of one box that is not pictures and sound; those of six hours are half as long.
MAX_TABLES = 256 * 1024 * 1024


class Seekable(Protocol):
    """A binary file to read and to seek in, for one reader at a time; fewer bytes than asked for are read at its end
    alone."""

    def read(self, size: int = ..., /) -> bytes: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def tell(self) -> int: ...


class TooManySamples(Exception):
    """More samples than any video that is accepted has."""


def check(file: Seekable) -> None:
    """Raises TooManySamples for a file whose tables would fill the memory."""
    if sum(_samples(tables) for tables in _tables(file)) > MAX_SAMPLES:
        raise TooManySamples


def _tables(file: Seekable) -> Iterator[bytes]:
    """The contents of the outermost boxes but for pictures and sound (ISO/IEC 14496-12, section 4.2)."""
    size = file.seek(0, os.SEEK_END)
    position = 0
    while position + 8 <= size:
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:  # somebody has cut the file off meanwhile
            return
        length, kind = unpack_from(">I4s", head)
        if length == 1 and len(head) == 16:
            (length,) = unpack_from(">Q", head, 8)
        if length < 8:  # 0: up to the end; otherwise senseless
            length = size - position
        if kind != b"mdat":
            if min(length, size - position) > MAX_TABLES:
                raise TooManySamples
            file.seek(position)
            yield file.read(length)
        position += length


def _samples(tables: bytes) -> int:
    """How many entries FFmpeg would make at most; more than are accepted where that cannot be told."""
    if b"cmov" in tables:  # compressed tables, which no software writes any more
        return MAX_SAMPLES + 1
    return sum(_in_track(track) for track in tables.split(b"trak"))


def _in_track(track: bytes) -> int:
    counted = sum(_fields(track, rb"stsz|stz2", 8)) if not _is_pcm(track) else _pcm_blocks(track)
    edits = max(1, sum(_fields(track, b"elst", 4)))
    return counted * edits + sum(_fields(track, b"trun", 4))


def _is_pcm(track: bytes) -> bool:
    """Whether FFmpeg counts blocks of samples rather than samples, as it does for sound that is not compressed."""
    return (
        b"soun" in track
        and b"vide" not in track
        and {*_fields(track, b"stts", 4)} == {1}
        and {*_fields(track, b"stts", 12)} == {1}
    )


def _pcm_blocks(track: bytes) -> int:
    chunks = sum(_fields(track, rb"stco|co64", 4))
    blocks = chunks
    for found in re.finditer(b"stsc", track):
        try:
            (count,) = unpack_from(">I", track, found.end() + 4)
            runs = np.frombuffer(track, ">u4", 3 * count, found.end() + 8).reshape(-1, 3).astype(object)
        except (StructError, ValueError):
            return MAX_SAMPLES + 1
        lengths = np.diff(runs[:, 0], append=chunks + 1)
        blocks += int((np.maximum(lengths, 0) * runs[:, 1]).sum()) // 1024
    return blocks


def _fields(track: bytes, kind: bytes, offset: int) -> Iterator[int]:
    """The 32 bits so far behind the name of every box of a kind."""
    for found in re.finditer(kind, track):
        if found.end() + offset + 4 <= len(track):
            yield unpack_from(">I", track, found.end() + offset)[0]
