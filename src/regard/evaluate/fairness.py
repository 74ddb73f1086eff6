"""How much likelier strangers of one group are taken for each other than those of another.

FairFace's pictures are of as many people, so every pair is of strangers. The threshold is one for all: where
the false match rate over all pairs is 1 in 1,000, or 1 in 10,000; each group's rate at it is of the pairs
within the group. Errors between genuine pairs cannot be compared, as there is but one picture of each.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regard.evaluate import fairface, groups
from regard.evaluate.calibration import cohort_of, crossfitted
from regard.evaluate.fairface import Labelled
from regard.evaluate.groups import Kind
from regard.evaluate.portraits import Portrait, embeddings, similarities
from regard.evaluate.result import Evaluation, Figure, Plot, Progress, Result, Table
from regard.evaluate.statistics import Bools, Floats
from regard.evaluate.verification import NETWORKS, one_in
from regard.vision.engines import Engines
from regard.vision.faces import FaceEngine

RATES = (1e-3, 1e-4)
PER = 10_000
NOTES = (
    "One threshold for all groups, and nobody's group is told to the networks.",
    "Every pair counts as of strangers but those in weights/sface/same_person.csv, found by looking at pairs with "
    "high scores. Others that show one person may be left, above all of children and across groups; they would raise "
    "the threshold and the rates a little.",
    "The shipped cohort is made of these pictures; here each pair is compared by one that is made without either "
    "face, in the same way.",
    "FairFace has one picture of each person, so false non-match rates per group are not measured, nor is what "
    "needs both (FDR, GARBE).",
    groups.CHANCE,
)


def measure(engines: Engines, data: Path, progress: Progress) -> Result:
    """False match rates within groups at the thresholds of `RATES` over all pairs."""
    everybody = fairface.labelled(data)
    pictures, faces = fairface.with_faces(engines, everybody, progress)
    scores, counted = _scores(engines.faces, faces, pictures), fairface.strangers(pictures)
    pairs = int(np.triu(counted, 1).sum())
    figures: list[Figure] = []
    tables: list[Table] = []
    plots: list[Plot] = []
    for rate in RATES:
        least = threshold(scores, counted, rate)
        note = f"Overall: {PER * rate:g} per {PER:,}, at Similarity {least:.1f}."
        for name, title, labels, order in fairface.groupings(pictures):
            kind = Kind(f"{name}-fmr-1e{round(np.log10(rate))}", f"False matches by {title}", f"per {PER:,}", PER)
            found = groups.of_pairs(labels, scores >= least, counted, order)
            heading = f"False matches within {title}, where {one_in(rate)} of all pairs match"
            tables.append(groups.table(kind, heading, found, rate, note))
            figures += groups.summaries(kind, found, rate)
            plots += groups.dots(kind, heading, found, rate)
    told = (
        f"FairFace validation: {len(faces):,} of {len(everybody):,} pictures show a face, {pairs:,} pairs of strangers."
    )
    return Result(told, tuple(figures), tuple(tables), tuple(plots), NOTES)


def _scores(engine: FaceEngine, faces: Sequence[Portrait], pictures: Sequence[Labelled]) -> Floats:
    """Similarity [n, n]. Where there is a cohort, by one that is made without either face.

    The shipped one is made of these very pictures, so it would flatter itself.
    """
    if engine.comparison.cohort is None:
        return similarities(engine, faces, faces)
    scores = crossfitted(embeddings(faces), [picture.path.name for picture in pictures], cohort_of)
    return engine.similarity.similarity(scores)


def threshold(scores: Floats, counted: Bools, rate: float) -> float:
    """The lowest score that at most `rate` of the counted pairs above the diagonal reach."""
    values, ties = np.unique(-scores[np.triu(counted, 1)], return_counts=True)
    place = int(np.searchsorted(np.cumsum(ties), rate * ties.sum() * (1 + 1e-12), side="right")) - 1
    return float(-values[place]) if place >= 0 else float("inf")


VERIFICATION = Evaluation(
    "fairness-verification",
    "Fairness: false matches within groups",
    NETWORKS,
    fairface.NEEDS,
    measure,
)
EVALUATIONS = (VERIFICATION,)
