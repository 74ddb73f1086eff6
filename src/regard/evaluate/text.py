"""How well text is found and read in street photos, by the protocol of ICDAR 2015's challenge 4.

Karatzas et al., "ICDAR 2015 competition on Robust Reading": a word counts as found if it overlaps a true one by
half (intersection over union), and as read if its text is the same but for the case of letters. Words that
people could not read are marked; what is found there counts neither for nor against. The parameters were chosen
and the confidence was fitted on the photos with even numbers; those with odd numbers were held apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.evaluate.result import Cell, Evaluation, Figure, Plot, Progress, Result, Series, Table
from regard.evaluate.statistics import interval, reliability, resampled
from regard.vision.engines import Engines
from regard.vision.text import Word

FOLDER = "icdar2015"
_UNREADABLE = "###"
_OVERLAP = 0.5
# Word spotting looks for words of a dictionary: this many letters or more, punctuation aside.
_SHORTEST = 3
_PUNCTUATION = str.maketrans(dict.fromkeys("'!?.:,*\"()·[]/", " "))
_USUAL_FILTER = 80.0  # percent: AWS's default of a WordFilter
_HEIGHTS = (0, 15, 25, np.inf)

Same = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Truth:
    """A true word: corners float32 [4, 2] in pixels, and its text, None where it is to be ignored."""

    corners: NDArray[np.float32]
    text: str | None


@dataclass(frozen=True, slots=True)
class Photo:
    """What is in a photo and what was found there. `held_out`: nothing was chosen on it."""

    truths: tuple[Truth, ...]
    words: tuple[Word, ...]
    held_out: bool


@dataclass(frozen=True, slots=True)
class Matches:
    """For each word whether it is right, None where that does not count; for each truth whether a right word has it."""

    right: tuple[bool | None, ...]
    taken: tuple[bool, ...]


def truths(path: Path) -> tuple[Truth, ...]:
    """The words of a file of ground truth: eight numbers and the text in each line."""
    found = []
    for line in path.read_text("utf-8-sig").splitlines():
        *corners, text = line.split(",", 8)
        found.append(Truth(np.array(corners, np.float32).reshape(4, 2), None if text == _UNREADABLE else text))
    return tuple(found)


def match(words: Sequence[Word], truths: Sequence[Truth], same: Same) -> Matches:
    """Each word with the first true word that it overlaps by half and that is the `same`; each has one at most."""
    taken = [False] * len(truths)

    def right(word: Word) -> bool | None:
        overlaps = [_overlap(word.corners, truth.corners) for truth in truths]
        if any(truth.text is None and share > _OVERLAP for truth, (_, share) in zip(truths, overlaps, strict=True)):
            return None
        for i, (truth, (overlap, _)) in enumerate(zip(truths, overlaps, strict=True)):
            if truth.text is not None and overlap >= _OVERLAP and not taken[i] and same(word.text, truth.text):
                taken[i] = True
                return True
        return False

    return Matches(tuple(right(word) for word in words), tuple(taken))


def same_text(read: str, true: str) -> bool:
    """Equal but for the case of letters."""
    return read.casefold() == true.casefold()


def dictionary_word(text: str) -> str | None:
    """The word that a dictionary would list: without punctuation around it, None for what is no word."""
    bare = text.removesuffix("'s").removesuffix("'S").strip("-").translate(_PUNCTUATION).strip()
    return bare if len(bare) >= _SHORTEST and all(letter.isalpha() or letter == "-" for letter in bare) else None


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[float, float]:
    """Intersection over union of two quadrilaterals, and the share of `a` that lies in `b`."""
    first, second = cv2.convexHull(a), cv2.convexHull(b)
    shared = cv2.intersectConvexConvex(first, second)[0]
    area = cv2.contourArea(first)
    return shared / max(area + cv2.contourArea(second) - shared, 1e-6), shared / max(area, 1e-6)


def _detection(photo: Photo) -> Matches:
    return match(photo.words, photo.truths, lambda *_: True)


def _end_to_end(photo: Photo) -> Matches:
    return match(photo.words, photo.truths, same_text)


def _surely(photo: Photo) -> Matches:
    return _end_to_end(replace(photo, words=tuple(word for word in photo.words if word.confidence >= _USUAL_FILTER)))


def _spotting(photo: Photo) -> Matches:
    words = tuple(replace(truth, text=truth.text and dictionary_word(truth.text)) for truth in photo.truths)
    return match(photo.words, words, same_text)


_PROTOCOLS = (
    ("detection", "Words found", _detection),
    ("end_to_end", "Words found and read", _end_to_end),
    ("end_to_end_80", f"The same, of words with a confidence of {_USUAL_FILTER:.0f} or more", _surely),
    ("word_spotting", "Dictionary words found and read (word spotting)", _spotting),
)


def _counts(matches: Matches, photo: Photo, protocol: str) -> tuple[int, int, int]:
    """Right words, all words that count, true words that count."""
    counted = [
        truth.text is not None and (protocol != "word_spotting" or dictionary_word(truth.text) is not None)
        for truth in photo.truths
    ]
    return matches.right.count(True), len(matches.right) - matches.right.count(None), sum(counted)


def _rates(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Precision, recall and their harmonic mean F, of counts [photos, 3]."""
    right, found, true = counts.sum(0)
    return np.array([right / max(found, 1), right / max(true, 1), 2 * right / max(found + true, 1)])


