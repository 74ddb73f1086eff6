"""Technical cues of a programme: black frames, colour bars, slates, opening and end credits, and what lies between.

Black and bars are measured on every frame. Text is looked for in one frame a second: credits are rows of text that
stand on a plain background or in a column, slates are plain frames full of text that do not move and come before
everything else. What a cue is called also hangs on where in the programme it is, see docs/segments.md. Nothing here
was trained.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regard.vision.text_detection import Strip, TextDetector, degrees, sides

SAMPLE_MS = 1000
"""Text is looked for once in so many milliseconds."""

_PIXELS = 640 * 360  # at which text is looked for
_LEVELS = 255

# A strip of text is a part of a row if it is this near to level, and so high in shares of the picture's height.
_LEVEL_DEGREES = 5.0
_HEIGHTS = (0.012, 0.2)
_ALIGNED = 0.02  # of the width: rows whose left ends, middles or right ends are as near stand in a column
_PLAIN_LEVELS = 32  # from the background's colour
_PLAIN = 0.6  # of the picture

_BARS = ((1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1))
"""White, yellow, cyan, green, magenta, red and blue: the order of SMPTE EG 1, RP 219 and EBU 3325."""
_BARS_ROWS = slice(2, 13)  # of 27: in SMPTE's the lower third is another pattern
_BARS_LEAST = 0.8
_BAR_COLUMNS = 3  # of 48
_BAR_ON, _BAR_OFF = 100, 70  # grey levels: 75 % bars have 180 to 191 and 0 to 16
_BARS_UNEVEN = 14.0
_BARS_MS = 400

_GAP_MS = 3500  # a credit may be missed, and cards fade
_CREDITS_MS = 3000
_ROWS_ON_PLAIN, _ROWS_IN_COLUMN = 2, 3
_OPENING_BEFORE = 0.25
_END_AFTER = 0.5
_END_WITHIN = 0.05  # of the programme …
_END_WITHIN_MS = 10_000  # … or so long before its end the end credits end
_SLATE_ROWS = 4
_SLATE_MS = 1500
_SLATE_STILL = 0.5  # grey levels from frame to frame
_LEAD_MS = 1500  # what may come before a slate beside bars and black
_BLACK_SPLITS_MS = 500
_CONTENT_MS = 1000


@dataclass(frozen=True, slots=True)
class Run:
    """Frames `start` to `stop`, exclusive, and the mean over them of what was measured, 0–1."""

    start: int
    stop: int
    mean: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame: its rows of text, how many of them stand in one column, the share of the picture that is of the
    background's colour, and how much the picture changes per frame around it, in grey levels."""

    frame: int
    rows: int
    column: int
    plain: float
    motion: float

    @property
    def is_credit(self) -> bool:
        return (self.plain >= _PLAIN and self.rows >= _ROWS_ON_PLAIN) or self.column >= _ROWS_IN_COLUMN

    @property
    def is_slate(self) -> bool:
        return self.plain >= _PLAIN and self.rows >= _SLATE_ROWS and self.motion < _SLATE_STILL


@dataclass(frozen=True, slots=True)
class Cue:
    """Frames `start` to `stop`, exclusive. `confidence` 0–1 is measured; what, docs/segments.md says for each kind."""

    kind: Literal["black", "bars", "slate", "opening", "end", "content"]
    start: int
    stop: int
    confidence: float


def black_share(luminance: NDArray[np.uint8], threshold: float) -> float:
    """The share of pixels of `luminance` [h, w], 0–255, that are black: at most `threshold` of the range."""
    return float(np.count_nonzero(luminance <= threshold * _LEVELS)) / luminance.size


def may_be_black(thumbnail: NDArray[np.uint8], threshold: float, share: float) -> bool:
    """Whether so large a share of a frame may be black, by its thumbnail, uint8 RGB [h, w, 3]."""
    highest = share * threshold * _LEVELS + (1 - share) * _LEVELS
    return float((thumbnail.astype(np.float32) @ _BT709).mean()) <= highest + _ROUNDING


_BT709 = np.array([0.2126, 0.7152, 0.0722], np.float32)
_ROUNDING = 4.0  # between a thumbnail's luminance and the stream's own


