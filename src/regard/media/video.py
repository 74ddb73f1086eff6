"""Reading videos: what is in a file, and its frames, a chunk at a time.

A video is looked through once without decoding, which gives the time of every frame and the places where decoding
can begin. Chunks start at those places, so that any number of them can be read at once, by any number of processes,
and reading can go on after a crash where it ended. Times are those of the stream, never counted.

Files come from anybody. FFmpeg, which reads them, is told what kind of file it has and which decoders it may use,
and can open nothing but the one file that it is given: no playlist or reference in it leads to another.
"""

import os
import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from heapq import heappop, heappush
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from regard.media import mp4
from regard.media.mp4 import Seekable

if TYPE_CHECKING:
    _Packet = av.Packet[av.VideoStream]

# "Guidelines and quotas in Amazon Rekognition": stored videos.
MAX_BYTES = 10 * 1024**3
MAX_DURATION_MS = 6 * 60 * 60 * 1000

# Ours. Of both sides and of their product, in pixels: 8K and its portrait form are read.
MAX_SIDE = 8192
MAX_PIXELS = 40_000_000
# Ours. What six hours have at 120 frames a second; each costs some 30 bytes while the file is looked through.
MAX_FRAMES = 6 * 60 * 60 * 120
# Ours. A chunk is at least so long, if there are keyframes, and about as long at most. Without a keyframe for the
# longer time, or for so many frames, a chunk starts all the same, and whoever reads it decodes from the keyframe before
# it.
CHUNK_MS = 30_000
LONGEST_CHUNK_MS = 600_000
# Ours. As many as that has at 60 frames a second; a part of a job may keep something of each.
MOST_CHUNK_FRAMES = 36_000
# Ours. A file in which no frame can be decoded is given up after so many packets.
_PATIENCE = 300
# Ours. How much FFmpeg asks for at a time, in bytes.
_BUFFER = 256 * 1024