def _measured(counts: NDArray[np.int64]) -> tuple[Cell, Cell, Cell]:
    """Precision, recall and F in percent, with 95 % intervals over photos."""
    values = 100 * _rates(counts)
    low, high = 100 * interval(resampled(lambda drawn: _rates(np.repeat(counts, drawn, axis=0)), len(counts)))
    precision, recall, f_score = (Cell(*map(float, ends)) for ends in zip(values, low, high, strict=True))
    return precision, recall, f_score


def _read_all(engines: Engines, folder: Path, progress: Progress) -> list[Photo]:
    photos = []
    files = sorted(folder.glob("img_*.jpg"), key=_number)
    for file in progress(files, "ICDAR 2015"):
        image = np.ascontiguousarray(np.asarray(cv2.imread(str(file)), np.uint8)[:, :, ::-1])
        words = tuple(word for line in engines.text.read(image) for word in line.words)
        photos.append(Photo(truths(folder / f"gt_{file.stem}.txt"), words, held_out=_number(file) % 2 == 1))
    return photos


def _number(file: Path) -> int:
    return int(file.stem.removeprefix("img_"))


def _run(engines: Engines, data: Path, progress: Progress) -> Result:
    photos = _read_all(engines, data / FOLDER, progress)
    held_out = [photo for photo in photos if photo.held_out]
    chosen_on = [photo for photo in photos if not photo.held_out]
    figures: list[Figure] = []
    rows: list[tuple[str | int | Cell, ...]] = []
    for name, title, protocol in _PROTOCOLS:
        for suffix, kind, part in (("", "all", photos), ("_held_out", "held apart", held_out), ("", "", chosen_on)):
            counts = np.array([_counts(protocol(photo), photo, name) for photo in part])
            precision, recall, f_score = _measured(counts)
            rows.append((title, kind or "chosen on", len(part), precision, recall, f_score))
            if kind:
                figures.append(
                    Figure(
                        f"{name}_f{suffix}",
                        f"{title}: F-score, photos {kind}" if suffix else f"{title}: F-score",
                        f_score.value,
                        "%",
                        int(counts[:, 2].sum()),
                        f_score.low,
                        f_score.high,
                        "higher",
                    )
                )
    calibration, plot = _calibration(held_out)
    return Result(
        f"{len(photos)} street photos of ICDAR 2015 (incidental scene text) with "
        f"{sum(truth.text is not None for photo in photos for truth in photo.truths)} legible words.",
        (*figures, calibration),
        (
            Table("Words", ("Measure", "Photos", "Count", "Precision %", "Recall %", "F %"), tuple(rows)),
            _losses(photos),
        ),
        (plot,),
        ("Single letters and signs that the ground truth does not list count as wrong.",),
    )


def _calibration(photos: Sequence[Photo]) -> tuple[Figure, Plot]:
    """How far the confidence of a word is from the share of such words that are right."""
    judged = [
        [
            (word.confidence / 100, bool(right))
            for word, right in zip(photo.words, _end_to_end(photo).right, strict=True)
            if right is not None
        ]
        for photo in photos
    ]

    def of(drawn: NDArray[np.int64]) -> float:
        return reliability(*_columns(judged, drawn)).error

    every = np.ones(len(judged), np.int64)
    low, high = interval(resampled(of, len(judged)))
    measured = reliability(*_columns(judged, every))
    figure = Figure(
        "calibration_error",
        "Confidence of words: expected calibration error, photos held apart",
        100 * measured.error,
        "points",
        int(measured.count.sum()),
        100 * float(low),
        100 * float(high),
        "lower",
    )
    bins = Series("words", tuple(map(float, measured.probability)), tuple(map(float, measured.share)))
    return figure, Plot("Confidence of words", "line", "Confidence", "Share that is right", (bins,), diagonal=True)


def _columns(
    judged: Sequence[Sequence[tuple[float, bool]]], drawn: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidences and what was right, of photos of which each counts so many times."""
    rows = [row for rows, times in zip(judged, drawn, strict=True) for row in [*rows] * int(times)]
    return np.array([row[0] for row in rows], np.float64), np.array([row[1] for row in rows], bool)


def _losses(photos: Sequence[Photo]) -> Table:
    """What became of the legible words, by their height in pixels."""
    rows: list[tuple[str | int | Cell, ...]] = []
    for low, high in pairwise(_HEIGHTS):
        fates = [
            fate
            for photo in photos
            for truth, fate in zip(photo.truths, _fates(photo), strict=True)
            if truth.text is not None and low <= _height(truth) < high
        ]
        title = f"{low} to {high:.0f}" if np.isfinite(high) else f"{low} and more"
        rows.append((title, len(fates), *(fates.count(fate) for fate in _FATES)))
    return Table("What became of legible words, by height in pixels", ("Height", "Words", *_FATES), tuple(rows))


_FATES = ("read", "read wrongly", "cut otherwise", "not answered")


def _fates(photo: Photo) -> list[str]:
    """Of each true word: read; found, but read as something else; found as part of another; or not answered at all."""
    read, found = _end_to_end(photo).taken, _detection(photo).taken
    return [
        _FATES[0]
        if read[i]
        else _FATES[1]
        if found[i]
        else _FATES[2]
        if any(_overlap(truth.corners, word.corners)[1] > _OVERLAP for word in photo.words)
        else _FATES[3]
        for i, truth in enumerate(photo.truths)
    ]


def _height(truth: Truth) -> float:
    edges = np.linalg.norm(truth.corners[[3, 2]] - truth.corners[[0, 1]], axis=1)
    return float(edges.mean())


ICDAR2015 = Evaluation(
    "icdar2015",
    "Text in street photos",
    ("text_detection", "text_recognition"),
    (FOLDER,),
    _run,
    fast=False,
)
EVALUATIONS = (ICDAR2015,)
