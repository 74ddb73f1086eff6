"""Whether two pictures show one person: error rates on public pair lists and on a folder of one's own.

Each picture goes the whole way: decode, find the faces, take the main one, align, embed; each pair goes
through the engine's own comparison. Scores are Similarity, so thresholds are those that a client would ask
for. Pictures without a face are counted apart, as ISO/IEC 19795-1 asks; in the accuracy of a pair list their
pairs are wrong.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regard.evaluate import groups, statistics
from regard.evaluate.groups import cell, percent
from regard.evaluate.portraits import Portrait, look, rows, similarities
from regard.evaluate.result import Cell, Evaluation, Figure, Plot, Progress, Result, Series, Table, Unit
from regard.evaluate.statistics import Bools, Comparisons, ErrorRates, Floats
from regard.media.images import SUFFIXES
from regard.vision.engines import Engines
from regard.vision.similarity import MEANING

NETWORKS = ("yunet", "face_mesh", "sface")
TARGETS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
LEVELS = tuple((similarity, 10.0**exponent) for similarity, exponent in MEANING if similarity)
FOLDS = 10
CURVE = 200  # points of a plotted curve
MARGIN = 4.0


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of pictures, as indices [n, 2] into `paths`; the folder that a picture is in names its person."""

    paths: list[Path]
    people: list[str]
    pairs: NDArray[np.intp]
    same: Bools
    folds: NDArray[np.int64] | None = None


def listed(folder: Path, name: str) -> Pairs:
    """A list of pairs: CSV with same (0 or 1), a, b (PERSON/…/PICTURE) and, if there are folds, fold.

    A list without folds gets ten by the person of its first picture.
    """
    lines = rows(folder / name)
    names = sorted({line[side] for line in lines for side in "ab"})
    place = {picture: number for number, picture in enumerate(names)}
    pairs = np.array([[place[line["a"]], place[line["b"]]] for line in lines])
    people = [picture.split("/")[0] for picture in names]
    number = {person: i for i, person in enumerate(sorted(set(people)))}
    folds = [int(line["fold"]) if "fold" in line else number[people[place[line["a"]]]] % FOLDS for line in lines]
    same = np.array([line["same"] == "1" for line in lines])
    return Pairs([folder / picture for picture in names], people, pairs, same, np.array(folds))


def crossed(folder: Path) -> Pairs:
    """Every picture of FOLDER/PERSON/PICTURE with every other."""
    paths = [path for pictures in by_person(folder).values() for path in pictures]
    people = [path.parent.name for path in paths]
    pairs = np.stack(np.triu_indices(len(paths), 1), 1)
    return Pairs(paths, people, pairs, _same(people, pairs))


def faced(folder: Path, first: str, second: str) -> Pairs:
    """Every picture FOLDER/PERSON/first/… with every FOLDER/PERSON/second/…."""
    sides = [sorted(folder.glob(f"*/{side}/*")) for side in (first, second)]
    paths = sides[0] + sides[1]
    people = [path.parent.parent.name for path in paths]
    ones, others = np.indices([len(side) for side in sides]).reshape(2, -1)
    pairs = np.stack([ones, others + len(sides[0])], 1)
    return Pairs(paths, people, pairs, _same(people, pairs))


