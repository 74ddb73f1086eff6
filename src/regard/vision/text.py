"""Text in a picture: lines and the words in them, each with the rectangle around it, at whatever angle.

A detector finds pieces of lines. Each is straightened and read, what was read is cut at spaces into words, and
pieces that continue each other become one line. To find text without reading it is cheap, see `TextReader.find`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from regard.settings import Settings
from regard.vision import models
from regard.vision.geometry import straighten
from regard.vision.models import ModelError
from regard.vision.spreading import Spreader
from regard.vision.text_detection import Corners, Strip, TextDetector, degrees, sides
from regard.vision.text_recognition import HEIGHT, LONGEST, Character, TextRecogniser

GLANCE, GLANCED = 512 * 288, 2
VERSION = "PP-OCRv6-1.0"
MAX_WORDS = 100

# Words that are less probably right, in percent, are not told. The F-score is best where this is half of it (Lipton,
# Elkan and Naryanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", 2014).
LEAST_CONFIDENCE = 35.0
# No network is surer than this: above, its log-odds say nothing about how often it is right.
_DOUBT = 0.01
# The rim that the recogniser gets around a strip's core, see `Strip.grown`; with less, first and last letters
# are lost, with more, neighbours come in.
_RIM_ALONG, _RIM_ACROSS = 2.4, 1.8
# A strip that is steeper than this may run upwards or downwards: it is read both ways, and the surer one counts.
_STEEP = 60.0
# One that is no longer than this many times its height may also be a tall upright letter.
_SINGLE = 2.5
# A letter's share of the distance between letters' centres, by which a word reaches beyond the outer ones.
_HALF_LETTER = 0.6
# A piece continues a line if it is turned by at most so many degrees against it, not much higher or lower, and
# offset across it and away from its end by at most so many heights.
_SAME_DEGREES = 15.0
_SAME_HEIGHT = 1.6
_OFFSET = 0.4
_GAP = -0.6, 1.0


@dataclass(frozen=True, slots=True)
class Word:
    """A word: what stands between spaces.

    `corners` float32 [4, 2] are pixels of the picture, see `text_detection.Corners`. `confidence` is the
    probability in percent that the text is right and the rectangle is around it, see `Calibration`.
    """

    text: str
    corners: Corners
    confidence: float


@dataclass(frozen=True, slots=True)
class Line:
    """Words that follow one another, in reading order. `corners` are of the rectangle around them."""

    words: tuple[Word, ...]
    corners: Corners

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def confidence(self) -> float:
        """The mean of the words' in percent: which share of them is right, as far as can be expected."""
        return sum(word.confidence for word in self.words) / len(self.words)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How probable it is that a word is right, by a logistic function of two numbers that the networks give.

    They are the log-odds of the geometric mean of its characters' probabilities, and those of its strip's score.
    The function is fitted to street photos (Platt, "Probabilistic outputs for support vector machines", 1999).
    """

    characters: float
    score: float
    offset: float

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a calibration file; its other entries say what was measured."""
        data = json.loads(path.read_text("utf-8"))
        return cls(data["characters"], data["score"], data["offset"])

    def confidence(self, characters: Sequence[Character], score: float) -> float:
        """The probability in percent for a word of these characters in a strip with this score."""
        read, found = evidence(characters, score)
        return 100 / (1 + float(np.exp(-(self.characters * read + self.score * found + self.offset))))


def evidence(characters: Sequence[Character], score: float) -> tuple[float, float]:
    """The two numbers that `Calibration` judges a word by."""
    mean = np.exp(np.mean([np.log(character.probability) for character in characters]))
    read, found = (np.clip(share, _DOUBT, 1 - _DOUBT) for share in (mean, score))
    return float(np.log(read / (1 - read))), float(np.log(found / (1 - found)))


