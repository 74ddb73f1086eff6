"""What was seen in a video, drawn on its frames: a contact sheet and an annotated video.

Drawn are results in AWS's shapes, whatever analysis they come from: boxes and paths on the picture, what has no place
in it in words below.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regard.drawing import GREEN, ORANGE, PALETTE, SKY, Mark, caption_below, draw
from regard.media import video as media
from regard.media.video import Chunk, Frame, Video
from regard.operations.video.analysis import DEFAULT_INTERVAL_MS
from regard.vision.geometry import Box

COLUMNS, MOST_TILES = 4, 32
TILE_WIDTH = 480  # pixels
LINES = 3  # of words below a picture
PATH_MS = 3000  # of where a person came from
_MOST_NAMES = 6
_MS = Fraction(1, 1000)
_NO_POINTS = np.empty((0, 2))

Body = Mapping[str, Any]
Past = Iterable[tuple[int, Sequence[Body]]]
"""The results of the last while, with their times."""
Picture = NDArray[np.uint8]


class Seen(NamedTuple):
    """What is to be drawn of one kind of result in a frame, and told in words."""

    marks: Sequence[Mark]
    words: str = ""


class Timeline:
    """The results of one kind, in order of time, as one goes through the frames of a video, in order, too.

    Results hold for the frames of their interval of `interval_ms`, of which the first was looked at; None: for their
    own frame alone.
    """

    def __init__(self, results: Iterable[tuple[int, Body]], interval_ms: int | None) -> None:
        self._groups = groupby(results, itemgetter(0))
        self._interval_ms = interval_ms or 1
        self._next: tuple[int, list[Body]] | None = None
        self.past: deque[tuple[int, list[Body]]] = deque()
        self._advance()

    def at(self, time_ms: int) -> list[Body]:
        """The results that hold at a time; `past` are then those of the last while, up to these."""
        slot = time_ms // self._interval_ms
        while self._next and self._next[0] // self._interval_ms <= slot:
            self.past.append(self._next)
            self._advance()
        while self.past and self.past[0][0] < time_ms - PATH_MS:
            self.past.popleft()
        if self.past and self.past[-1][0] // self._interval_ms == slot:
            return self.past[-1][1]
        return []

    def _advance(self) -> None:
        group = next(self._groups, None)
        self._next = group and (group[0], [body for _, body in group[1]])


@dataclass(frozen=True, slots=True)
class Film:
    """A video and what was seen in it: the results of each kind, and the segments. To be gone through once."""

    source: Path
    video: Video
    timelines: Mapping[str, Timeline]
    segments: Sequence[Body]


def contact_sheet(film: Film, out: Path) -> None:
    """A PNG of the video's key frames with what was seen in them: one of every shot, or at equal distances."""
    video, tiles = film.video, []
    for number in key_frames(video, film.segments):
        # A frame that cannot be decoded is left out.
        for frame in media.frames(film.source, video, Chunk(0, number, number + 1)):
            picture = frame.scaled(TILE_WIDTH, round(TILE_WIDTH * video.height / video.width))
            tiles.append(_drawn(picture, frame.time_ms, film))
    if not tiles:
        return
    rows = [tiles[first : first + COLUMNS] for first in range(0, len(tiles), COLUMNS)]
    blank = np.zeros_like(tiles[0])
    sheet = [np.hstack([*row, *[blank] * (min(COLUMNS, len(tiles)) - len(row))]) for row in rows]
    Image.fromarray(np.vstack(sheet)).save(out)


def key_frames(video: Video, segments: Sequence[Body]) -> list[int]:
    """The numbers of frames, at most 32, that analyses at the default interval have looked at."""
    looked_at = np.flatnonzero(media.sampled(video, DEFAULT_INTERVAL_MS))
    middles = [
        (body["StartTimestampMillis"] + body["EndTimestampMillis"]) // 2 for body in segments if body["Type"] == "SHOT"
    ]
    if len(middles) < 2:
        count = min(len(looked_at), MOST_TILES // 2)
        middles = [int(video.duration_ms * (number + 0.5) / count) for number in range(count)]
    places = np.searchsorted(video.times_ms[looked_at], middles, "right") - 1
    numbers = np.unique(looked_at[np.maximum(places, 0)])
    chosen = np.linspace(0, len(numbers) - 1, min(len(numbers), MOST_TILES)).round().astype(int)
    return [int(number) for number in numbers[chosen]]


def annotate(film: Film, out: Path, progress: Callable[[], None]) -> None:
    """The video once more, H.264 in MP4 and silent, with what was seen drawn on every frame."""
    rate = Fraction(film.video.frame_rate or 25).limit_denominator(1001)
    with av.open(out, "w") as file:
        stream = file.add_stream("libx264", rate, options={"preset": "veryfast", "crf": "23"})
        stream.codec_context.time_base = _MS
        last = -1
        for frame in _every(film):
            progress()
            if frame.time_ms == last:  # in milliseconds the file could not tell them apart
                continue
            drawn = _drawn(frame.pixels, frame.time_ms, film)
            if last < 0:
                stream.height, stream.width = (side // 2 * 2 for side in drawn.shape[:2])
                stream.pix_fmt = "yuv420p"
            even = np.ascontiguousarray(drawn[: stream.height, : stream.width])
            picture = av.VideoFrame.from_ndarray(even, "rgb24")
            picture.pts = last = frame.time_ms
            picture.time_base = _MS
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))