Source = Path | Seekable
"""A video file."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    codec: str
    duration_ms: int
    sample_rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames `start` to `stop`, exclusive, by their numbers in order of presentation."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Index:
    """How frames are found again. All times are the stream's own, int64, and rise.

    `frames` are those of the frames, `keys` of the packets where decoding can begin, which need not be shown.
    `reordering` is how many frames a decoder must hold back. Where `counted`, the file knows no times of
    presentation: frames come out in the order of `frames`, whatever times they bear.
    """

    stream: int
    frames: NDArray[np.int64]
    keys: NDArray[np.int64]
    reordering: int
    counted: bool


@dataclass(frozen=True)
class Video:
    """What is in a video. `times_ms` int64 [frames] are from the first frame on and never fall; sizes are upright.

    Names and numbers are those that AWS gives in VideoMetadata: `format` is FFmpeg's long name of the container.
    """

    format: str
    codec: str
    duration_ms: int
    frame_rate: float
    width: int
    height: int
    color_range: Literal["FULL", "LIMITED"]
    rotation: int  # degrees clockwise by which decoded frames must be turned to be upright: 0, 90, 180 or 270
    audio: tuple[AudioInfo, ...]
    times_ms: NDArray[np.int64]
    chunks: tuple[Chunk, ...]
    index: Index = field(repr=False)


class Frame:
    """A frame; its pixels are converted when they are first asked for."""

    def __init__(self, number: int, time_ms: int, decoded: av.VideoFrame, converter: "_Converter") -> None:
        self.number = number
        self.time_ms = time_ms
        self._decoded = decoded
        self._converter = converter

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """Upright RGB, uint8 [h, w, 3]."""
        return self._converter.rgb(self._decoded)

    @cached_property
    def luminance(self) -> NDArray[np.uint8]:
        """Upright luminance, uint8 [h, w], 0–255 whatever the range of the stream."""
        return self._converter.gray(self._decoded)

    def scaled(self, width: int, height: int) -> NDArray[np.uint8]:
        """Upright RGB of another size, uint8 [height, width, 3], the proportions not kept. Much cheaper than
        `pixels` where it is much smaller; every pixel counts in it."""
        return self._converter.rgb(self._decoded, width, height)


class VideoError(Exception):
    """Not a video that can be analysed; the text says why, fit for the client."""


class InvalidVideoFormat(VideoError):
    """Not a video file, one of a kind that is not read, or a broken one."""


class VideoTooLarge(VideoError):
    """More bytes, pixels, frames or hours than are accepted."""


def inspect(source: Source, chunk_ms: int = CHUNK_MS) -> Video:
    """What is in a video file, its index included. Reads the whole file, and decodes one frame.

    Of several videos in it the default one counts, else the largest. A file that ends too early is a video as far
    as it goes. Frames before the first keyframe are left out, for nobody can decode them.

    Raises InvalidVideoFormat where there is no video in it that can be decoded and VideoTooLarge.
    """
    _refuse_bombs(source)
    with _opened(source) as container:
        stream = _chosen(container)
        first, packets = _looked_through(container, stream)
        counted = container.format.name == "avi" and stream.codec_context.name in ("h264", "hevc")
        index = _index(stream, packets, counted)
        audio = tuple(_audio(container, s) for s in container.streams.audio if s.codec_context)
        (format_name, _), codec, average = _CONTAINERS[container.format.name], _codec(stream), stream.average_rate
        base = stream.time_base or Fraction(1, 1000)
    if not first:
        raise InvalidVideoFormat("No frame of the video can be decoded.")
    times = _milliseconds(index.frames, base)
    tail = packets.tail * base or 1 / (average or Fraction(25))
    rate = _rate(average, index.frames, base)
    rotation = -round(first.rotation / 90) * 90 % 360
    height, width = (first.width, first.height) if rotation % 180 else (first.height, first.width)
    duration = int(times[-1]) + round(tail * 1000)
    if duration > MAX_DURATION_MS:
        raise VideoTooLarge(_TOO_LONG)
    return Video(
        format_name,
        codec,
        duration,
        rate,
        width,
        height,
        "FULL" if _is_full(first) else "LIMITED",
        rotation,
        audio,
        times,
        _chunks(times, np.searchsorted(index.frames, index.keys), chunk_ms),
        index,
    )


def sampled(video: Video, interval_ms: int | None) -> NDArray[np.bool_]:
    """Which frames are looked at, bool [frames]: of every `interval_ms` the first; None: all."""
    if interval_ms is None:
        return np.ones(len(video.times_ms), bool)
    slot = video.times_ms // interval_ms
    return np.diff(slot, prepend=-1) > 0


def frames(
    source: Source, video: Video, chunk: Chunk, interval_ms: int | None = None, margin: int = 0, threads: int = 1
) -> Iterator[Frame]:
    """The frames of a chunk that are looked at, in order, and `margin` frames before and after it.

    A frame that cannot be decoded is left out; the others keep their numbers. `threads` is how many of them decode:
    one, if several chunks are read at a time.

    Raises InvalidVideoFormat where the file is no longer the one that was inspected.
    """
    start, stop = max(0, chunk.start - margin), min(len(video.times_ms), chunk.stop + margin)
    wanted = np.flatnonzero(sampled(video, interval_ms)[start:stop]) + start
    converter = _Converter(video)
    # Where a frame does not come, a keyframe was none or the frame is damaged: what is left is read with more care.
    for careful in (False, True):
        for number, decoded in _read(source, video.index, wanted, threads, careful):
            missing = int(np.searchsorted(wanted, number))
            if missing and not careful:
                break
            if missing == len(wanted) or wanted[missing] != number:  # damaged ones come out of turn
                continue
            yield Frame(number, int(video.times_ms[number]), decoded, converter)
            wanted = wanted[missing + 1 :]
            if not len(wanted):
                return


# Reading a file.

_CONTAINERS = {
    "mov": ("QuickTime / MOV", re.compile(rb".{4}(ftyp|moov|mdat|wide|free|skip|pnot)", re.DOTALL)),
    "matroska": ("Matroska / WebM", re.compile(rb"\x1a\x45\xdf\xa3")),
    "avi": ("AVI (Audio Video Interleaved)", re.compile(rb"RIFF.{4}AVI ", re.DOTALL)),
}
"""What is read: FFmpeg's short name, its long name, and how such files begin."""