@dataclass(frozen=True, slots=True)
class TextReader:
    """The networks for text. Any number of threads may use it at once.

    Pictures are RGB uint8 [h, w, 3].
    """

    detector: TextDetector
    recogniser: TextRecogniser
    calibration: Calibration
    _spreader: Spreader

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Compile both networks. Raises `models.ModelError` if one is missing or cannot be read."""
        cache, compiled = settings.cache, settings.cache / "compiled"
        threads, device = settings.threads, settings.device
        try:
            return cls(
                TextDetector(models.path("text_detection", cache), threads=threads, device=device, cache=compiled),
                TextRecogniser(models.path("text_recognition", cache), threads=threads, device=device, cache=compiled),
                Calibration.load(models.WEIGHTS / "text_recognition" / "calibration.json"),
                Spreader(threads, "text"),
            )
        except Exception as error:  # whatever OpenVINO or ONNX find wrong
            raise ModelError(f"a network cannot be read, see `regard models verify`: {error}") from error

    def find(self, image: NDArray[np.uint8]) -> list[Strip]:
        """The pieces of text in a picture, unread, in reading order."""
        strips = self.detector.find(image)
        return [strips[i] for i in reading_order([strip.corners for strip in strips])]

    def glance(self, image: NDArray[np.uint8]) -> float:
        """How probable it is that there is text in a picture, 0–1: that a word which is read there is right.

        Cheap, and so it misses small letters: it looks at `GLANCE` pixels and reads the `GLANCED` highest strips.
        """
        strips = sorted(self.detector.find(image, GLANCE), key=lambda strip: -sides(strip.core)[1])
        words = [word for strip in strips[:GLANCED] for word in self.words(image, strip)]
        return max((word.confidence for word in words), default=0.0) / 100

    def read(
        self,
        image: NDArray[np.uint8],
        strips: Sequence[Strip] | None = None,
        words_in: Callable[[Strip], list[Word]] | None = None,
    ) -> list[Line]:
        """The lines in a picture in reading order, or those in some strips of what `find` gave.

        At most `MAX_WORDS` words are read, those that come first. `words_in` stands for `words` where some strips
        have been read before; it is called from several threads.
        """
        if words_in is None:
            words_in = partial(self.words, image)
        words: list[list[Word]] = []
        left = MAX_WORDS
        for part in _parts(self.find(image) if strips is None else strips, MAX_WORDS // 4):
            for found in self._spreader.each(words_in, part):
                words.append(found[:left])
                left -= len(words[-1])
            if left == 0:
                break
        lines = [line_of(pieces) for pieces in _joined([piece for piece in words if piece])]
        return [lines[i] for i in reading_order([line.corners for line in lines])]

    def words(self, image: NDArray[np.uint8], strip: Strip) -> list[Word]:
        """The words in a strip, from its start to its end."""
        return [
            Word("".join(character.text for character in characters), corners, confidence)
            for characters, corners in self.spell(image, strip)
            if (confidence := self.calibration.confidence(characters, strip.score)) >= LEAST_CONFIDENCE
        ]

    def spell(self, image: NDArray[np.uint8], strip: Strip) -> list[tuple[list[Character], Corners]]:
        """The characters of each word in a strip, however unsure, and the rectangle around the word."""
        readings = ((way, self._characters(image, way)) for way in _ways(strip))
        return list(_split(*max(readings, key=lambda reading: _certainty(reading[1]))))

    def _characters(self, image: NDArray[np.uint8], strip: Strip) -> list[Character]:
        return self.recogniser.read(straighten(image, _seen(strip), (_length(strip), HEIGHT)))


def line_of(words: Sequence[Word]) -> Line:
    """The line of some words in order, one or more, with the smallest rectangle in the first one's direction."""
    corners = words[0].corners
    axes = np.array([corners[1] - corners[0], corners[3] - corners[0]], np.float64)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    places = np.concatenate([word.corners for word in words]) @ axes.T
    (left, top), (right, bottom) = places.min(0), places.max(0)
    around = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) @ axes
    return Line(tuple(words), np.asarray(around, np.float32))


def reading_order(rectangles: Sequence[Corners]) -> list[int]:
    """The places of rectangles in the order in which they are read: rows from the top, each from its start.

    The page may be turned: the middle one of the rectangles' directions is taken for the horizontal. Columns
    are not told apart.
    """
    if not rectangles:
        return []
    turned = np.radians(np.median([degrees(corners) for corners in rectangles]))
    across = np.array([-np.sin(turned), np.cos(turned)])
    along = np.array([np.cos(turned), np.sin(turned)])
    centres = np.array([corners.mean(0) for corners in rectangles])
    down, start = centres @ across, centres @ along
    order: list[int] = []
    row: list[int] = []
    for i in np.argsort(down, kind="stable").tolist():
        if row and down[i] - down[row[0]] > sides(rectangles[row[0]])[1] / 2:
            order += sorted(row, key=lambda j: start[j])
            row = []
        row.append(i)
    return order + sorted(row, key=lambda j: start[j])


def _parts(strips: Sequence[Strip], size: int) -> Iterator[Sequence[Strip]]:
    for first in range(0, len(strips), size):
        yield strips[first : first + size]