def bars_share(thumbnail: NDArray[np.uint8]) -> float:
    """The share of the width of a frame that the seven colour bars take, in their order; 0 if one is missing.

    `thumbnail` is uint8 RGB [27, 48, 3]. Grey at the sides, as HD bars have it, and black at the right count as theirs.
    """
    rows = thumbnail[_BARS_ROWS].astype(np.float32)
    if float(rows.std(0).max(1).mean()) > _BARS_UNEVEN:
        return 0.0
    columns = rows.mean(0)
    on, off = columns >= _BAR_ON, columns <= _BAR_OFF
    colours = [
        tuple(bits) if sure else None for bits, sure in zip(on.astype(int).tolist(), (on | off).all(1), strict=True)
    ]
    place = 0
    widths: list[int] = []
    for colour in _BARS:
        begin = next((i for i in range(place, len(colours)) if colours[i] == colour), None)
        if begin is None or (widths and begin - place > 2):
            return 0.0
        place = next((i for i in range(begin, len(colours)) if colours[i] != colour), len(colours))
        widths.append(place - begin)
    if min(widths) < _BAR_COLUMNS or max(widths) > 2 * min(widths) + 1:
        return 0.0
    first = next(i for i in range(len(colours)) if colours[i] == _BARS[0])
    neutral = np.ptp(columns, axis=1) < _PLAIN_LEVELS
    sides_share = int(neutral[:first].sum() + neutral[place:].sum())
    return (sum(widths) + sides_share) / len(colours)


def sample(
    detector: TextDetector, frame: int, image: NDArray[np.uint8], thumbnail: NDArray[np.uint8], motion: float
) -> Sample:
    """What a frame, uint8 RGB [h, w, 3], shows of text."""
    height, width = image.shape[:2]
    rows = text_rows(detector.find(image, _PIXELS), height)
    return Sample(frame, len(rows), column_of(rows, width), plain_share(thumbnail), motion)


def text_rows(strips: Iterable[Strip], height: int) -> list[tuple[float, float]]:
    """The left and the right end of each row of level text in a picture of that height."""
    rows: list[list[tuple[float, float, float, float]]] = []
    for strip in sorted(strips, key=lambda one: float(one.corners[:, 1].mean())):
        corners = strip.corners
        tall = sides(corners)[1]
        if abs(degrees(corners)) > _LEVEL_DEGREES or not _HEIGHTS[0] <= tall / height <= _HEIGHTS[1]:
            continue
        middle = float(corners[:, 1].mean())
        box = (middle, tall, float(corners[:, 0].min()), float(corners[:, 0].max()))
        if rows and middle - rows[-1][0][0] < min(tall, rows[-1][0][1]) / 2:
            rows[-1].append(box)
        else:
            rows.append([box])
    return [(min(box[2] for box in row), max(box[3] for box in row)) for row in rows]


def column_of(rows: Sequence[tuple[float, float]], width: int) -> int:
    """The most rows whose left ends, middles or right ends are one above the other in a picture of that width."""
    if not rows:
        return 0
    ends = np.array(rows)
    places = (ends[:, 0], ends.mean(1), ends[:, 1])
    return max(int((np.abs(place - one) <= _ALIGNED * width).sum()) for place in places for one in place)


def plain_share(thumbnail: NDArray[np.uint8]) -> float:
    """The share of a picture, uint8 RGB [h, w, 3], that is of its middle colour."""
    pixels = thumbnail.reshape(-1, 3).astype(np.int16)
    return float((np.abs(pixels - np.median(pixels, axis=0)).max(1) <= _PLAIN_LEVELS).mean())


def joined(found: Iterable[Run]) -> list[Run]:
    """Runs in order; those that follow each other without a gap are one."""
    kept: list[Run] = []
    for run in found:
        if kept and kept[-1].stop == run.start:
            before = kept.pop()
            lengths = before.stop - before.start, run.stop - run.start
            mean = (before.mean * lengths[0] + run.mean * lengths[1]) / sum(lengths)
            run = Run(before.start, run.stop, mean)
        kept.append(run)
    return kept


def cues(
    times_ms: NDArray[np.int64],
    black: Sequence[Run],
    bars: Sequence[Run],
    samples: Sequence[Sample],
    jumps: Sequence[int],
) -> list[Cue]:
    """The cues of a video, in the order of their first frames.

    `times_ms` int64 [frames] are those of its frames, `jumps` the frames with which the picture changes at once; runs
    and samples are in order and cover the video.
    """
    return _Programme(times_ms, black, bars, samples, jumps).cues()


def is_bars(share: float) -> bool:
    """Whether a frame with that share of bars shows them."""
    return share >= _BARS_LEAST