_VIDEO_DECODERS = frozenset({"h264", "hevc", "mpeg4", "vp8", "vp9", "libdav1d", "av1", "mpeg2video", "mjpeg", "prores"})
_AUDIO_DECODERS = frozenset(
    {"aac", "ac3", "eac3", "alac", "flac", "mp2", "mp3", "mp2float", "mp3float", "opus", "libopus", "vorbis"}
    | {"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_u8", "pcm_f32le"}
)

_OPTIONS = {
    "codec_whitelist": ",".join(sorted(_VIDEO_DECODERS | _AUDIO_DECODERS)),
    "protocol_whitelist": "",
    "max_pixels": str(MAX_PIXELS),
}


class _File:
    """A file as FFmpeg sees it: without a name, for names can mean patterns and addresses. What goes wrong in
    reading is kept, for FFmpeg takes it for the end of the file."""

    def __init__(self, file: Seekable) -> None:
        self._file = file
        self.failure: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            return b"" if self.failure else self._file.read(size)
        except Exception as failure:
            self.failure = failure
            return b""

    def seek(self, offset: int, whence: int) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@contextmanager
def _opened(source: Source) -> Iterator[InputContainer]:
    """A video file in FFmpeg's hands. FFmpeg's errors become InvalidVideoFormat; those of reading stay what they
    are."""
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as opened:
        if opened.seek(0, os.SEEK_END) > MAX_BYTES:
            raise VideoTooLarge(f"The video has more than {MAX_BYTES} bytes.")
        demuxer = _demuxer(opened)
        file = _File(opened)
        try:
            with av.open(
                file,
                "r",
                demuxer,
                _OPTIONS,
                metadata_errors="replace",
                buffer_size=_BUFFER,
                io_open=_refuse,
            ) as container:
                yield container
        except av.FFmpegError as cause:
            if not file.failure:
                raise InvalidVideoFormat(f"The video cannot be read: {cause.strerror}.") from cause
        if file.failure:
            raise file.failure


def _refuse_bombs(source: Source) -> None:
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        if _demuxer(file) == "mov":
            try:
                mp4.check(file)
            except mp4.TooManySamples as cause:
                raise VideoTooLarge("The video's tables announce too many frames or samples.") from cause


def _demuxer(file: Seekable) -> str:
    file.seek(0)
    head = file.read(12)
    file.seek(0)
    for name, (_, begin) in _CONTAINERS.items():
        if begin.match(head):
            return name
    raise InvalidVideoFormat("The file is not an MP4, MOV, Matroska, WebM or AVI video.")


def _refuse(*_: object) -> Any:
    """In place of opening another file."""
    raise PermissionError


def _chosen(container: InputContainer) -> av.VideoStream:
    """The stream of pictures that counts; the others are not read from now on."""
    hidden = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & hidden]
    if not streams:
        raise InvalidVideoFormat("There is no video in the file.")
    known = [s for s in streams if s.codec_context and s.codec_context.name in _VIDEO_DECODERS]
    if not known:
        raise InvalidVideoFormat("The video's codec is not supported.")
    chosen = max(known, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height))
    if max(chosen.width, chosen.height) > MAX_SIDE or chosen.width * chosen.height > MAX_PIXELS:
        raise VideoTooLarge(f"The video's frames have {chosen.width}×{chosen.height} pixels.")
    for other in container.streams:
        if other.index != chosen.index:
            other.discard = Discard.all
    chosen.codec_context.options = {"max_pixels": _OPTIONS["max_pixels"]}
    return chosen


def _codec(stream: av.VideoStream | av.AudioStream) -> str:
    return stream.codec_context.codec.canonical_name


# Making the index.


@dataclass
class _Packets:
    """Of every packet in order of decoding: when it is shown, whether decoding can begin with it, and whether it
    is shown at all. `tail` is how long the last frame is shown, in the stream's unit."""

    times: "array[int]"
    keys: bytearray
    shown: bytearray
    tail: int = 0