def _ways(strip: Strip) -> Iterator[Strip]:
    """The strip in each direction in which it may have to be read."""
    yield strip
    turned = degrees(strip.core)
    if abs(turned) > _STEEP:
        yield replace(strip, core=np.roll(strip.core, 2, axis=0))
        width, height = sides(strip.core)
        if width < _SINGLE * height:
            yield replace(strip, core=np.roll(strip.core, 1 if turned > 0 else -1, axis=0))


def _certainty(characters: Sequence[Character]) -> float:
    return float(np.mean([character.probability for character in characters])) if characters else 0.0


def _seen(strip: Strip) -> Corners:
    """The rectangle that the recogniser sees of a strip."""
    return strip.grown(_RIM_ALONG, _RIM_ACROSS)


def _length(strip: Strip) -> int:
    """How long the recogniser sees a strip, in its pixels."""
    width, height = sides(_seen(strip))
    return min(max(round(width / height * HEIGHT), 1), LONGEST)


def _split(strip: Strip, characters: Sequence[Character]) -> Iterator[tuple[list[Character], Corners]]:
    """The letters of each word and the part of the strip in which they stand.

    The first and the last word reach to the strip's ends; in between a word reaches half a letter's width beyond
    the centres of its outer letters, as far as there is room.
    """
    words = [list(letters) for blank, letters in groupby(characters, lambda one: one.text == " ") if not blank]
    centres = [[(letter.start + letter.end) / 2 for letter in letters] for letters in words]
    pitch = float(np.median([b - a for inside in centres for a, b in pairwise(inside)] or [HEIGHT / 2]))
    middles = [(before[-1] + after[0]) / 2 for before, after in pairwise(centres)]
    seen, corners = sides(_seen(strip))[0], strip.corners
    shown = sides(corners)[0]

    def share(place: float) -> float:
        """Of the strip's length; `place` is a pixel of the recogniser's."""
        return ((place / _length(strip) - 0.5) * seen / shown) + 0.5

    reach = _HALF_LETTER * pitch
    starts = [max(inside[0] - reach, middle) for middle, inside in zip(middles, centres[1:], strict=True)]
    ends = [min(inside[-1] + reach, middle) for middle, inside in zip(middles, centres, strict=False)]
    edges = zip([0.0, *map(share, starts)], [*map(share, ends), 1.0], strict=True)
    for letters, (start, end) in zip(words, edges, strict=False):
        yield letters, _part(corners, start, end)


def _part(corners: Corners, start: float, end: float) -> Corners:
    """The part of a rectangle between two shares of its length."""
    upper, lower, along = corners[0], corners[3], corners[1] - corners[0]
    part = [upper + along * start, upper + along * end, lower + along * end, lower + along * start]
    return np.array(part, np.float32)


def _joined(pieces: Sequence[Sequence[Word]]) -> Iterable[list[Word]]:
    """The words of each line; a line is one piece, or several that continue one another."""
    lines = [line_of(piece) for piece in pieces]
    gaps = sorted(
        (gap, i, j)
        for i, before in enumerate(lines)
        for j, after in enumerate(lines)
        if i != j and (gap := _gap(before, after)) is not None
    )
    following: dict[int, int] = {}
    preceded: set[int] = set()
    for _, i, j in gaps:
        if i not in following and j not in preceded and _last(following, j) != i:
            following[i] = j
            preceded.add(j)
    for first in set(range(len(pieces))) - preceded:
        words, place = list(pieces[first]), first
        while place in following:
            place = following[place]
            words += pieces[place]
        yield words


def _last(following: Mapping[int, int], place: int) -> int:
    while place in following:
        place = following[place]
    return place


def _gap(before: Line, after: Line) -> float | None:
    """How far `after` is from the end of `before` that it continues, in heights; None if it does not."""
    turned = (degrees(after.corners) - degrees(before.corners) + 180) % 360 - 180
    height, other = sides(before.corners)[1], sides(after.corners)[1]
    if abs(turned) > _SAME_DEGREES or max(height, other) > _SAME_HEIGHT * min(height, other):
        return None
    end, start = before.corners[[1, 2]].mean(0), after.corners[[0, 3]].mean(0)
    right = (before.corners[1] - before.corners[0]) / sides(before.corners)[0]
    x, y = (start - end) / height
    gap, offset = x * right[0] + y * right[1], y * right[0] - x * right[1]
    return float(gap) if abs(offset) <= _OFFSET and _GAP[0] <= gap <= _GAP[1] else None
