"""Videos made for tests, and pictures that tell which frame they are, whatever a codec does to them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder tells errors only

BITS = 12  # so that frames have numbers below 4096


def numbered(number: int, width: int = 128, height: int = 96) -> NDArray[np.uint8]:
    """A picture, uint8 [h, w, 3], of 12 blocks, black or white: the bits of a number, on blue.

    The blocks lie in 4 columns and 3 rows, the highest bit first. No two of the turned pictures are alike, for the
    upper left corner is red.
    """
    picture = np.full((height, width, 3), (40, 60, 160), np.uint8)
    for bit in range(BITS):
        row, column = divmod(bit, 4)
        y, x = height * (2 * row + 1) // 8, width * (2 * column + 1) // 10
        picture[y : y + height // 8, x : x + width // 10] = 255 if number >> (BITS - 1 - bit) & 1 else 0
    picture[: height // 8, : width // 10] = (200, 30, 30)
    return picture


def number_of(picture: NDArray[np.uint8]) -> int:
    """The number in a picture that `numbered` made, in colour or as luminance, of any size. Fails for a turned one."""
    height, width = picture.shape[:2]
    gray = picture if picture.ndim == 2 else picture.mean(2)
    if picture.ndim == 3:
        red, _, blue = (int(v) for v in picture[height // 16, width // 20])
        assert red > blue + 50, "not upright"
    number = 0
    for bit in range(BITS):
        row, column = divmod(bit, 4)
        y, x = height * (4 * row + 3) // 16, width * (4 * column + 3) // 20
        number = number << 1 | int(gray[y, x] > 128)
    return number


def numbers(count: int, width: int = 128, height: int = 96) -> Iterator[NDArray[np.uint8]]:
    """Pictures that tell their numbers from 0 on."""
    return (numbered(number, width, height) for number in range(count))


def make_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    codec: str = "libx264",
    rate: Fraction | int = 30,
    rotation: int = 0,
    times: Sequence[Fraction | float] | None = None,
    gop: int = 15,
    b_frames: int | None = None,
    audio: str | None = None,
    pixel_format: str = "yuv420p",
    colour: tuple[int, int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Encodes frames, RGB, uint8 [h, w, 3], into a file; its suffix says the container. Gives its path.

    `times` are in seconds, rise, and take the place of `rate`. With a `rotation`, as phones write it, the
    frames are stored turned, and players turn them by so many degrees clockwise, 90, 180 or 270, to show them upright.
    `audio` names a codec for a tone as long as the video. `colour` is the matrix and the range as
    FFmpeg numbers them (1, 1 is BT.709, limited). `options` are the encoder's, `container` the muxer's.
    """
    defaults = _OPTIONS.get(codec, {}) | ({} if b_frames is None else {"bf": str(b_frames)})
    with av.open(path, "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate, options=defaults | (options or {}))
        base = Fraction(1, 90_000) if times else 1 / Fraction(rate)
        sound = file.add_stream(audio, 48_000) if audio else None
        count = 0
        for count, picture in enumerate(frames, 1):
            picture = np.ascontiguousarray(np.rot90(picture, rotation // 90))
            if count == 1:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pixel_format
                stream.gop_size = gop
                stream.codec_context.time_base = base
                stream.codec_context.thread_count = 1
                if colour:
                    stream.codec_context.colorspace, stream.codec_context.color_range = colour
                if rotation:
                    stream.set_display_rotation(-rotation)
            frame = _frame(picture, pixel_format, colour)
            frame.time_base = base
            frame.pts = round(Fraction(times[count - 1]) / base) if times else count - 1
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if sound:
            for block in _tone(float(times[-1]) if times else float(count / Fraction(rate))):
                file.mux(sound.encode(block))
            file.mux(sound.encode(None))
    return path


_OPTIONS = {
    "libx264": {"preset": "ultrafast", "bf": "2"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12"},
    "mpeg4": {"qscale": "3"},
}


def _frame(picture: NDArray[np.uint8], pixel_format: str, colour: tuple[int, int] | None) -> av.VideoFrame:
    matrix, span = colour or (5, 1)
    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(
        format=pixel_format, dst_colorspace=matrix, src_color_range=2, dst_color_range=span
    )
    frame.colorspace, frame.color_range = (matrix, span) if colour else (2, 0)
    return frame


def _tone(seconds: float) -> Iterator[av.AudioFrame]:
    """440 Hz, two channels, 48 kHz, in blocks of 1024."""
    for start in range(0, int(seconds * 48_000), 1024):
        wave = np.sin(2 * np.pi * 440 / 48_000 * np.arange(start, start + 1024)).astype(np.float32) / 4
        block = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
        block.sample_rate, block.pts, block.time_base = 48_000, start, Fraction(1, 48_000)
        yield block


def scene(shots: Sequence[tuple[NDArray[np.uint8], int]]) -> Iterator[NDArray[np.uint8]]:
    """Pictures of any sizes, each for so many frames, one after another as large as the first."""
    height, width = (side // 2 * 2 for side in shots[0][0].shape[:2])
    for picture, count in shots:
        shown = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        for _ in range(count):
            yield shown