def _looked_through(container: InputContainer, stream: av.VideoStream) -> tuple[av.VideoFrame | None, _Packets]:
    """The first frame that can be decoded, and all packets up to the end, or to where the file breaks off."""
    seen = _Packets(array("q"), bytearray(), bytearray())
    context = stream.codec_context
    context.thread_count = 1
    first: list[av.VideoFrame] = []
    last = None
    try:
        for packet in container.demux(stream):
            time = packet.dts if packet.pts is None else packet.pts
            if not first and len(seen.times) < _PATIENCE:
                first = _decode(context, packet if packet.size else None)
            if time is None or not packet.size or packet.is_corrupt:
                continue
            seen.times.append(time)
            seen.keys.append(packet.is_keyframe)
            seen.shown.append(not packet.is_discard)
            if last is None or time > last:
                last, seen.tail = time, packet.duration or 0
            if len(seen.times) > MAX_FRAMES:
                raise VideoTooLarge(f"The video has more than {MAX_FRAMES} frames.")
    except av.FFmpegError:
        # The file breaks off here.
        first = first or _decode(context, None)
    return (first[0] if first else None), seen


def _index(stream: av.VideoStream, packets: _Packets, counted: bool) -> Index:
    times = np.frombuffer(packets.times, np.int64)
    keys = np.frombuffer(packets.keys, bool)
    shown = np.frombuffer(packets.shown, bool)
    if not len(times):
        raise InvalidVideoFormat("There are no frames in the video.")
    begin = int(keys.argmax())  # 0 where the container marks none
    times, keys, shown = times[begin:], keys[begin:], shown[begin:]
    frames = np.unique(times[shown & (times >= times[0])])
    if not len(frames):
        raise InvalidVideoFormat("There are no frames in the video.")
    later = np.zeros(len(times), np.int64)
    for lag in range(1, min(_MAX_REORDERING + 1, len(times))):
        later[lag:] += times[:-lag] > times[lag:]
    starts = np.unique(np.append(times[keys], times[0]))
    return Index(stream.index, frames, starts, min(_MAX_REORDERING, int(later.max())), counted)


_MAX_REORDERING = 16  # of H.264 and HEVC


def _milliseconds(times: NDArray[np.int64], base: Fraction) -> NDArray[np.int64]:
    """From the first time on, rounded half up."""
    span = (int(times[-1]) - int(times[0])) * base * 1000
    if span > MAX_DURATION_MS:
        raise VideoTooLarge(_TOO_LONG)
    numerator, denominator = 1000 * base.numerator, base.denominator
    rounded: NDArray[np.int64] = ((times - times[0]) * (2 * numerator) + denominator) // (2 * denominator)
    return rounded


_TOO_LONG = f"The video is longer than {MAX_DURATION_MS // 3_600_000} hours."


def _rate(average: Fraction | None, frames: NDArray[np.int64], base: Fraction) -> float:
    """Frames a second: what the file says, or what the times say where these disagree."""
    if len(frames) < 2:
        return float(average or 0)
    measured = (len(frames) - 1) / (int(frames[-1] - frames[0]) * base)
    if average and abs(average / measured - 1) < 0.01:
        return float(average)
    return float(measured)


def _chunks(times: NDArray[np.int64], keys: NDArray[np.int64], least: int) -> tuple[Chunk, ...]:
    starts = [0]
    for key in [*keys.tolist(), len(times)]:
        end = times[key] if key < len(times) else times[-1] + 1
        while end - times[starts[-1]] > 2 * LONGEST_CHUNK_MS or key - starts[-1] > 2 * MOST_CHUNK_FRAMES:
            stop = int(np.searchsorted(times, times[starts[-1]] + LONGEST_CHUNK_MS))
            starts.append(min(stop, starts[-1] + MOST_CHUNK_FRAMES))
        if key < len(times) and end - times[starts[-1]] >= least:
            starts.append(key)
    return tuple(Chunk(n, a, b) for n, (a, b) in enumerate(zip(starts, [*starts[1:], len(times)], strict=True)))


def _audio(container: InputContainer, stream: av.AudioStream) -> AudioInfo:
    if stream.duration and stream.time_base:
        duration = round(stream.duration * stream.time_base * 1000)
    else:
        duration = round((container.duration or 0) / 1000)
    context = stream.codec_context
    return AudioInfo(_codec(stream), duration, context.sample_rate, context.layout.nb_channels)


# Decoding.


