"""Videos as phones, cameras and attackers send them: every frame is the one that its number and its time say."""

import io
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.videos import make_video, number_of, numbered, numbers

from regard.media import video as video_module
from regard.media.storage import ObjectFile, ObjectHead
from regard.media.video import (
    Chunk,
    Frame,
    InvalidVideoFormat,
    Video,
    VideoError,
    VideoTooLarge,
    frames,
    inspect,
    sampled,
)

COUNT = 100
IRREGULAR = [0.0, 0.1, 0.15, 0.5, 0.6, 0.61, *(1 + 0.1 * i for i in range(COUNT - 6))]


def x264(parameters: str) -> dict[str, str]:
    return {"preset": "medium", "x264-params": parameters}


MAKERS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"audio": "aac"},
    "h264.mov": {"rate": Fraction(30000, 1001)},
    "h264.mkv": {"b_frames": 3},
    "h264.avi": {},
    "pyramid.mp4": {"options": x264("bframes=5:b-adapt=0:b-pyramid=normal"), "gop": 40},
    "open-gop.mp4": {"options": x264("open-gop=1:bframes=3:b-adapt=0"), "b_frames": 3},
    "intra-refresh.mp4": {"options": x264("intra-refresh=1:bframes=0")},
    "one-keyframe.mp4": {"gop": 1000},
    "all-keyframes.mp4": {"gop": 1, "b_frames": 0},
    "fragments.mp4": {"container": {"movflags": "frag_keyframe+empty_moov"}},
    "hevc.mp4": {"codec": "libx265"},
    "hevc-open-gop.mkv": {
        "codec": "libx265",
        "options": {"preset": "medium", "x265-params": "log-level=none:open-gop=1:bframes=4:pools=none"},
    },
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2},
    "vp9.webm": {"codec": "libvpx-vp9", "audio": "libopus"},
    "vp9-hidden.webm": {
        "codec": "libvpx-vp9",
        "options": {"deadline": "good", "auto-alt-ref": "1", "lag-in-frames": "16"},
    },
    "av1.mp4": {"codec": "libsvtav1"},
    "av1.webm": {"codec": "libsvtav1"},
    "vp8.webm": {"codec": "libvpx", "audio": "libopus"},
    "mpeg2.mkv": {"codec": "mpeg2video", "b_frames": 2},
    "mjpeg.mov": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "prores.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
    "irregular.mp4": {"times": IRREGULAR},
    "irregular.webm": {"times": IRREGULAR, "codec": "libvpx-vp9"},
    "late.mkv": {"times": [7.5 + i / 25 for i in range(COUNT)]},
    "phone.mov": {"rotation": 90, "audio": "aac"},
    "ten-bits.mkv": {"codec": "libx265", "pixel_format": "yuv420p10le"},
    "all-colours.mp4": {"pixel_format": "yuv444p"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def made(folder: Path) -> Callable[[str], Path]:
    """Videos of frames 0 to 99, by name."""

    def get(name: str) -> Path:
        path = folder / name
        return path if path.exists() else make_video(path, numbers(COUNT), **MAKERS[name])

    return get


def told(found: Iterator[Frame]) -> list[int]:
    """The numbers of frames, each of which must show its own."""
    result = []
    for frame in found:
        assert number_of(frame.luminance) == frame.number
        result.append(frame.number)
    return result


@pytest.mark.parametrize("name", MAKERS)
def test_every_frame_is_the_one_that_its_number_says(name: str, made: Callable[[str], Path]) -> None:
    path = made(name)
    video = inspect(path, chunk_ms=500)
    assert len(video.times_ms) == COUNT
    assert [c.number for c in video.chunks] == list(range(len(video.chunks)))
    assert [c.stop for c in video.chunks][-1] == COUNT
    assert [c.start for c in video.chunks] == [0, *(c.stop for c in video.chunks[:-1])]
    chosen = sampled(video, 200)
    for chunk in reversed(video.chunks):
        assert told(frames(path, video, chunk)) == list(range(chunk.start, chunk.stop))
        around = range(max(0, chunk.start - 7), min(COUNT, chunk.stop + 7))
        assert told(frames(path, video, chunk, margin=7)) == list(around)
        assert told(frames(path, video, chunk, 200, 7)) == [n for n in around if chosen[n]]


@pytest.mark.parametrize("name", MAKERS)
def test_frames_are_those_that_decoding_everything_gives(name: str, made: Callable[[str], Path]) -> None:
    path = made(name)
    video = inspect(path, chunk_ms=500)
    with av.open(str(path)) as container:
        gray = {n: f.to_ndarray(format="yuv420p")[: f.height] for n, f in enumerate(container.decode(video=0))}
    for chunk in video.chunks:
        for frame in frames(path, video, chunk, 300):
            decoded = frame._decoded.to_ndarray(format="yuv420p")[: frame._decoded.height]
            np.testing.assert_array_equal(decoded, gray[frame.number])
            assert frame.time_ms == video.times_ms[frame.number]


def test_chunks_begin_at_keyframes(made: Callable[[str], Path]) -> None:
    assert [c.start for c in inspect(made("h264.mp4"), chunk_ms=500).chunks] == [0, 15, 30, 45, 60, 75, 90]
    assert [c.start for c in inspect(made("h264.mp4"), chunk_ms=501).chunks] == [0, 30, 60, 90]
    assert [c.start for c in inspect(made("h264.mp4")).chunks] == [0]
    assert len(inspect(made("one-keyframe.mp4"), chunk_ms=500).chunks) == 1


def test_without_keyframes_chunks_end_all_the_same(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_module, "LONGEST_CHUNK_MS", 700)
    path = made("one-keyframe.mp4")
    video = inspect(path, chunk_ms=500)
    assert [c.start for c in video.chunks] == [0, 21, 42, 63]
    for chunk in video.chunks:
        assert told(frames(path, video, chunk, margin=2)) == list(
            range(max(0, chunk.start - 2), min(COUNT, chunk.stop + 2))
        )


def test_many_frames_are_cut_into_chunks_however_soon_they_follow_each_other(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of a job keeps something of each frame: by time alone, a file could have millions in one."""
    monkeypatch.setattr(video_module, "MOST_CHUNK_FRAMES", 20)
    path = made("one-keyframe.mp4")
    video = inspect(path)
    assert [c.start for c in video.chunks] == list(range(0, COUNT - 20, 20))
    for chunk in video.chunks:
        assert chunk.stop - chunk.start <= 40
        assert told(frames(path, video, chunk)) == list(range(chunk.start, chunk.stop))


def test_chunks_are_read_at_the_same_time(made: Callable[[str], Path]) -> None:
    path = made("pyramid.mp4")
    video = inspect(path, chunk_ms=500)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda chunk: told(frames(path, video, chunk)), video.chunks * 4))
    assert found == [list(range(c.start, c.stop)) for c in video.chunks] * 4


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4", "av1.mp4", "vp9.webm", "pyramid.mp4"])
def test_many_threads_decode_the_same(name: str, made: Callable[[str], Path]) -> None:
    path = made(name)
    video = inspect(path)
    chosen = np.flatnonzero(sampled(video, 200)).tolist()
    assert told(frames(path, video, video.chunks[0], threads=4)) == list(range(COUNT))
    assert told(frames(path, video, video.chunks[0], 200, threads=4)) == chosen


def test_an_open_file_is_read_like_a_path(made: Callable[[str], Path]) -> None:
    with made("h264.mp4").open("rb") as file:
        video = inspect(file, chunk_ms=500)
        for chunk in video.chunks:
            assert told(frames(file, video, chunk)) == list(range(chunk.start, chunk.stop))


# Times and metadata.


@pytest.mark.parametrize("name", ["irregular.mp4", "irregular.webm"])
def test_times_are_those_of_the_stream(name: str, made: Callable[[str], Path]) -> None:
    video = inspect(made(name))
    np.testing.assert_array_equal(video.times_ms, [round(1000 * t) for t in IRREGULAR])
    assert video.frame_rate == pytest.approx((COUNT - 1) / IRREGULAR[-1], rel=0.02)
    assert video.duration_ms == pytest.approx(1000 * IRREGULAR[-1], abs=150)


@pytest.mark.parametrize("name", ["late.mkv", "h264.avi", "h264.mp4", "open-gop.mp4"])
def test_the_first_frame_is_shown_at_0(name: str, made: Callable[[str], Path]) -> None:
    times = inspect(made(name)).times_ms
    rate = 25 if name == "late.mkv" else 30
    np.testing.assert_allclose(times, 1000 * np.arange(COUNT) / rate, atol=0.51)


def test_rates_of_television_are_exact(made: Callable[[str], Path]) -> None:
    video = inspect(made("h264.mov"))
    assert video.frame_rate == 30000 / 1001
    np.testing.assert_array_equal(video.times_ms, [int(1001 * n / 30 + 0.5) for n in range(COUNT)])


def test_metadata_is_as_aws_gives_it(made: Callable[[str], Path]) -> None:
    video = inspect(made("h264.mp4"))
    assert (video.format, video.codec, video.color_range) == ("QuickTime / MOV", "h264", "LIMITED")
    assert (video.width, video.height, video.frame_rate, video.duration_ms) == (128, 96, 30, 3333)
    (audio,) = video.audio
    assert (audio.codec, audio.sample_rate, audio.channels) == ("aac", 48_000, 2)
    assert audio.duration_ms == pytest.approx(3333, abs=50)
    assert inspect(made("hevc.mp4")).audio == ()
    names = {name: inspect(made(name)) for name in ("vp9.webm", "av1.mp4", "hevc.mp4", "mpeg4.avi")}
    assert {name: (video.format, video.codec) for name, video in names.items()} == {
        "vp9.webm": ("Matroska / WebM", "vp9"),
        "av1.mp4": ("QuickTime / MOV", "av1"),
        "hevc.mp4": ("QuickTime / MOV", "hevc"),
        "mpeg4.avi": ("AVI (Audio Video Interleaved)", "mpeg4"),
    }
    assert names["vp9.webm"].audio[0].codec == "opus"
    assert names["vp9.webm"].audio[0].duration_ms == pytest.approx(3333, abs=50)


@pytest.mark.parametrize(
    ("rotation", "matrix"), [(90, (0, 1, -1, 0)), (180, (-1, 0, 0, -1)), (270, (0, -1, 1, 0)), (0, (1, 0, 0, 1))]
)
def test_videos_of_turned_phones_are_upright(rotation: int, matrix: tuple[int, ...], tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mp4", numbers(20), rotation=rotation)
    video = inspect(path)
    assert (video.rotation, video.width, video.height) == (rotation, 128, 96)
    for frame in frames(path, video, video.chunks[0]):
        small = frame.scaled(64, 48)
        assert (frame.pixels.shape, frame.luminance.shape, small.shape) == ((96, 128, 3), (96, 128), (48, 64, 3))
        assert {number_of(frame.pixels), number_of(frame.luminance), number_of(small)} == {frame.number}
    # The first four numbers of the matrix in the track's header: x' = ax + cy, y' = bx + dy, y going down.
    header = path.read_bytes().index(b"tkhd")
    a, b, _, c, d = struct.unpack_from(">5i", path.read_bytes(), header + 4 + 40)
    assert tuple(v >> 16 for v in (a, b, c, d)) == matrix


# Colours.

COLOURS = np.array(
    [[200, 30, 30], [30, 200, 40], [40, 60, 210], [255, 255, 255], [0, 0, 0], [230, 200, 40], [30, 160, 170]], np.uint8
)
BT709, BT601 = 1, 5
LIMITED, FULL = 1, 2


def stripes(height: int = 96) -> NDArray[np.uint8]:
    return np.repeat(np.broadcast_to(COLOURS[None], (height, len(COLOURS), 3)), 32, 1)


def at_stripes(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    width = picture.shape[1]
    return picture[picture.shape[0] // 2, [width * (2 * n + 1) // (2 * len(COLOURS)) for n in range(len(COLOURS))]]


def luminance(matrix: int) -> NDArray[np.float64]:
    """The luminance of COLOURS, 0–255, by the definition."""
    red, blue = {BT709: (0.2126, 0.0722), BT601: (0.299, 0.114)}[matrix]
    return COLOURS @ np.array([red, 1 - red - blue, blue])


@pytest.mark.parametrize("matrix", [BT709, BT601])
@pytest.mark.parametrize("span", [LIMITED, FULL])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_colours_are_right(matrix: int, span: int, pixel_format: str, tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "x.mkv",
        [stripes()] * 3,
        codec="libx264",
        colour=(matrix, span),
        pixel_format=pixel_format,
        options={"crf": "4"},
    )
    video = inspect(path)
    assert video.color_range == {LIMITED: "LIMITED", FULL: "FULL"}[span]
    for frame in frames(path, video, video.chunks[0]):
        for picture in (frame.pixels, frame.scaled(112, 48), frame.scaled(70, 9)):
            np.testing.assert_allclose(at_stripes(picture).astype(int), COLOURS, atol=6)
        np.testing.assert_allclose(at_stripes(frame.luminance), luminance(matrix), atol=4)


@pytest.mark.parametrize(("height", "matrix"), [(96, BT601), (720, BT709)])
def test_colours_that_are_not_specified_are_those_of_players(height: int, matrix: int, tmp_path: Path) -> None:
    picture = np.repeat(stripes(height), 1 if height < 720 else 4, 1)
    tagged = make_video(tmp_path / "x.mkv", [picture] * 2, colour=(matrix, LIMITED), options={"crf": "4"})
    untagged = tmp_path / "untagged.mkv"
    with av.open(str(tagged)) as source, av.open(str(untagged), "w") as target:
        stream = target.add_stream("libx264", 30, options={"crf": "4", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], "yuv420p"
        for decoded in source.decode(video=0):
            decoded.colorspace, decoded.color_range = 2, 0
            decoded.pts = None
            target.mux(stream.encode(decoded))
        target.mux(stream.encode(None))
    video = inspect(untagged)
    frame = next(frames(untagged, video, video.chunks[0]))
    np.testing.assert_allclose(at_stripes(frame.pixels).astype(int), COLOURS, atol=6)


def test_every_pixel_counts_in_a_thumbnail(tmp_path: Path) -> None:
    noise = cv2.resize(np.random.default_rng(2).integers(0, 256, (90, 160, 3), np.uint8), (640, 360))
    path = make_video(tmp_path / "x.mkv", [np.asarray(noise, np.uint8)] * 2, options={"crf": "4"})
    video = inspect(path)
    frame = next(frames(path, video, video.chunks[0]))
    expected = np.asarray(cv2.resize(frame.pixels, (48, 27), interpolation=cv2.INTER_AREA), int)
    assert np.abs(frame.scaled(48, 27) - expected).mean() < 2


# Odd files.


def remuxed(source: Path, target: Path, change: Callable[[Any], bool]) -> Path:
    """Copies the packets of the pictures that `change` lets through; it may alter them."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        new.start_encoding()
        for packet in old.demux(video=0):
            if packet.size and change(packet):
                packet.stream = stream
                new.mux(packet)
    return target


def test_frames_before_the_first_keyframe_are_left_out(made: Callable[[str], Path], tmp_path: Path) -> None:
    cut = remuxed(made("open-gop.mp4"), tmp_path / "cut.mkv", lambda packet: packet.dts > 4000)
    video = inspect(cut)
    shown = [number_of(frame.luminance) for frame in frames(cut, video, video.chunks[0])]
    assert len(shown) == len(video.times_ms)
    assert shown == list(range(shown[0], COUNT))
    assert shown[0] in (15, 30)


def test_edit_lists_hide_frames(made: Callable[[str], Path], tmp_path: Path) -> None:
    def earlier(packet: Any) -> bool:
        packet.pts -= 20 * 512
        packet.dts -= 20 * 512
        return True

    cut = remuxed(made("h264.mp4"), tmp_path / "cut.mp4", earlier)
    video = inspect(cut, chunk_ms=500)
    shown = [number_of(frame.luminance) for chunk in video.chunks for frame in frames(cut, video, chunk)]
    assert shown == list(range(20, COUNT))
    np.testing.assert_allclose(video.times_ms, np.arange(COUNT - 20) * 1000 / 30, atol=0.51)
    assert len(video.chunks) > 3


def test_frames_that_share_a_time_count_once(made: Callable[[str], Path], tmp_path: Path) -> None:
    def doubled(packet: Any) -> bool:
        packet.pts = packet.dts = packet.pts // 1024 * 1024
        return True

    path = remuxed(made("mpeg4.mp4"), tmp_path / "x.mkv", doubled)
    video = inspect(path)
    assert len(video.times_ms) == 50
    assert [f.number for f in frames(path, video, video.chunks[0])] == list(range(50))


def test_a_change_of_size_keeps_the_size(tmp_path: Path) -> None:
    large = make_video(tmp_path / "a.webm", numbers(20), codec="libvpx-vp9")
    small = make_video(tmp_path / "b.webm", (numbered(n, 64, 48) for n in range(20, 40)), codec="libvpx-vp9")
    path = tmp_path / "both.webm"
    with av.open(str(large)) as first, av.open(str(small)) as second, av.open(str(path), "w") as both:
        stream = both.add_stream_from_template(first.streams.video[0])
        for source, offset in ((first, 0), (second, 667)):
            for packet in source.demux(video=0):
                if packet.size:
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, stream
                    both.mux(packet)
    video = inspect(path, chunk_ms=500)
    for chunk in video.chunks:
        for frame in frames(path, video, chunk):
            assert (frame.pixels.shape, frame.luminance.shape) == ((96, 128, 3), (96, 128))
            assert number_of(frame.pixels) == number_of(frame.luminance) == frame.number


def with_cover(path: Path, source: Path | None) -> Path:
    """An MP4 with a picture of its cover, and the pictures of a video if there is one."""
    with av.open(str(path), "w") as target:
        cover = target.add_stream("mjpeg", 1)
        cover.width, cover.height, cover.pix_fmt = 320, 240, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = target.add_stream("aac", 48_000)
        moving = None
        old = av.open(str(source)) if source else None
        if old:
            moving = target.add_stream_from_template(old.streams.video[0])
        picture = av.VideoFrame.from_ndarray(numbered(77, 320, 240), "rgb24").reformat(format="yuvj420p")
        target.mux(cover.encode(picture))
        target.mux(cover.encode(None))
        if old and moving:
            for packet in old.demux(video=0):
                if packet.size:
                    packet.stream = moving
                    target.mux(packet)
            old.close()
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.sample_rate = 48_000
        target.mux(sound.encode(silence))
        target.mux(sound.encode(None))
    return path


def test_a_cover_is_no_video(made: Callable[[str], Path], tmp_path: Path) -> None:
    path = with_cover(tmp_path / "x.mp4", made("h264.mp4"))
    video = inspect(path)
    assert (video.width, len(video.audio)) == (128, 1)
    assert told(frames(path, video, video.chunks[0])) == list(range(COUNT))
    with pytest.raises(InvalidVideoFormat, match="no video"):
        inspect(with_cover(tmp_path / "song.mp4", None))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("aac", 48_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.sample_rate = 48_000
        target.mux(stream.encode(silence))
        target.mux(stream.encode(None))
    with pytest.raises(InvalidVideoFormat, match="no video"):
        inspect(path)


def test_a_video_of_no_frames_is_refused(made: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("empty.mkv", "empty.mp4", "empty.avi"):
        with pytest.raises(VideoError):
            inspect(remuxed(made("mpeg4.mp4"), tmp_path / name, lambda _: False))


def test_a_video_of_one_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mp4", numbers(1))
    video = inspect(path)
    assert (len(video.times_ms), video.chunks, video.duration_ms) == (1, (Chunk(0, 0, 1),), 33)
    assert told(frames(path, video, video.chunks[0])) == [0]


# Limits.


def test_frames_beyond_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = make_video(tmp_path / "x.mkv", [np.zeros((16, video_module.MAX_SIDE + 2, 3), np.uint8)])
    with pytest.raises(VideoTooLarge, match="8194×16"):
        inspect(wide)
    path = make_video(tmp_path / "y.mkv", numbers(5))
    monkeypatch.setitem(video_module._OPTIONS, "max_pixels", "12287")
    with pytest.raises(VideoError):  # as where the container understates the size
        inspect(path)


def test_longer_and_larger_videos_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "x.mkv", numbers(3), times=[0, 10, 6 * 3600 - 1])
    assert inspect(path).times_ms[-1] == (6 * 3600 - 1) * 1000
    with pytest.raises(VideoTooLarge, match="6 hours"):
        inspect(make_video(tmp_path / "y.mkv", numbers(3), times=[0, 10, 6 * 3600]))
    monkeypatch.setattr(video_module, "MAX_FRAMES", 2)
    with pytest.raises(VideoTooLarge, match="frames"):
        inspect(path)
    monkeypatch.setattr(video_module, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(VideoTooLarge, match="bytes"):
        inspect(path)


def patched(data: bytes, box: bytes, offset: int, *values: int) -> bytes:
    """Puts 32-bit numbers so far behind the name of a box."""
    start = data.index(box) + 4 + offset
    return data[:start] + struct.pack(f">{len(values)}I", *values) + data[start + 4 * len(values) :]


@pytest.mark.parametrize("count", [9_000_000, 2**31, 2**32 - 1])
def test_a_few_bytes_cannot_fill_the_memory(
    count: int, made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the check, FFmpeg takes 70 bytes for each of the samples that these announce."""
    data, fragments, sound = made("h264.mp4").read_bytes(), made("fragments.mp4").read_bytes(), sound_in_mov()
    monkeypatch.setattr(av, "open", pytest.fail)
    hidden = data.replace(b"moov", b"free", 1).replace(b"mvhd", b"moovmvhd")
    for bomb in (
        patched(data, b"stsz", 4, 1, count),
        patched(data, b"stsz", 8, count),
        patched(hidden, b"stsz", 4, 1, count),
        patched(data, b"elst", 4, count),
        patched(fragments, b"trun", 4, count),
        data.replace(b"moov", b"moovcmov"),
        # Sound that looks as if it were not compressed, in long chunks.
        patched(patched(sound, b"stsc", 4, 1, 1, count), b"stco", 4, 2**16),
        patched(sound, b"stsz", 4, 1, count).replace(b"soun", b"vide"),
    ):
        with pytest.raises(VideoTooLarge, match="announce"):
            inspect(io.BytesIO(bomb))


def sound_in_mov(seconds: int = 5) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", "mov") as target:
        stream = target.add_stream("pcm_s16le", 48_000)
        for _ in range(seconds):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 48_000), np.int16), "s16", "stereo")
            silence.sample_rate = 48_000
            target.mux(stream.encode(silence))
        target.mux(stream.encode(None))
    return file.getvalue()


def test_hours_of_sound_that_is_not_compressed_are_no_bomb() -> None:
    data = sound_in_mov()
    samples = struct.unpack_from(">I", data, data.index(b"stsz") + 12)[0]
    assert samples == 5 * 48_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regard.media.mp4.MAX_SAMPLES", samples // 100)
        with pytest.raises(InvalidVideoFormat, match="no video"):
            inspect(io.BytesIO(data))


# Broken and hostile files.


def survives(data: bytes) -> list[int]:
    """Reads what there is to read; gives what the frames show, which are in order and as many as promised at most."""
    try:
        video = inspect(io.BytesIO(data), chunk_ms=500)
    except VideoError:
        return []
    shown = []
    for chunk in video.chunks:
        found = list(frames(io.BytesIO(data), video, chunk))
        numbers = [frame.number for frame in found]
        assert numbers == sorted(set(numbers))
        assert set(numbers) <= set(range(chunk.start, chunk.stop))
        for frame in found:
            assert frame.pixels.shape == (video.height, video.width, 3)
            shown.append(frame.luminance)
    return [number_of(luminance) for luminance in shown] if video.width == 128 else []


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("x.mp4", {"movflags": "faststart"}),
        ("y.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("x.mkv", {}),
        ("x.avi", {}),
    ],
)
def test_of_half_a_video_half_is_seen(name: str, container: dict[str, str], tmp_path: Path) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    data = make_video(tmp_path / name, numbers(60), codec=codec, container=container).read_bytes()
    counts = []
    for end in range(0, len(data), max(1, len(data) // 40)):
        shown = survives(data[:end])
        # The last packet may be cut without FFmpeg's knowing.
        assert shown[:-1] == list(range(len(shown)))[:-1]
        counts.append(len(shown))
    if "empty_moov" not in container.get("movflags", ""):  # FFmpeg refuses a file cut in a fragment's own header
        assert counts == sorted(counts)
    assert counts[len(counts) * 3 // 4] > 20
    assert survives(data) == list(range(60))


def test_without_its_table_of_contents_nothing_can_be_seen(made: Callable[[str], Path]) -> None:
    data = made("h264.mp4").read_bytes()
    table = data.index(b"moov")
    assert table > len(data) // 2
    with pytest.raises(InvalidVideoFormat):
        inspect(io.BytesIO(data[: table - 4]))


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4", "mpeg4.avi", "vp9.webm", "av1.mp4", "fragments.mp4"])
def test_damaged_files_do_no_harm(name: str, made: Callable[[str], Path]) -> None:
    data = made(name).read_bytes()
    random = np.random.default_rng(7)
    for _ in range(25):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), random.integers(1, 30)):
            damaged[place] = int(random.integers(256))
        survives(bytes(damaged))
    for _ in range(15):
        a, b = sorted(random.integers(0, len(data), 2).tolist())
        survives(data[:a] + data[b:])


@given(st.binary(max_size=400))
def test_senseless_bytes_are_refused(data: bytes) -> None:
    for begin in (b"", b"\0\0\0\x14ftypisom", b"\x1a\x45\xdf\xa3", b"RIFF\0\1\0\0AVI LIST"):
        with pytest.raises(VideoError):
            inspect(io.BytesIO(begin + data))


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {path}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD><Period><BaseURL>{path}</BaseURL></Period></MPD>',
        "RIFF....{path}",
    ],
)
def test_a_playlist_leads_nowhere(text: str, made: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "video%d.mp4"
    path.write_text(text.format(path=made("h264.mp4")))
    with pytest.raises(InvalidVideoFormat, match="not an MP4"):
        inspect(path)


def with_reference(data: bytes, path: Path) -> bytes:
    """An MP4, its tables last, whose pictures lie in another file: an alias as old QuickTime wrote it."""
    relative = str(path).encode()
    alias = bytearray(150)
    alias[10:12] = bytes([1, ord("/")])
    alias += struct.pack(">hh", 2, len(relative)) + relative + b"\0" * (len(relative) % 2)
    alias += struct.pack(">hh", -1, 0)
    entry = b"alis" + struct.pack(">I", 0) + bytes(alias)
    entry = struct.pack(">I", len(entry) + 4) + entry
    old = data.index(b"dref") - 4
    (length,) = struct.unpack_from(">I", data, old)
    new = struct.pack(">I", 16 + len(entry)) + b"dref" + struct.pack(">II", 0, 1) + entry
    result = bytearray(data[:old] + new + data[old + length :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        start = result.index(box) - 4
        struct.pack_into(">I", result, start, struct.unpack_from(">I", result, start)[0] + len(new) - length)
    return bytes(result)


def test_a_reference_to_another_file_leads_nowhere(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(made("all-keyframes.mp4").read_bytes())
    referring = tmp_path / "referring.mp4"
    referring.write_bytes(with_reference(make_video(tmp_path / "own.mp4", numbers(9)).read_bytes(), secret))
    opened: list[str] = []

    def ask(name: str, *_: object) -> None:
        opened.append(name)
        raise PermissionError

    allowed = {"enable_drefs": "1", "use_absolute_path": "1"}
    with referring.open("rb") as file, suppress(PermissionError):
        av.open(file, options=allowed, io_open=ask)
    assert len(opened) == 1, "not a true reference"
    assert opened.pop().endswith("secret.mp4")
    monkeypatch.setattr(video_module, "_refuse", ask)
    with pytest.raises(InvalidVideoFormat):
        inspect(referring)
    assert opened == []


def test_a_name_is_no_pattern(made: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("%d.mp4", "concat:a|b", "http:x", "-"):
        path = tmp_path / name
        path.write_bytes(made("h264.mp4").read_bytes())
        assert len(inspect(path).times_ms) == COUNT


def test_the_cause_of_a_failure_in_reading_is_told(made: Callable[[str], Path]) -> None:
    data = made("h264.mp4").read_bytes()
    video = inspect(io.BytesIO(data), chunk_ms=500)

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= good:
                raise ConnectionError("the store is gone")
            return super().read(min(1000, size or 0))

    good = 0
    for good in (1, 2000, len(data) // 3, len(data) // 2):  # noqa: B007
        with pytest.raises(ConnectionError, match="gone"):
            inspect(Failing(data))
        with pytest.raises(ConnectionError, match="gone"):
            list(frames(Failing(data), video, video.chunks[-1]))


def test_a_video_in_a_store_is_read_in_blocks(made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "_BUFFER", 500)  # less than a block, as it is
    data = made("h264.mp4").read_bytes()
    read: list[int] = []

    def read_at(position: int, size: int) -> bytes:
        read.append(position // 1000)
        return data[position : min(position + size, position // 1000 * 1000 + 1000)]

    with ObjectFile(ObjectHead(len(data), "tag"), None, read_at, lambda: None) as file:
        video = inspect(file, chunk_ms=500)
        read.clear()
        assert told(frames(file, video, video.chunks[3])) == list(range(45, 60))
    assert len(set(read)) < len(data) / 1000


def test_another_file_in_place_of_the_one_that_was_inspected(made: Callable[[str], Path]) -> None:
    video = inspect(made("h264.mp4"), chunk_ms=500)
    for chunk in video.chunks:
        list(frames(made("vp9.webm"), video, chunk))
        with pytest.raises(InvalidVideoFormat):
            list(frames(io.BytesIO(b"gone"), video, chunk))


def test_a_reader_that_is_left_closes_its_file(made: Callable[[str], Path]) -> None:
    path = made("h264.mp4")
    video = inspect(path)
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(20):
        reading = frames(path, video, video.chunks[0])
        next(reading)
        reading.close()  # type: ignore[attr-defined]
    assert len([*Path("/proc/self/fd").iterdir()]) == before


# Choosing.


@given(
    st.lists(st.integers(0, 4000), min_size=1, max_size=80),
    st.sets(st.integers(0, 200), max_size=20),
    st.integers(1, 20_000),
    st.integers(1, 40_000),
)
def test_chunks_cover_a_video_once(steps: list[int], keys: set[int], least: int, longest: int) -> None:
    times = np.cumsum(steps).astype(np.int64)
    times -= times[0]
    starts = np.array(sorted({0} | {key for key in keys if key < len(times)}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_module, "LONGEST_CHUNK_MS", longest)
        chunks = video_module._chunks(times, starts, least)
    assert [c.start for c in chunks] == [0, *(c.stop for c in chunks[:-1])]
    assert chunks[-1].stop == len(times)
    assert all(c.start < c.stop for c in chunks)


@given(st.lists(st.integers(0, 900), min_size=1, max_size=60), st.integers(1, 2000))
def test_of_every_interval_the_first_frame_is_looked_at(steps: list[int], interval: int) -> None:
    times = np.cumsum([0, *steps]).astype(np.int64)
    chosen = sampled(partial_video(times), interval)
    seen: dict[int, int] = {}
    for number, time in enumerate(times.tolist()):
        seen.setdefault(time // interval, number)
    assert np.flatnonzero(chosen).tolist() == list(seen.values())
    assert sampled(partial_video(times), None).all()


partial_video = partial(Video, "", "", 0, 1.0, 1, 1, "LIMITED", 0, (), chunks=(), index=None)  # type: ignore[arg-type]
