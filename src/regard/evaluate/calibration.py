"""What a score means: the table from score to Similarity, measured on pictures of strangers.

A Similarity stands for a false match rate (FMR) of the group that fares worst (see `regard.vision.similarity`).
Every pair of people of one group is a comparison of strangers; faces that QualityFilter AUTO refuses do not
count, as IndexFaces enrols none of them unless told to.

A rate is counted in each group as far down as its pairs allow. Below, all groups share the shape of the tail:
each group's scores are scaled so that ten times the lowest counted rate is at 0 and that rate at 1, and pooled.
The pooled tail is counted as far down as all pairs together allow and continued as a normal distribution's, with
the slope of its last counted decade. At each rate the knot is the group with the highest score, and of it the
upper end (95 %) of a bootstrap over people.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from regard.evaluate.portraits import portrait, read, rows
from regard.evaluate.result import Progress
from regard.evaluate.statistics import Floats
from regard.evaluate.verification import by_person
from regard.vision.cohort import Comparison, build
from regard.vision.faces import FaceEngine
from regard.vision.similarity import MEANING, at_rate

RATES = 10.0 ** -np.arange(0.25, 6.01, 0.25)
REPLICATES = 300
UPPER = 95  # percentile of the bootstrap
COUNTED_ERRORS = 15  # false matches that a rate needs to be counted in one group …
POOLED_ERRORS = 50  # … and in all groups together, whose tail is continued from there
MIN_PAIRS = 1500  # a group with fewer says too little about 1 in 100; it is reported as not measured
MOST_FACES = 1000  # of a group: half a million pairs, beyond which the bootstrap is slow and knots hardly move
MIN_COHORT = 1000  # people that a cohort is made of, so that what is left in each fold still fills its clusters
FOLDS = 8
EVERYONE = "everyone"


class CalibrationError(Exception):
    """The pictures do not suffice, or cannot be read as people."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A picture, who it shows, and the group; `left_out` ones have no part in the knots."""

    path: Path
    person: str
    group: str = EVERYONE
    left_out: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of strangers of one group: `scores` [p], and the number of either's person, [p] each."""

    scores: Floats
    first: NDArray[np.intp]
    second: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """`knots` of score and Similarity for an embedder and a comparison, and what they rest on."""

    embedder: str
    comparison: Comparison
    knots: tuple[tuple[float, float], ...]
    provenance: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write the file that `regard.vision.similarity.load_calibration` reads."""
        cohort = self.comparison.cohort
        document = {
            "version": 1,
            "embedder": self.embedder,
            "cohort": None if cohort is None else cohort.name,
            "knots": self.knots,
            "provenance": self.provenance,
        }
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")


def calibrate(
    engine: FaceEngine, people: Sequence[Stranger], threads: int, progress: Progress, *, new_cohort: bool = False
) -> Calibration:
    """The calibration of an engine's embedder on pictures of strangers.

    With `new_cohort` a cohort is made of all of them, those left out too; the scores are then such as a cohort
    gives that was made without the two who are compared. Raises `CalibrationError`.
    """
    kept, vectors = embeddings(engine, people, threads, progress)
    comparison = engine.comparison
    if new_cohort:
        comparison = fitted(vectors, [stranger.person for stranger in kept])
        scores = crossfitted(vectors, [stranger.person for stranger in kept], cohort_of)
    else:
        scores = comparison.scores(vectors, vectors)
    inside, outside = (
        by_group(scores, kept, [number for number, s in enumerate(kept) if s.left_out is out]) for out in (False, True)
    )
    found = curves(inside)
    points = knots(found)
    return Calibration(engine.model_version, comparison, points, provenance(inside, found, points, outside))


def fitted(vectors: NDArray[np.float32], people: Sequence[str]) -> Comparison:
    """The comparison with a cohort of one face [d] of each person. Raises `CalibrationError` for too few people."""
    first = np.unique(np.array(people), return_index=True)[1]
    if len(first) < MIN_COHORT:
        raise CalibrationError(f"A cohort is made of {MIN_COHORT:,} people or more; here are {len(first):,}.")
    return cohort_of(vectors[np.sort(first)])


def cohort_of(vectors: NDArray[np.float32]) -> Comparison:
    """A comparison by a cohort of these embeddings [n, d], each of another person."""
    return Comparison(build(vectors))


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The score that is reached at each of `RATES`: `scores` [1 + replicates, groups, rates], the sample first."""

    groups: tuple[str, ...]
    scores: Floats
    counted: float
    pooled: float


