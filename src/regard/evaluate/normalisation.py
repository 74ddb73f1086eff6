"""What the cohort does: false matches of groups with and without it, on faces that it was not made of.

The shipped cohort is made of all of FairFace's pictures here, so measuring it on them would flatter it. Instead
people are dealt into folds, and two faces are compared with a cohort of the other folds' faces (see
`calibration.crossfitted`); nobody's group is told to it. Labeled Faces in the Wild and CFP show other people,
and say what it costs. The sizes of the cohort are those that this evaluation found best.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.evaluate import fairface, groups, statistics, verification
from regard.evaluate.calibration import cohort_of, crossfitted, exceeded
from regard.evaluate.fairness import PER, threshold
from regard.evaluate.groups import Grouping, Kind
from regard.evaluate.portraits import embeddings, look
from regard.evaluate.result import Cell, Evaluation, Figure, Progress, Result, Table
from regard.evaluate.statistics import Bools, Floats
from regard.vision.cohort import Comparison, build
from regard.vision.engines import Engines

RATES = (1e-2, 1e-3, 1e-4)
CLUSTERS = (192, 384, 512)
NEAREST = (3, 5, 10)
BODY, TAIL = 0.1, 0.01  # rates within a group that set the scale of its scores
REPLICATES = 100
LISTS = (("LFW", "lfw", "pairs.csv"), ("CFP frontal", "cfp", "pairs_FF.csv"), ("CFP profile", "cfp", "pairs_FP.csv"))
Vectors = NDArray[np.float32]
Fit = Callable[[Vectors], Comparison]
NOTES = (
    "The threshold is one for all groups: where the rate over all pairs is that of the column; a group's own rate is "
    "of the pairs within it.",
    "Counted ratios need errors in every group. With the shared tail each group has the scale of its own scores "
    "(where its rate is 0.1 and 0.01) and the tail that all groups have together, which resolves lower rates; "
    "it cannot see a group whose tail has another shape.",
    groups.CHANCE,
)


def measure(engines: Engines, data: Path, progress: Progress) -> Result:
    """Ratios of groups by the cosine and with cohorts of several sizes."""
    pictures, faces = fairface.with_faces(engines, fairface.labelled(data), progress)
    vectors = embeddings(faces)
    apart, people = fairface.strangers(pictures), [picture.path.name for picture in pictures]
    groupings = [grouping for grouping in fairface.groupings(pictures) if grouping[0] != "age"]
    lists = [_Listed(engines, data, *entry, progress) for entry in LISTS]
    figures: list[Figure] = []
    tables: list[Table] = []
    ways: list[tuple[str, str, Fit]] = [("cohort", "with the cohort", cohort_of), ("cosine", "by the cosine", _cosine)]
    for name, title, fit in ways:
        scores = crossfitted(vectors, people, fit)
        for grouping in groupings:
            figures += _ratios(name, title, grouping, scores, apart)
            tables.append(_table(title, grouping, scores, apart))
    columns = (
        *(f"{way}, 1 in {1 / rate:,.0f}" for way, _, _, _ in groupings for rate in RATES),
        *(n for n, _, _ in LISTS),
    )
    choices: list[tuple[str, Fit]] = [("the cosine", _cosine)]
    for clusters, nearest in product(CLUSTERS, NEAREST):
        choices.append((f"{clusters} clusters, {nearest} nearest", partial(_sized, clusters, nearest)))
    lines: list[tuple[str | int | Cell, ...]] = []
    for name, fit in progress(choices, "Sizes of the cohort"):
        scores, whole = crossfitted(vectors, people, fit), fit(vectors)
        ratios = [
            statistics.worst_over_best(_shared(_groups(grouping, scores, apart), threshold(scores, apart, rate)))
            for grouping in groupings
            for rate in RATES
        ]
        lines.append((name, *map(Cell, ratios), *(Cell(pairs.accuracy(whole)) for pairs in lists)))
    heading = "Worst group over best (shared tail), and the share of listed pairs right at the best threshold, %"
    tables.append(Table(heading, ("Comparison", *columns), tuple(lines)))
    told = (
        f"FairFace validation: {len(pictures):,} faces, {int(np.triu(apart, 1).sum()):,} pairs of strangers, each "
        "compared without a cohort that holds either; LFW and CFP: other people."
    )
    return Result(told, tuple(figures), tuple(tables), notes=NOTES)


def _cosine(_: Vectors) -> Comparison:
    return Comparison()


def _sized(clusters: int, nearest: int, rest: Vectors) -> Comparison:
    return Comparison(build(rest, clusters, nearest))


class _Listed:
    """The pairs of a public list in which both pictures show a face."""

    def __init__(self, engines: Engines, data: Path, title: str, folder: str, name: str, progress: Progress) -> None:
        pairs = verification.listed(data / folder, name)
        seen = look(engines, pairs.paths, progress, title)
        usable = np.array([portrait.main is not None for portrait in seen])[pairs.pairs].all(1)
        self._pairs, self._same = pairs.pairs[usable], pairs.same[usable]
        self._vectors = embeddings([seen[number] for number in self._pairs.T.ravel()])

    def accuracy(self, comparison: Comparison) -> float:
        """The share that is right at the best threshold, 0–100."""
        half = len(self._pairs)
        scores = (comparison.probes(self._vectors[:half]) * comparison.references(self._vectors[half:])).sum(1)
        return 100 * float(((scores >= statistics.best_threshold(scores, self._same)) == self._same).mean())


def _groups(grouping: Grouping, scores: Floats, apart: Bools) -> list[tuple[Floats, NDArray[np.intp]]]:
    """The scores [p] of the pairs within each group, and their faces [2, p] in it."""
    _, _, labels, order = grouping
    found = []
    for name in order:
        here = np.flatnonzero(np.array(labels) == name)
        pairs = np.array(np.nonzero(np.triu(apart[np.ix_(here, here)], 1)))
        found.append((scores[here[pairs[0]], here[pairs[1]]], pairs))
    return found


def _shared(
    pairs: Sequence[tuple[Floats, NDArray[np.intp]]], least: float, random: np.random.Generator | None = None
) -> Floats:
    """The rate of each group at a threshold, by its own scale and the tail of all; with `random` of faces redrawn."""
    scaled, weighted, places = [], [], []
    for scores, faces in pairs:
        count = int(faces.max()) + 1
        drawn = np.ones(count) if random is None else np.bincount(random.integers(0, count, count), minlength=count)
        weights = np.asarray(drawn[faces[0]] * drawn[faces[1]], np.float64)
        body, tail = exceeded(scores, weights, [BODY, TAIL])
        scaled.append((scores - body) / (tail - body))
        places.append((least - body) / (tail - body))
        weighted.append(weights)
    all_scaled, all_weights = np.concatenate(scaled), np.concatenate(weighted)
    reached = [float(all_weights[all_scaled >= place].sum()) for place in places]
    return np.array(reached) / float(all_weights.sum())


def _ratios(name: str, title: str, grouping: Grouping, scores: Floats, apart: Bools) -> list[Figure]:
    """Worst over best at each of `RATES`, with the shared tail."""
    way, words, _, _ = grouping
    pairs = _groups(grouping, scores, apart)
    found = []
    for rate in RATES:
        least, random = threshold(scores, apart, rate), np.random.default_rng(statistics.SEED)
        value = statistics.worst_over_best(_shared(pairs, least))
        low, high = statistics.interval(
            np.array([statistics.worst_over_best(_shared(pairs, least, random)) for _ in range(REPLICATES)])
        )
        heading = f"False matches by {words}, worst over best at 1 in {1 / rate:,.0f}, {title}"
        count = sum(len(group) for group, _ in pairs)
        found.append(
            Figure(
                f"{name}-{way}-1e{round(np.log10(rate))}",
                heading,
                value,
                "ratio",
                count,
                _finite(low),
                _finite(high),
                "lower",
                NOTES[1],
            )
        )
    return found


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _table(title: str, grouping: Grouping, scores: Floats, apart: Bools) -> Table:
    """What is counted in each group where 1 in 1,000 of all pairs match."""
    _, words, labels, order = grouping
    least = threshold(scores, apart, 1e-3)
    kind = Kind("", "False matches", f"per {PER:,}", PER)
    found = groups.of_pairs(labels, scores >= least, apart, order)
    return groups.table(
        kind, f"False matches within {words}, {title}, where 1 in 1,000 of all pairs match", found, 1e-3
    )


NORMALISATION = Evaluation(
    "score-normalisation",
    "Fairness: what the cohort does, on faces that it was not made of",
    verification.NETWORKS,
    (*fairface.NEEDS, "lfw/pairs.csv", "cfp/pairs_FP.csv"),
    measure,
    fast=False,
)
EVALUATIONS = (NORMALISATION,)