class _Programme:
    """A video, with what was measured of it."""

    def __init__(
        self,
        times_ms: NDArray[np.int64],
        black: Sequence[Run],
        bars: Sequence[Run],
        samples: Sequence[Sample],
        jumps: Sequence[int],
    ) -> None:
        self.times = times_ms
        self.frames = len(times_ms)
        self.black = black
        self.bars = [run for run in bars if self.milliseconds(run.start, run.stop) >= _BARS_MS]
        self.samples = samples
        self.jumps = np.array(sorted({*jumps, *(edge for run in black for edge in (run.start, run.stop))}), np.int64)

    def milliseconds(self, start: int, stop: int) -> int:
        """From a frame to another, the end of the last frame standing for the one after it."""
        end = self.times[stop] if stop < self.frames else self.times[-1] + self._frame_ms
        return int(end - self.times[start])

    @property
    def _frame_ms(self) -> float:
        return float(self.times[-1]) / max(1, self.frames - 1)

    def cues(self) -> list[Cue]:
        if not self.frames:
            return []
        slates = self.slates()
        marks = [
            *(Cue("bars", run.start, run.stop, run.mean) for run in self.bars),
            *slates,
            *self.credits(slates[-1].stop if slates else 0),
        ]
        marks += self.content(marks)
        marks += [Cue("black", run.start, run.stop, run.mean) for run in self.black]
        return sorted(marks, key=lambda cue: (cue.start, cue.stop))

    def slates(self) -> list[Cue]:
        """Still, plain frames full of text before which there is nothing but bars and black."""
        found: list[Cue] = []
        for part in self._grouped([one for one in self.samples if one.is_slate], SAMPLE_MS + SAMPLE_MS // 2):
            start, stop = self._edges(part)
            before = [(run.start, run.stop) for run in (*self.black, *self.bars)] + [(c.start, c.stop) for c in found]
            if self.milliseconds(start, stop) >= _SLATE_MS and self._uncovered_ms(start, before) <= _LEAD_MS:
                found.append(Cue("slate", start, stop, float(np.mean([one.plain for one in part]))))
        return found

    def credits(self, after: int) -> Iterator[Cue]:
        """Text that goes on, in the first quarter of what comes after the slate, or in the second half to the end."""
        shown = [one for one in self.samples if one.is_credit and one.frame >= after and not self._in_bars(one.frame)]
        total = self.milliseconds(after, self.frames) if after < self.frames else 0
        for part in self._grouped(shown, _GAP_MS):
            start, stop = self._edges(part)
            start = max(start, after)
            if self.milliseconds(start, stop) < _CREDITS_MS:
                continue
            looked = [one for one in self.samples if part[0].frame <= one.frame <= part[-1].frame]
            confidence = len(part) / len(looked)
            begins, rest = self.milliseconds(after, start), self.milliseconds(stop - 1, self.frames)
            trailing = sum(self.milliseconds(run.start, run.stop) for run in self.black if run.start >= stop - 1)
            if begins >= _END_AFTER * total and rest - trailing <= max(_END_WITHIN * total, _END_WITHIN_MS):
                yield Cue("end", start, stop, confidence)
            elif begins <= _OPENING_BEFORE * total and rest >= _END_AFTER * total:
                yield Cue("opening", start, stop, confidence)

    def content(self, marks: Sequence[Cue]) -> list[Cue]:
        """What no other cue and no black of some length covers; as sure as the least sure cue beside it."""
        covered = [*marks, *(Cue("black", r.start, r.stop, r.mean) for r in self.black if self._splits(r))]
        edges = sorted(covered, key=lambda cue: cue.start)
        found, place, sure = [], 0, 1.0
        for cue in [*edges, Cue("content", self.frames, self.frames, 1.0)]:
            if cue.start > place and self.milliseconds(place, cue.start) >= _CONTENT_MS:
                found.append(Cue("content", place, cue.start, min(sure, cue.confidence)))
            if cue.stop > place:
                place, sure = cue.stop, cue.confidence
        return found

    def _splits(self, run: Run) -> bool:
        return self.milliseconds(run.start, run.stop) >= _BLACK_SPLITS_MS

    def _grouped(self, chosen: Sequence[Sample], gap_ms: int) -> list[list[Sample]]:
        """Samples that follow each other within so many milliseconds."""
        parts: list[list[Sample]] = []
        for one in chosen:
            if parts and self.times[one.frame] - self.times[parts[-1][-1].frame] <= gap_ms:
                parts[-1].append(one)
            else:
                parts.append([one])
        return parts

    def _edges(self, part: Sequence[Sample]) -> tuple[int, int]:
        """The first frame of samples and the one after the last: where the picture changes at once between a sample
        that is one and a neighbour that is not, else the samples themselves and, at the end, half an interval more."""
        frames = [one.frame for one in self.samples]
        first, last = frames.index(part[0].frame), frames.index(part[-1].frame)
        earlier = frames[first - 1] if first else -1
        later = frames[last + 1] if last + 1 < len(frames) else self.frames
        before = self.jumps[(self.jumps > earlier) & (self.jumps <= part[0].frame)]
        after = self.jumps[(self.jumps > part[-1].frame) & (self.jumps <= later)]
        start = int(before[-1]) if len(before) else (0 if first == 0 else part[0].frame)
        stop = int(after[0]) if len(after) else (self.frames if later == self.frames else (part[-1].frame + later) // 2)
        return start, stop

    def _in_bars(self, frame: int) -> bool:
        return any(run.start <= frame < run.stop for run in self.bars)

    def _uncovered_ms(self, stop: int, covered: Iterable[tuple[int, int]]) -> int:
        """How much of the frames before `stop` none of the spans covers."""
        free = np.ones(stop, bool)
        for start, end in covered:
            free[start:end] = False
        return round(float(free.sum()) * self._frame_ms)