def listed(
    folder: Path, columns: Sequence[str] = (), left_out: Sequence[str] = (), same_person: Path | None = None
) -> list[Stranger]:
    """The pictures of a folder: as its labels.csv lists them, or FOLDER/PERSON/PICTURE.

    labels.csv has a column `file` and, if it likes, `person` (else every file is another person) and the
    `columns` that make the group. Pictures with one of `left_out`, COLUMN=VALUE, stay out of the knots.
    `same_person` is a CSV file of files `a` and `b` that show one person after all. Raises `CalibrationError`.
    """
    labels = folder / "labels.csv"
    if not labels.exists():
        if columns or left_out or same_person:
            raise CalibrationError(f"Groups and persons come from {labels}, which is not there.")
        found = by_person(folder)
        if not found:
            raise CalibrationError(f"{folder} has neither labels.csv nor pictures as {folder}/ann/1.jpg.")
        return [Stranger(path, name) for name, paths in found.items() for path in paths]
    lines, outside = rows(labels), [entry.partition("=") for entry in left_out]
    missing = {"file", *columns, *(name for name, _, _ in outside)} - set(lines[0] if lines else ())
    if missing:
        raise CalibrationError(f"{labels} has no column {', '.join(sorted(missing))}.")
    person = _persons(lines, rows(same_person) if same_person else ())
    return [
        Stranger(
            folder / line["file"],
            person[line["file"]],
            ", ".join(line[name] for name in columns) or EVERYONE,
            any(line[name] == value for name, _, value in outside),
        )
        for line in lines
    ]


