"""What the score of two embeddings means: Similarity, 0–100, by how seldom strangers reach it.

Rekognition's clients compare Similarity with thresholds such as 80 and 99. Here a Similarity stands for a
false match rate (FMR) of the demographic group that fares worst: 50 for 1 in 100, 80 for 1 in 10,000, 90 for
1 in 100,000, 99 for 1 in a million; between them it is linear in the logarithm of the rate. The knots come
from a calibration file per embedder.
"""

import json
import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.vision.models import ModelError

# Similarity and log10 of the FMR that it stands for. A score of 1 is 100, one of −1 or less is 0.
MEANING = ((0.0, 0.0), (50.0, -2.0), (80.0, -4.0), (90.0, -5.0), (99.0, -6.0))


def at_rate(fmr: Any) -> NDArray[np.float64]:
    """The Similarity that stands for a false match rate above 0; rates below 1e-6 are 99."""
    similarities, logarithms = zip(*MEANING, strict=True)
    return np.asarray(np.interp(-np.log10(fmr), -np.array(logarithms), similarities), np.float64)


class Similarity:
    """A calibration. It is strictly increasing, so that ranking by score and by Similarity is the same."""

    def __init__(self, knots: Iterable[tuple[float, float]]) -> None:
        """`knots` are (score, Similarity), both strictly increasing; (−1, 0) and (1, 100) are added.

        Raises `ValueError` if they are not or if there are none.
        """
        inner = [(float(score), float(value)) for score, value in knots]
        inner = [knot for knot in inner if -1 < knot[0] < 1]
        points = [(-1.0, 0.0), *inner, (1.0, 100.0)]
        if not inner or not all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(points)):
            raise ValueError("the knots [score, Similarity] must increase strictly within −1–1 and 0–100")
        self._scores, self._values = np.array(points).T

    def similarity(self, score: Any) -> NDArray[np.float64]:
        """The Similarity of scores (any shape); those beyond −1–1 are clipped."""
        return np.asarray(np.interp(score, self._scores, self._values), np.float64)

    def score_at(self, similarity: float) -> float:
        """The least score that has this Similarity, 0–100: the inverse of `similarity`; every score has 0."""
        return -math.inf if similarity <= 0 else float(np.interp(similarity, self._values, self._scores))


UNCALIBRATED = Similarity(((0.0, 50.0),))
"""A straight line, for scores that are not calibrated yet: it stands for no rate."""


def load_calibration(path: Path, embedder: str, cohort: str | None) -> Similarity:
    """Read a calibration file, as `regard calibrate` writes it, for the embedder and cohort of these names.

    Raises `models.ModelError` if it cannot be read or was made for another embedder or cohort: the same score
    means something else there.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
        made_for, with_cohort, similarity = data["embedder"], data["cohort"], Similarity(data["knots"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no calibration: {error!r}") from error
    if made_for != embedder:
        raise ModelError(f"{path} calibrates the embedder {made_for}, and this is {embedder}")
    if with_cohort != cohort:
        raise ModelError(f"{path} was made with the cohort {with_cohort}, and this is {cohort}: calibrate anew")
    return similarity