def by_person(folder: Path) -> dict[str, list[Path]]:
    """The pictures of each person in FOLDER/PERSON/PICTURE, sorted."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() in SUFFIXES:
            found[path.parent.name].append(path)
    return dict(found)


def _same(people: Sequence[str], pairs: NDArray[np.intp]) -> Bools:
    number = _subjects(people)
    return np.asarray(number[pairs[:, 0]] == number[pairs[:, 1]], bool)


@dataclass(frozen=True, slots=True)
class Question:
    """A share 0–1 that a curve answers, on how many trials; `note` says why it is not asked."""

    name: str
    title: str
    unit: Unit
    ask: Callable[[ErrorRates], float]
    trials: int
    better: Literal["higher", "lower"]
    note: str = ""


def questions(genuine: int, impostors: int) -> list[Question]:
    """What is asked of so many comparisons of either kind."""
    asked = [Question("eer", "Equal error rate", "%", ErrorRates.eer, min(genuine, impostors), "lower")]
    for rate in TARGETS:
        title = f"Genuine pairs lost at a false match rate of {one_in(rate)}"
        note = _too_few(impostors, rate)
        asked.append(Question(_at_rate(rate), title, "%", partial(_fnmr_at, rate), genuine, "lower", note))
    for level, rate in LEVELS:
        name, title = f"genuine-at-{level:.0f}", f"Genuine pairs at Similarity {level:.0f}"
        asked.append(Question(name, title, "%", partial(_accepted_at, level), genuine, "higher"))
        name, title = f"strangers-at-{level:.0f}", f"Pairs of strangers at Similarity {level:.0f}"
        note = _too_few(impostors, rate)
        asked.append(Question(name, title, "rate", partial(_matched_at, level), impostors, "lower", note))
    return asked


def _at_rate(rate: float) -> str:
    return f"fnmr-at-fmr-1e{round(np.log10(rate))}"


def _fnmr_at(rate: float, curve: ErrorRates) -> float:
    return curve.at_fmr(rate)[1]


def _accepted_at(level: float, curve: ErrorRates) -> float:
    return 1 - curve.at(level)[1]


def _matched_at(level: float, curve: ErrorRates) -> float:
    return curve.at(level)[0]


def _too_few(impostors: int, rate: float) -> str:
    if statistics.enough(impostors, rate):
        return ""
    return f"{impostors:,} pairs of strangers are too few for a rate of {one_in(rate)}."


def one_in(rate: float) -> str:
    """A small rate in words."""
    return f"1 in {1 / rate:,.0f}"


def verify(engines: Engines, pairs: Pairs, progress: Progress, data: str) -> Result:
    """All figures of a set of pairs. `data` names it, for the sentence that says on what."""
    portraits = look(engines, pairs.paths, progress, data)
    found = np.array([portrait.main is not None for portrait in portraits], bool)
    usable = np.asarray(found[pairs.pairs].all(1), bool)
    scores = _scores(engines, portraits, found, pairs.pairs[usable])
    same, subjects = np.asarray(pairs.same[usable], bool), _subjects(pairs.people)
    told = (
        f"{data}: {len(pairs.paths):,} pictures of {subjects.max(initial=-1) + 1:,} people, "
        f"{pairs.same.sum():,} pairs of one person and {(~pairs.same).sum():,} of two; "
        f"{(~usable).sum():,} pairs not compared, as a picture shows no face."
    )
    failures = _failures(portraits)
    if same.all() or not same.any():
        note = "There must be pairs of one person and pairs of two, with a face in each picture."
        return Result(told, (*failures, Figure("eer", "Equal error rate", None, "%", len(same), note=note)))
    comparisons = Comparisons.of(scores, same, subjects[pairs.pairs[usable]])
    rates = comparisons.rates()
    answers = _answers(comparisons, rates)
    tables = (_at_rates(rates, answers, comparisons), _at_levels(rates, answers, comparisons))
    figures = (*_accuracy(pairs, usable, scores, subjects), *answers.values(), *failures)
    return Result(told, figures, tables, tuple(_curve(rates, comparisons)), NOTES)


NOTES = (
    "Intervals come from drawing people again, with all their pictures, not pairs.",
    "False match and false non-match rates are of the pairs in which both pictures show a face.",
)


def _subjects(people: Sequence[str]) -> NDArray[np.intp]:
    """The number of each picture's person."""
    return np.unique(np.array(people, str), return_inverse=True)[1].astype(np.intp)


