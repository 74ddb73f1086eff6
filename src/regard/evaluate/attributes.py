"""What is said about faces, against what people saw in them: gender, age, visible attributes, expression.

The labels are impressions of annotators, not facts about persons; so is what is measured here. What is asked
is how often the answers agree, whether a Confidence of 90 agrees in 90 of 100 cases (the expected calibration
error), and for whom it is worse.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.evaluate import fairface, groups, statistics
from regard.evaluate.fairface import Labelled
from regard.evaluate.groups import Group, Kind, Rows, percent
from regard.evaluate.portraits import rows
from regard.evaluate.result import Cell, Evaluation, Figure, Plot, Progress, Result, Series, Table, Unit
from regard.evaluate.statistics import Bools, Floats
from regard.vision.attributes import AGE_EDGES, Answer
from regard.vision.engines import Engines
from regard.vision.faces import Face
from regard.vision.models import WEIGHTS

NETWORKS = ("yunet", "face_mesh", "face_attributes")
LEAST = 10  # faces with and without an attribute, and faces of a group, below which no curve or mean is given
FEMALE = "Female"
IMPRESSION = "The labels are what annotators saw in a picture, not what a person is."


def probability(answer: Answer[Any] | None, yes: Any = True) -> float:
    """The probability 0–1 that the answer is `yes`. Raises `ValueError` if the attribute was not asked for."""
    if answer is None:
        raise ValueError("the attribute was not asked for")
    share = answer.confidence / 100
    return share if answer.value == yes else 1 - share


def _with_faces(
    engines: Engines, pictures: Sequence[Labelled], progress: Progress
) -> tuple[list[Labelled], list[Face]]:
    """The pictures in which a face is found, and the main faces."""
    found, seen = fairface.with_faces(engines, pictures, progress)
    return found, [portrait.main for portrait in seen if portrait.main]


def _told(faces: Sequence[Face], of: Sequence[Labelled]) -> str:
    return f"FairFace validation: {len(faces):,} of {len(of):,} pictures show a face that is found."


def gender(engines: Engines, data: Path, progress: Progress) -> Result:
    """Gender as labelled, and its Confidence, overall and per group."""
    everybody = fairface.labelled(data)
    pictures, faces = _with_faces(engines, everybody, progress)
    female = np.array([picture.gender == FEMALE for picture in pictures], bool)
    said = np.array([probability(face.gender, FEMALE) for face in faces])
    right = (said > 0.5) == female
    adult = np.array([picture.age in fairface.ADULTS for picture in pictures], bool)
    confidence = np.maximum(said, 1 - said)
    figures = [
        percent("accuracy", "Gender as labelled", right, "higher"),
        percent("accuracy-adults", "Gender as labelled, 20 and older", right[adult], "higher"),
        calibration("ece", "Calibration error of Gender's Confidence", confidence, right),
    ]
    kind = Kind("error", "Gender other than labelled")
    more, tables, plots = groups.by_group(kind, fairface.groupings(pictures), ~right)
    called_female = _by_race(pictures, ~right, ~female)
    called_male = _by_race(pictures, ~right, female)
    title = "GARBE over race, of men called women and women called men"
    figures += [*more, groups.garbe("race-garbe", title, called_female, called_male)]
    tables += [
        groups.table(Kind("", "Men called women"), "Men called women", called_female, groups.rate(called_female)),
        groups.table(Kind("", "Women called men"), "Women called men", called_male, groups.rate(called_male)),
    ]
    plots.append(reliability("Gender's Confidence", {"Gender": (confidence, right)}))
    return Result(_told(faces, everybody), tuple(figures), tuple(tables), tuple(plots), (IMPRESSION, groups.CHANCE))


def _by_race(pictures: Sequence[Labelled], wrong: Bools, chosen: Bools) -> list[Group]:
    races = [picture.race for picture, counts in zip(pictures, chosen, strict=True) if counts]
    return groups.of_faces(races, wrong[chosen], sorted({picture.race for picture in pictures}))


def calibration(name: str, title: str, confidence: Floats, right: Bools) -> Figure:
    """The expected calibration error in percentage points, of answers [faces] or [faces, answers each].

    Faces are drawn again, with all their answers.
    """
    if len(right) < LEAST:
        return Figure(name, title, None, "points", len(right), note=f"Fewer than {LEAST} faces.")

    def error(drawn: NDArray[np.int64]) -> float:
        chosen = statistics.places(drawn)
        return statistics.reliability(confidence[chosen].ravel(), right[chosen].ravel()).error

    low, high = statistics.interval(statistics.resampled(error, len(right)))
    value = error(np.ones(len(right), np.int64))
    note = "With few faces it is above 0 even for perfect probabilities, and its interval lies too high."
    return Figure(name, title, 100 * value, "points", len(right), 100 * min(low, value), 100 * high, "lower", note)


def reliability(title: str, told: Mapping[str, tuple[Floats, Bools]]) -> Plot:
    """Probabilities against how often they were right."""
    series = []
    for label, (probabilities, right) in told.items():
        curve = statistics.reliability(probabilities, right)
        series.append(Series(label, tuple((100 * curve.probability).tolist()), tuple((100 * curve.share).tolist())))
    return Plot(title, "line", "Confidence, %", "Right, %", tuple(series), diagonal=True)


def mean(name: str, title: str, values: Floats, unit: Unit) -> Figure:
    """The mean of a value per face, with faces drawn again."""
    if len(values) < LEAST:
        return Figure(name, title, None, unit, len(values), note=f"Fewer than {LEAST} faces.")
    low, high = statistics.interval(
        statistics.resampled(lambda drawn: float(np.average(values, weights=drawn)), len(values))
    )
    return Figure(name, title, float(values.mean()), unit, len(values), float(low), float(high), "lower")


@dataclass(frozen=True, slots=True, eq=False)
class Ages:
    """Per face: the share 0–1 of the labelled bin that AgeRange holds, AgeRange's width, and the distance of
    its middle from the bin's middle, in years."""

    inside: Floats
    width: Floats
    error: Floats