def _persons(lines: Sequence[Mapping[str, str]], same: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Who is in each file."""
    person = {line["file"]: line.get("person") or line["file"] for line in lines}
    for pair in same:
        a, b = person.get(pair["a"]), person.get(pair["b"])
        if a is not None and b is not None:
            person = {file: a if name == b else name for file, name in person.items()}
    return person


def embeddings(
    engine: FaceEngine, people: Sequence[Stranger], threads: int, progress: Progress
) -> tuple[list[Stranger], NDArray[np.float32]]:
    """Those whose main face would be enrolled, and its embeddings [n, d]."""

    def embed(stranger: Stranger) -> NDArray[np.float32] | None:
        try:
            seen = portrait(engine, read(stranger.path))
        except OSError as error:
            raise CalibrationError(f"{stranger.path} cannot be read: {error}") from error
        return seen.embedding if seen.enrolled else None

    with ThreadPoolExecutor(threads) as pool:
        # The pool's results are asked for first: it works ahead while the progress is drawn.
        found = pool.map(embed, people)
        looked = zip(progress(people, "Looking at strangers"), found, strict=True)
        kept = [(stranger, vector) for stranger, vector in looked if vector is not None]
    if not kept:
        raise CalibrationError(f"None of the {len(people)} pictures shows a face that would be enrolled.")
    return [stranger for stranger, _ in kept], np.array([vector for _, vector in kept], np.float32)


def crossfitted(
    vectors: NDArray[np.float32],
    people: Sequence[str],
    fit: Callable[[NDArray[np.float32]], Comparison],
    folds: int = FOLDS,
) -> Floats:
    """Scores [n, n] of embeddings [n, d], each by a comparison that was fitted without either side's person.

    People are dealt into folds; a pair across two folds is compared with what the other folds give, and a pair
    within one fold likewise, without that fold and the next.
    """
    names = np.unique(np.array(people), return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(int(names.max()) + 1)
    fold = order[names] % folds
    scores = np.empty((len(vectors), len(vectors)))
    for a in range(folds):
        for b in range(a, folds):
            other = (a + 1) % folds if a == b else b
            comparison = fit(vectors[(fold != a) & (fold != other)])
            here, there = np.flatnonzero(fold == a), np.flatnonzero(fold == b)
            block = comparison.scores(vectors[here], vectors[there])
            scores[np.ix_(here, there)], scores[np.ix_(there, here)] = block, block.T
    return scores


def by_group(scores: Floats, people: Sequence[Stranger], chosen: Sequence[int]) -> dict[str, Pairs]:
    """The pairs of strangers of each group, by name; `scores` [n, n] are of `people`, `chosen` which of them count."""
    persons = np.unique([stranger.person for stranger in people], return_inverse=True)[1]
    members: dict[str, list[int]] = {}
    for number in chosen:
        members.setdefault(people[number].group, []).append(number)
    random = np.random.default_rng(0)
    found = {}
    for name, numbers in sorted(members.items()):
        here = np.array(numbers)
        if len(here) > MOST_FACES:
            here = np.sort(random.choice(here, MOST_FACES, replace=False))
        i, j = np.triu_indices(len(here), 1)
        first, second = here[i], here[j]
        apart = persons[first] != persons[second]
        first, second = first[apart], second[apart]
        found[name] = Pairs(scores[first, second], persons[first], persons[second])
    return found


def curves(groups: Mapping[str, Pairs], replicates: int = REPLICATES, seed: int = 0) -> Curves:
    """Score at each of `RATES`, for the sample and for people drawn again, of the groups with `MIN_PAIRS`.

    Raises `CalibrationError` if none has as many.
    """
    large = {name: pairs for name, pairs in groups.items() if len(pairs.scores) >= MIN_PAIRS}
    if not large:
        most = max((len(pairs.scores) for pairs in groups.values()), default=0)
        raise CalibrationError(
            f"Not measured: a group needs {MIN_PAIRS:,} pairs of strangers, as 56 people give; "
            f"the largest here has {most:,}."
        )
    smallest = min(len(pairs.scores) for pairs in large.values())
    counted = _lowest(smallest, COUNTED_ERRORS)
    pooled = min(counted, _lowest(sum(len(pairs.scores) for pairs in large.values()), POOLED_ERRORS))
    random = np.random.default_rng(seed)
    found = []
    for replicate in range(replicates + 1):
        weighted = [(pairs.scores, _weights(pairs, random if replicate else None)) for pairs in large.values()]
        found.append(_curves(weighted, counted, pooled))
    return Curves(tuple(large), np.array(found), counted, pooled)


def _lowest(pairs: int, errors: int) -> float:
    """The lowest of `RATES` at which so many pairs give so many errors."""
    return float(RATES[pairs * RATES >= errors * (1 - 1e-9)].min(initial=RATES[0]))


def _weights(pairs: Pairs, random: np.random.Generator | None) -> Floats:
    """How often each pair is met when the group's people are drawn again; once each without `random`."""
    if random is None:
        return np.ones(len(pairs.scores))
    people = np.union1d(pairs.first, pairs.second)
    drawn = np.bincount(random.integers(0, len(people), len(people)), minlength=len(people))
    first, second = np.searchsorted(people, pairs.first), np.searchsorted(people, pairs.second)
    return np.asarray(drawn[first] * drawn[second], np.float64)


def _curves(groups: Sequence[tuple[Floats, Floats]], counted: float, pooled: float) -> list[Floats]:
    """One replicate: the scores [rates] of each group, from its pairs' scores and weights."""
    heads, scales, scaled = [], [], []
    for scores, weights in groups:
        *head, start, end = exceeded(scores, weights, [*RATES[counted <= RATES], 10 * counted, counted])
        heads.append(head)
        scales.append((start, end - start))
        scaled.append((scores - start) / (end - start))
    shape = _tail(np.concatenate(scaled), np.concatenate([weights for _, weights in groups]), counted, pooled)
    return [np.concatenate([head, start + scale * shape]) for head, (start, scale) in zip(heads, scales, strict=True)]


def _tail(scaled: Floats, weights: Floats, counted: float, pooled: float) -> Floats:
    """The pooled tail at those of `RATES` that are below `counted`."""
    rates = RATES[counted > RATES]
    before, last = exceeded(scaled, weights, [10 * pooled, pooled])
    z_before, z_last = _probit([10 * pooled, pooled])
    continued = last + (last - before) / (z_last - z_before) * (_probit(rates) - z_last)
    return np.where(rates >= pooled, exceeded(scaled, weights, rates), continued)


def exceeded(scores: Floats, weights: Floats, rates: Sequence[float] | Floats) -> Floats:
    """The scores that shares `rates` of the weighted pairs reach."""
    order = np.argsort(-scores)
    share = np.cumsum(weights[order]) / weights.sum()
    return np.asarray(np.interp(rates, share, scores[order]), np.float64)


def _probit(rates: Sequence[float] | Floats) -> Floats:
    return np.array([-NormalDist().inv_cdf(float(rate)) for rate in rates])


def knots(found: Curves) -> tuple[tuple[float, float], ...]:
    """Score and Similarity: at each rate the worst group's, at the upper end of the bootstrap."""
    worst = found.scores[0].argmax(0)
    upper = np.percentile(found.scores, UPPER, axis=0)[worst, np.arange(len(RATES))]
    bound = np.maximum.accumulate(upper)
    rises = np.diff(bound, prepend=-np.inf) > 1e-4  # a bound that does not rise with the next rate holds for that too
    inside = rises & (np.abs(bound) < 1)
    return tuple(
        (round(float(score), 4), round(float(value), 3))
        for score, value in zip(bound[inside], at_rate(RATES)[inside], strict=True)
    )


LEVELS = (50, 80, 90, 99)


def provenance(
    groups: Mapping[str, Pairs], found: Curves, points: Sequence[tuple[float, float]], outside: Mapping[str, Pairs]
) -> dict[str, Any]:
    """What the knots rest on, per group, for a reader of the file. `outside` are groups that were left out."""
    at = {level: float(np.interp(level, [v for _, v in points], [s for s, _ in points])) for level in LEVELS}

    def matched(pairs: Pairs, levels: Sequence[int]) -> dict[str, float]:
        return {str(level): round(float((pairs.scores >= at[level]).mean()), 6) for level in levels}

    counted, pooled = (float(at_rate(rate)) for rate in (found.counted, found.pooled))
    return {
        "meaning": f"false match rate of the group that fares worst, upper end ({UPPER} %) of a bootstrap over people",
        "people": sum(len(np.union1d(groups[name].first, groups[name].second)) for name in found.groups),
        "pairs": sum(len(groups[name].scores) for name in found.groups),
        "measured": f"Similarity up to {counted:g} (rate {found.counted:.3g}): counted within the worst group",
        "pooled": f"up to {pooled:g} (rate {found.pooled:.3g}): the worst group's scale, the tail of all groups",
        "extrapolated": f"above {pooled:g}: normal tail; rates below {found.pooled:.3g} were not measured",
        "score_at_similarity": {str(level): round(score, 4) for level, score in at.items()},
        "groups": {
            name: {"pairs": len(groups[name].scores), "fmr_at_similarity": matched(groups[name], (50, 80))}
            for name in found.groups
        },
        "not_measured": {name: len(pairs.scores) for name, pairs in groups.items() if name not in found.groups},
        "left_out": {
            name: {"pairs": len(pairs.scores), "fmr_at_similarity": matched(pairs, LEVELS)}
            for name, pairs in outside.items()
            if len(pairs.scores)
        },
    }


def summary(found: Calibration) -> Table:
    """The scores of the Similarities that clients ask for, and what became of each group, for a terminal."""
    at, facts = found.provenance["score_at_similarity"], found.provenance
    table = Table("Similarity", "Score", "Stands for", title=f"{found.embedder}: {facts['people']} people")
    for level, exponent in ((int(level), exponent) for level, exponent in MEANING if level):
        table.add_row(str(level), f"{at[str(level)]:.3f}", f"1 in {10**-exponent:,.0f}")
    groups = ", ".join(facts["groups"])
    absent = "; ".join(
        f"{name}: not measured, {pairs} pairs are too few" for name, pairs in facts["not_measured"].items()
    )
    table.caption = "\n".join(filter(None, [f"Groups: {groups}", absent, facts["measured"], facts["extrapolated"]]))
    return table