def _read(
    source: Source, index: Index, wanted: NDArray[np.int64], threads: int, careful: bool
) -> Iterator[tuple[int, av.VideoFrame]]:
    """The frames that are wanted, by number. Begins at the keyframe before them, or, to be careful, at the one before
    that; or at the beginning where seeking lands behind its goal."""
    if not len(wanted):
        return
    key = int(np.searchsorted(index.keys, index.frames[wanted[0]], "right")) - 1
    for start in dict.fromkeys((max(0, key - careful), 0)):
        with _opened(source) as container:
            stream = _chosen(container)
            if stream.index != index.stream:
                raise InvalidVideoFormat("The video changed while it was read.")
            packets = _packets(container, stream, index, start)
            if packets is not None:
                yield from _decoded(packets, stream.codec_context, index, wanted, threads, careful)
                return


def _decode(context: av.VideoCodecContext, packet: "_Packet | None") -> list[av.VideoFrame]:
    """What the decoder gives for a packet, and for None what it held back; nothing for a damaged packet."""
    try:
        return context.decode(packet)
    except av.FFmpegError:
        return []


def _packets(container: InputContainer, stream: av.VideoStream, index: Index, key: int) -> "Iterator[_Packet] | None":
    """The packets from a keyframe on, the one asked for or an earlier one; None where that cannot be reached."""
    if key:
        try:
            container.seek(int(index.keys[key]), stream=stream)
        except av.FFmpegError:
            return None
    packets = (p for p in container.demux(stream) if p.size and not p.is_corrupt)
    begin = next((p for p in packets if p.is_keyframe or _time(p) == index.keys[0]), None)
    if begin is None or _time(begin) > index.keys[key]:
        return None

    def following() -> "Iterator[_Packet]":
        yield begin
        try:
            yield from packets
        except av.FFmpegError:  # the file breaks off here
            return

    return following()


def _time(packet: "_Packet") -> int:
    time = packet.dts if packet.pts is None else packet.pts
    return 0 if time is None else time


def _decoded(
    packets: "Iterator[_Packet]",
    context: av.VideoCodecContext,
    index: Index,
    wanted: NDArray[np.int64],
    threads: int,
    careful: bool,
) -> Iterator[tuple[int, av.VideoFrame]]:
    """The frames that are wanted, by number, from packets that begin with a keyframe at or before the first."""
    context.thread_count = threads
    context.thread_type = "AUTO"
    numbers = dict(zip(index.frames[wanted].tolist(), wanted.tolist(), strict=True))
    context.reorder_depth = max(context.reorder_depth, index.reordering)
    if index.counted:
        found = _decode_counted(packets, context, max(numbers))
    elif careful:
        found = _decode_all(packets, context)
    else:
        found = _decode_needed(packets, context, index, numbers)
    for time, frame in found:
        number = numbers.pop(time, None)
        if number is not None:
            yield number, frame
        if not numbers:
            return