def _scores(engines: Engines, portraits: Sequence[Portrait], found: Bools, pairs: NDArray[np.intp]) -> Floats:
    """The Similarity of each pair [n, 2]; every picture in it shows a face."""
    if not len(pairs):
        return np.empty(0)
    faces = [portrait for portrait in portraits if portrait.main is not None]
    place = np.cumsum(found) - 1
    return np.asarray(similarities(engines.faces, faces, faces)[place[pairs[:, 0]], place[pairs[:, 1]]])


def _failures(portraits: Sequence[Portrait]) -> list[Figure]:
    undetected = np.array([portrait.main is None for portrait in portraits], bool)
    refused = np.array([not portrait.enrolled for portrait in portraits], bool)
    return [
        percent("failure-to-detect", "Pictures in which no face is found", undetected, "lower"),
        percent("failure-to-enrol", "Pictures that QualityFilter AUTO refuses or that show no face", refused),
    ]


def _accuracy(pairs: Pairs, usable: Bools, scores: Floats, subjects: NDArray[np.intp]) -> list[Figure]:
    """The share of all listed pairs that are told right at the other folds' best threshold."""
    if pairs.folds is None:
        return []
    right = np.zeros(len(pairs.same), bool)
    right[usable] = statistics.cross_validated(scores, pairs.same[usable], pairs.folds[usable])
    first, second = subjects[pairs.pairs].T

    def accuracy(drawn: NDArray[np.int64]) -> float:
        weights = drawn[first] * np.where(pairs.same, 1, drawn[second])
        return float(np.average(right, weights=weights)) if weights.any() else float("nan")

    resampled = statistics.resampled(accuracy, int(subjects.max()) + 1)
    low, high = groups.proportion(right.sum(), len(right), resampled)
    title = "Pairs told right at the threshold that is best for the other folds"
    best = (scores >= statistics.best_threshold(scores, pairs.same[usable])) == pairs.same[usable]
    return [
        Figure("accuracy", title, 100 * float(right.mean()), "%", len(right), 100 * low, 100 * high, "higher"),
        Figure(
            "accuracy-at-best",
            "Pairs told right at the threshold that is best for themselves",
            100 * float(best.sum() / len(right)),
            "%",
            len(right),
            better="higher",
            note="As the literature often has it; a little too good, as the pairs chose the threshold.",
        ),
    ]


def _answers(comparisons: Comparisons, rates: ErrorRates) -> dict[str, Figure]:
    """The figure of each question, by name."""
    asked = questions(int(comparisons.same.sum()), comparisons.impostors)

    def answer(curve: ErrorRates) -> Floats:
        return np.array([question.ask(curve) for question in asked])

    values = answer(rates)
    # No draw of people moves what is asked for by so much; what scores lower is most of the work.
    head = comparisons.top(MARGIN * max(TARGETS[0], rates.eer(), rates.at(LEVELS[0][0])[0]))
    resampled = statistics.resampled(lambda drawn: answer(head.rates(drawn)), len(comparisons.below))
    return {
        question.name: _answered(question, float(value), column)
        for question, value, column in zip(asked, values, resampled.T, strict=True)
    }


def _answered(question: Question, value: float, resampled: Floats) -> Figure:
    if question.note:
        return Figure(question.name, question.title, None, question.unit, question.trials, note=question.note)
    low, high = groups.proportion(value * question.trials, question.trials, resampled)
    value, low, high = (100 * share if question.unit == "%" else share for share in (value, low, high))
    return Figure(question.name, question.title, value, question.unit, question.trials, low, high, question.better)


def _at_rates(rates: ErrorRates, answers: dict[str, Figure], comparisons: Comparisons) -> Table:
    lines = []
    for rate in TARGETS:
        lost = answers[_at_rate(rate)]
        threshold = None if lost.value is None else rates.at_fmr(rate)[0]
        # Above every stranger: what it would take is not known.
        known = threshold if threshold is not None and np.isfinite(threshold) else None
        lines.append((one_in(rate), Cell(known), cell(lost)))
    strangers = comparisons.impostors
    columns = ("False match rate", "Similarity", "Genuine pairs lost, %")
    return Table(
        "Genuine pairs lost at a false match rate", columns, tuple(lines), f"{strangers:,} pairs of strangers."
    )