def ages(said: Sequence[tuple[int, int]], labels: Sequence[str]) -> Ages:
    """AgeRange beside the labelled bins, in which ages are taken as evenly spread."""
    bins = np.array([fairface.AGES.index(label) for label in labels], int)
    first, last = (np.array(AGE_EDGES, np.float64)[bins + step] for step in (0, 1))
    low, high = np.array(said, np.float64).reshape(-1, 2).T
    inside = np.clip(np.minimum(high, last) - np.maximum(low, first), 0, None) / (last - first)
    return Ages(inside, high - low, np.abs(low + high - first - last) / 2)


def age(engines: Engines, data: Path, progress: Progress) -> Result:
    """AgeRange beside the labelled ages, overall and per group."""
    everybody = fairface.labelled(data)
    pictures, faces = _with_faces(engines, everybody, progress)
    found = ages([face.age_range or (0, 0) for face in faces], [picture.age for picture in pictures])
    held = mean("inside", "Labelled age within AgeRange", 100 * found.inside, "%")
    figures = [
        replace(held, better="higher"),
        mean("width", "Width of AgeRange", found.width, "years"),
        mean("error", "From AgeRange's middle to the labelled bin's", found.error, "years"),
    ]
    kind = Kind("missed", "AgeRange outside the labelled bin")
    more, tables, plots = groups.by_group(kind, fairface.groupings(pictures), found.inside == 0)
    lines = [
        (
            name,
            int(here.sum()),
            groups.cell(mean("", "", 100 * found.inside[here], "%")),
            groups.cell(mean("", "", found.width[here], "years")),
            groups.cell(mean("", "", found.error[here], "years")),
        )
        for _, _, labels, order in fairface.groupings(pictures)
        for name in order
        for here in [np.array(labels) == name]
    ]
    columns = ("Group", "Faces", "Age within AgeRange, %", "Width, years", "Middle to middle, years")
    tables.insert(0, Table("AgeRange by group", columns, tuple(lines)))
    notes = (IMPRESSION, "Ages are taken as evenly spread in their bin.", groups.CHANCE)
    return Result(_told(faces, everybody), (*figures, *more), tuple(tables), tuple(plots), notes)


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Probabilities 0–1 that something is so, `said` [n], and whether it was annotated, `true` [n]."""

    said: Floats
    true: Bools

    def right(self) -> Bools:
        return np.asarray((self.said > 0.5) == self.true, bool)

    def confidence(self) -> Floats:
        return np.maximum(self.said, 1 - self.said)

    def ranked(self, name: str) -> list[Figure]:
        """How well it ranks and how much of it is found."""
        label = name.replace("_", " ")
        return [
            self._ranking(f"{name}-auc", f"{label}: area under the ROC curve"),
            self._recall(f"{name}-recall", f"{label}: found of those annotated"),
        ]

    def agreed(self, name: str) -> list[Figure]:
        """How often it is right, and how far its probability is off."""
        label = name.replace("_", " ")
        return [
            percent(f"{name}-accuracy", f"{label}: as annotated", self.right(), "higher"),
            calibration(f"{name}-ece", f"{label}: calibration error", self.said, self.true),
        ]

    def _recall(self, name: str, title: str) -> Figure:
        found = self.right()[self.true]
        if len(found) < LEAST:
            return Figure(name, title, None, "%", len(found), note=f"Fewer than {LEAST} faces have it.")
        return percent(name, title, found, "higher")

    def _ranking(self, name: str, title: str) -> Figure:
        faces, with_it = len(self.true), int(self.true.sum())
        if min(with_it, faces - with_it) < LEAST:
            note = f"{with_it} of {faces} faces have it; {LEAST} with and without are needed."
            return Figure(name, title, None, "score", faces, note=note)

        def area(drawn: NDArray[np.int64]) -> float:
            chosen = statistics.places(drawn)
            return statistics.auc(self.said[chosen], self.true[chosen])

        low, high = statistics.interval(statistics.resampled(area, faces))
        value = statistics.auc(self.said, self.true)
        return Figure(name, title, value, "score", faces, float(low), float(high), "higher")


# Column of the annotations: the probability 0–1 that it is so, by the answer that a client gets.
VISIBLE: Mapping[str, Callable[[Face], float]] = {
    "eyeglasses": lambda face: probability(face.eyeglasses),
    "sunglasses": lambda face: probability(face.sunglasses),
    "beard": lambda face: probability(face.beard),
    "mustache": lambda face: probability(face.mustache),
    "smile": lambda face: probability(face.smile),
    "mouth_open": lambda face: probability(face.mouth_open),
    "eyes_closed": lambda face: probability(face.eyes_open, False),
    "occluded": lambda face: probability(face.face_occluded),
}
EXPRESSIONS = ("CALM", "HAPPY", "SURPRISED", "ANGRY", "SAD", "CONFUSED")


def annotated(data: Path) -> list[tuple[Labelled, dict[str, str]]]:
    """The pictures that are there of those whose visible attributes were annotated; none was trained on."""
    notes = {
        Path(row["file"]).name: row
        for row in rows(WEIGHTS / "face_attributes" / "annotations.csv")
        if row["split"] == "val" and row["skip"] != "1"
    }
    return [(face, notes[face.path.name]) for face in fairface.labelled(data) if face.path.name in notes]


def visible(engines: Engines, data: Path, progress: Progress) -> Result:
    """Each visible attribute and expression against its annotation: ranking, agreement, calibration, groups."""
    notes = {picture.path: note for picture, note in annotated(data)}
    chosen = [picture for picture in fairface.labelled(data) if picture.path in notes]
    pictures, faces = _with_faces(engines, chosen, progress)
    labels = [notes[picture.path] for picture in pictures]
    answers = {
        name: Read(
            np.array([ask(face) for face in faces], np.float64), np.array([note[name] == "1" for note in labels], bool)
        )
        for name, ask in VISIBLE.items()
    }
    expressions = {
        name.lower(): Read(
            np.array([dict(face.emotions or ())[name] / 100 for face in faces], np.float64),
            np.array([note["emotion"] == name for note in labels], bool),
        )
        for name in EXPRESSIONS
    }
    found = [figure for name, read in {**answers, **expressions}.items() for figure in read.ranked(name)]
    found += [figure for name, read in answers.items() for figure in read.agreed(name)]
    figures = {figure.name: figure for figure in found}
    races = [picture.race for picture in pictures]
    condensed: list[Figure] = []
    for name, read in answers.items():
        by_race = groups.of_faces(races, ~read.right(), sorted(set(races)))
        kind = Kind(f"race-{name}-error", f"{name.replace('_', ' ')}, errors by race")
        condensed += groups.summaries(kind, by_race, groups.rate(by_race))
    overall = calibration(
        "ece",
        "Calibration error of the Confidence of all attributes",
        np.stack([read.confidence() for read in answers.values()], 1),
        np.stack([read.right() for read in answers.values()], 1),
    )
    return Result(
        f"{_told(faces, chosen)[:-1]} and whose visible attributes were annotated.",
        (overall, *figures.values(), *condensed),
        (
            _ranked(answers, figures),
            _expressions(expressions, figures),
            _errors(answers, pictures),
            _sure(answers, pictures),
        ),
        (reliability("Probability of each attribute", {name: (r.said, r.true) for name, r in answers.items()}),),
        (
            IMPRESSION,
            "Each picture was annotated once, from a contact sheet, so the labels are themselves noisy.",
            "occluded is the answer of FaceOccluded, whose probability is meant for photos in which 15 % are occluded.",
            groups.CHANCE,
        ),
    )


def _ranked(reads: Mapping[str, Read], figures: Mapping[str, Figure]) -> Table:
    columns = ("Attribute", "Faces", "With it", "AUC", "As annotated, %", "Found of those with it, %", "ECE, points")
    return Table("Attributes", columns, _lines(reads, figures, ("auc", "accuracy", "recall", "ece")))


def _expressions(reads: Mapping[str, Read], figures: Mapping[str, Figure]) -> Table:
    columns = ("Expression", "Faces", "With it", "AUC", "Found of those with it, %")
    return Table("Expressions", columns, _lines(reads, figures, ("auc", "recall")))


def _lines(reads: Mapping[str, Read], figures: Mapping[str, Figure], parts: Sequence[str]) -> Rows:
    return tuple(
        (
            name.replace("_", " "),
            len(read.true),
            int(read.true.sum()),
            *(groups.cell(figures[f"{name}-{part}"]) for part in parts),
        )
        for name, read in reads.items()
    )


def _parts(pictures: Sequence[Labelled]) -> dict[str, Bools]:
    """Which of the pictures are of women, of men, and of each race."""
    names = [("Women", "gender", FEMALE), ("Men", "gender", "Male")]
    names += [(race, "race", race) for race in sorted({picture.race for picture in pictures})]
    return {name: np.array([getattr(picture, of) == is_ for picture in pictures], bool) for name, of, is_ in names}


def _errors(answers: Mapping[str, Read], pictures: Sequence[Labelled]) -> Table:
    """The share of wrong answers of each group; not measured where the rule of three says so."""

    def wrong(read: Read, here: Bools) -> Cell:
        (group,) = groups.of_faces([""] * int(here.sum()), ~read.right()[here], [""])
        return group.cell(100) if statistics.enough(group.trials, float((~read.right()).mean())) else Cell(None)

    lines: Rows = tuple(
        (name, int(here.sum()), *(wrong(read, here) for read in answers.values()))
        for name, here in _parts(pictures).items()
    )
    columns = ("Group", "Faces", *(name.replace("_", " ") for name in answers))
    return Table("Answers other than annotated by group, %", columns, lines)


def _sure(answers: Mapping[str, Read], pictures: Sequence[Labelled]) -> Table:
    """The calibration error of every Confidence together, per group."""
    lines = []
    for name, here in _parts(pictures).items():
        confidence = np.stack([read.confidence()[here] for read in answers.values()], 1)
        right = np.stack([read.right()[here] for read in answers.values()], 1)
        lines.append((name, int(here.sum()), groups.cell(calibration("", "", confidence, right))))
    return Table("Confidence of all attributes by group", ("Group", "Faces", "Calibration error, points"), tuple(lines))


GENDER = Evaluation("gender", "Gender as annotators saw it", NETWORKS, fairface.NEEDS, gender)
AGE = Evaluation("age", "Age range", NETWORKS, fairface.NEEDS, age)
VISIBLE_ATTRIBUTES = Evaluation(
    "face-attributes", "Visible attributes and expressions", NETWORKS, fairface.NEEDS, visible
)
EVALUATIONS = (GENDER, AGE, VISIBLE_ATTRIBUTES)