def _every(film: Film) -> Iterator[Frame]:
    for chunk in film.video.chunks:
        yield from media.frames(film.source, film.video, chunk)


def _drawn(picture: Picture, time_ms: int, film: Film) -> Picture:
    """A frame with all that was seen in it, words below it."""
    size = picture.shape[1], picture.shape[0]
    seen = [
        MARKERS[kind](timeline.at(time_ms), timeline.past, size)
        for kind, timeline in film.timelines.items()
        if kind in MARKERS
    ]
    drawn = draw(picture, [mark for one in seen for mark in one.marks])
    clock = f"{time_ms // 60_000}:{time_ms / 1000 % 60:04.1f}"
    lines = [", ".join([clock, *_running(film.segments, time_ms)]), *(one.words for one in seen if one.words)]
    return caption_below(drawn, lines, LINES)


def _running(segments: Sequence[Body], time_ms: int) -> Iterator[str]:
    """The segments that a time is in."""
    for body in segments:
        if body["StartTimestampMillis"] <= time_ms <= body["EndTimestampMillis"]:
            shot = body.get("ShotSegment")
            yield f"shot {shot['Index']}" if shot else body["TechnicalCueSegment"]["Type"]


def _labels(now: Sequence[Body], _: Past, size: tuple[int, int]) -> Seen:
    """Things where they are; of the labels without a place those that no other one includes."""
    labels = [body["Label"] for body in now]
    parents = {parent["Name"] for label in labels for parent in label["Parents"]}
    marks = [
        Mark(_box(thing["BoundingBox"], size), _NO_POINTS, (f"{label['Name']} {thing['Confidence']:.0f} %",), SKY)
        for label in labels
        for thing in label["Instances"]
    ]
    names = [label for label in labels if not label["Instances"] and label["Name"] not in parents]
    return Seen(marks, _told((label["Name"], label["Confidence"]) for label in names))


def _faces(now: Sequence[Body], _: Past, size: tuple[int, int]) -> Seen:
    return Seen(
        [
            Mark(
                _box(body["Face"]["BoundingBox"], size),
                _NO_POINTS,
                (f"face {body['Face']['Confidence']:.0f} %",),
                ORANGE,
            )
            for body in now
        ]
    )


def _people(now: Sequence[Body], past: Past, size: tuple[int, int]) -> Seen:
    """Everybody with their number, and the path of their feet in dots."""
    people = [body["Person"] for body in now if body["Person"].get("BoundingBox")]
    paths: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for _, bodies in past:
        for person in (body["Person"] for body in bodies if body["Person"].get("BoundingBox")):
            box = _box(person["BoundingBox"], size)
            paths[person["Index"]].append((box.left + box.width / 2, box.top + box.height))
    return Seen(
        [
            Mark(
                _box(person["BoundingBox"], size),
                np.array(paths[person["Index"]], np.float64).reshape(-1, 2),
                (f"person {person['Index']}",),
                PALETTE[person["Index"] % len(PALETTE)],
            )
            for person in people
        ]
    )


def _text(now: Sequence[Body], _: Past, size: tuple[int, int]) -> Seen:
    """Lines, framed; what they say is told in words, for a caption would hide the next one."""
    lines = [body["TextDetection"] for body in now if body["TextDetection"]["Type"] == "LINE"]
    marks = []
    for line in lines:
        polygon = np.array([(point["X"], point["Y"]) for point in line["Geometry"]["Polygon"]]) * size
        marks.append(Mark(_box(line["Geometry"]["BoundingBox"], size), _NO_POINTS, (), GREEN, polygon))
    return Seen(marks, " / ".join(line["DetectedText"] for line in lines))


def _moderation(now: Sequence[Body], _: Past, __: tuple[int, int]) -> Seen:
    labels = [body["ModerationLabel"] for body in now]
    parents = {label["ParentName"] for label in labels}
    return Seen((), _told((label["Name"], label["Confidence"]) for label in labels if label["Name"] not in parents))


MARKERS: Mapping[str, Callable[[Sequence[Body], Past, tuple[int, int]], Seen]] = {
    "LabelDetection": _labels,
    "FaceDetection": _faces,
    "PersonTracking": _people,
    "TextDetection": _text,
    "ContentModeration": _moderation,
}
"""How results of a kind are drawn on a picture of some width and height, and what is told of them."""


def _told(names: Iterable[tuple[str, float]]) -> str:
    """The most confident names."""
    best = sorted(names, key=itemgetter(1), reverse=True)[:_MOST_NAMES]
    return ", ".join(f"{name} {confidence:.0f} %" for name, confidence in best)


def _box(box: Mapping[str, float], size: tuple[int, int]) -> Box:
    """A BoundingBox in pixels."""
    width, height = size
    return Box(box["Left"] * width, box["Top"] * height, box["Width"] * width, box["Height"] * height)