def _at_levels(rates: ErrorRates, answers: dict[str, Figure], comparisons: Comparisons) -> Table:
    strangers = comparisons.impostors
    lines = tuple(
        (
            f"{level:.0f}",
            one_in(rate),
            cell(answers[f"genuine-at-{level:.0f}"]),
            round(strangers * rates.at(level)[0]),
            cell(answers[f"strangers-at-{level:.0f}"]),
        )
        for level, rate in LEVELS
    )
    columns = ("Similarity", "Stands for", "Genuine pairs that reach it, %", "Pairs of strangers", "False match rate")
    return Table("What reaches a Similarity", columns, lines, f"{strangers:,} pairs of strangers.")


def _curve(rates: ErrorRates, comparisons: Comparisons) -> list[Plot]:
    """The detection error trade-off, as far down as the rule of three lets it be read; no plot without errors."""
    lowest = min(statistics.EXPECTED_ERRORS / comparisons.impostors, 1.0)
    chosen = np.unique(np.searchsorted(rates.fmr, np.geomspace(lowest, 1, CURVE), side="right") - 1)
    chosen = chosen[(rates.fmr[chosen] > 0) & (rates.fnmr[chosen] > 0)]
    points = Series("FNMR", tuple(rates.fmr[chosen].tolist()), tuple(rates.fnmr[chosen].tolist()))
    title = "Detection error trade-off"
    plot = Plot(title, "line", "False match rate", "False non-match rate", (points,), x_log=True, y_log=True)
    return [plot] if len(chosen) else []


LFW = Evaluation(
    "lfw",
    "Verification: pairs of Labeled Faces in the Wild",
    NETWORKS,
    ("lfw/pairs.csv",),
    lambda engines, data, progress: verify(engines, listed(data / "lfw", "pairs.csv"), progress, "LFW"),
)
LFW_CROSS = Evaluation(
    "lfw-cross",
    "Verification: every picture of Labeled Faces in the Wild with every other",
    NETWORKS,
    ("lfw/pairs.csv",),
    lambda engines, data, progress: verify(engines, crossed(data / "lfw"), progress, "LFW, all pairs"),
)
CFP_FRONTAL = Evaluation(
    "cfp-frontal",
    "Verification: frontal pictures of Celebrities in Frontal-Profile",
    NETWORKS,
    ("cfp/pairs_FF.csv",),
    lambda engines, data, progress: verify(engines, listed(data / "cfp", "pairs_FF.csv"), progress, "CFP, frontal"),
)
CFP_PROFILE = Evaluation(
    "cfp-profile",
    "Verification: frontal against profile pictures of Celebrities in Frontal-Profile",
    NETWORKS,
    ("cfp/pairs_FP.csv",),
    lambda engines, data, progress: verify(engines, listed(data / "cfp", "pairs_FP.csv"), progress, "CFP, profile"),
)
CFP_CROSS = Evaluation(
    "cfp-cross",
    "Verification: every frontal picture of Celebrities in Frontal-Profile with every profile",
    NETWORKS,
    ("cfp/pairs_FP.csv",),
    lambda engines, data, progress: verify(
        engines, faced(data / "cfp", "frontal", "profile"), progress, "CFP, all frontal-profile pairs"
    ),
)
EVALUATIONS = (LFW, LFW_CROSS, CFP_FRONTAL, CFP_PROFILE, CFP_CROSS)


def people(folder: Path) -> Evaluation:
    """The same figures for one's own pictures, FOLDER/PERSON/PICTURE (JPEG or PNG), each pair of them."""
    return Evaluation(
        "people",
        "Verification: your people",
        NETWORKS,
        (),
        lambda engines, _, progress: verify(engines, crossed(folder), progress, folder.name),
    )