def _decode_needed(
    packets: "Iterator[_Packet]", context: av.VideoCodecContext, index: Index, due: dict[int, int]
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decodes no more than it takes to get the frames that are due at certain times; others may come with them.

    A frame that no other is predicted from is not decoded unless it is due. After the last one that is due before
    the next keyframe, the decoder rests until a keyframe that more are due after. Both leave what is due the same.
    """
    unsent = sorted(due, reverse=True)
    sent: set[int] = set()
    skips = context.name in _SKIPPING
    begin: int | None = None
    after: int | None = None
    for packet in packets:
        time = _time(packet)
        if packet.is_keyframe or after is None:
            following = int(np.searchsorted(index.keys, time, "right"))
            after = int(index.keys[following]) if following < len(index.keys) else _NEVER
            if begin is None and unsent[-1] < after:
                begin = time
        if begin is None or time < begin:
            continue
        if time in due:
            sent.add(time)
        context.skip_frame = "NONREF" if skips and time not in due else "DEFAULT"
        yield from _timed(_decode(context, packet))
        while unsent and (unsent[-1] in sent or unsent[-1] < begin):
            sent.discard(unsent.pop())
        if not unsent:
            break
        if unsent[-1] >= after:
            yield from _timed(_decode(context, None))
            context.flush_buffers()
            context.reorder_depth = max(context.reorder_depth, index.reordering)
            begin = None
            sent.clear()
    yield from _timed(_decode(context, None))


_NEVER = 2**63 - 1
_SKIPPING = frozenset({"h264", "hevc", "mpeg4", "mpeg2video"})  # those that can be told so for every packet anew


def _timed(decoded: list[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
    return ((int(frame.pts), frame) for frame in decoded if frame.pts is not None)


def _decode_all(packets: "Iterator[_Packet]", context: av.VideoCodecContext) -> Iterator[tuple[int, av.VideoFrame]]:
    for packet in packets:
        yield from _timed(_decode(context, packet))
    yield from _timed(_decode(context, None))


def _decode_counted(
    packets: "Iterator[_Packet]", context: av.VideoCodecContext, last: int
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decodes all, up to the time of the last frame that is due, and gives the times to the frames in the order that
    these come out in."""
    waiting: list[int] = []
    for packet in packets:
        heappush(waiting, _time(packet))
        for frame in _decode(context, packet):
            if waiting:
                yield heappop(waiting), frame
        if waiting and waiting[0] > last:
            return
    for _, frame in zip(tuple(waiting), _decode(context, None), strict=False):
        yield heappop(waiting), frame


# Converting.


class _Converter:
    """Makes upright arrays of decoded frames. FFmpeg's scalers are slow to set up, so each is kept."""

    def __init__(self, video: Video) -> None:
        self._turned = video.rotation % 180 != 0
        self._width, self._height = (video.height, video.width) if self._turned else (video.width, video.height)
        self._rotation = _ROTATIONS.get(video.rotation)
        self._scalers: dict[tuple[int, int, str], VideoReformatter] = {}
        self._lock = Lock()

    def rgb(self, frame: av.VideoFrame, width: int | None = None, height: int | None = None) -> NDArray[np.uint8]:
        if self._turned:
            width, height = height, width
        return self._upright(self._converted(frame, width or self._width, height or self._height, "rgb24"))

    def gray(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """The first plane, its range made 0–255; FFmpeg's own conversion mixes colours in."""
        luma = frame.format.components[0]
        if not luma.is_luma:
            return cv2.cvtColor(self.rgb(frame), cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]
        plane = frame.planes[0]
        kind = np.dtype(np.uint8 if luma.bits <= 8 else np.uint16)
        rows = np.frombuffer(memoryview(plane), kind).reshape(plane.height, plane.line_size // kind.itemsize)
        black, white = (0, (1 << luma.bits) - 1) if _is_full(frame) else (16 << luma.bits - 8, 235 << luma.bits - 8)
        scale = 255 / (white - black)
        gray = cv2.convertScaleAbs(cv2.subtract(rows[:, : frame.width], black), alpha=scale)  # type: ignore[call-overload]
        if gray.shape != (self._height, self._width):
            gray = cv2.resize(gray, (self._width, self._height), interpolation=cv2.INTER_AREA)
        return self._upright(gray)  # type: ignore[arg-type]

    def _converted(self, frame: av.VideoFrame, width: int, height: int, kind: str) -> NDArray[np.uint8]:
        with self._lock:
            scaler = self._scalers.setdefault((width, height, kind), VideoReformatter())
            return scaler.reformat(  # type: ignore[return-value]
                frame,
                width,
                height,
                kind,
                src_colorspace=_matrix(frame),
                dst_color_range=ColorRange.JPEG,
                interpolation=_SCALING,
                threads=1,
            ).to_ndarray()

    def _upright(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return pixels if self._rotation is None else cv2.rotate(pixels, self._rotation)  # type: ignore[return-value]


_SCALING = Interpolation.AREA | Interpolation.FULL_CHR_H_INT  # without the latter, neighbours share their colour
_ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED


def _is_full(frame: av.VideoFrame) -> bool:
    return frame.color_range == ColorRange.JPEG or frame.format.is_rgb or frame.format.name.startswith("yuvj")


def _matrix(frame: av.VideoFrame) -> int | None:
    """The matrix of colours: the stream's, and where it says none that of high or of standard definition, as players
    do it."""
    if frame.colorspace != _UNSPECIFIED:
        return None
    return int(Colorspace.ITU709 if min(frame.width, frame.height) >= 720 else Colorspace.ITU601)
