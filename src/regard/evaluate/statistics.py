"""The numbers of biometric testing, as pure functions: error rates, curves, intervals, calibration, differences.

Terms are those of ISO/IEC 19795-1: a comparison of two pictures of one person is genuine, of two people an
impostor's; FMR is the share of impostor comparisons that match, FNMR that of genuine ones that do not. A
comparison matches when its score is at or above the threshold. All rates are 0–1.

Comparisons that share a person err together, so an interval over comparisons would be far too narrow: here
people are drawn again, never pairs (`Comparisons.rates`). What is drawn is seeded; the same data gives the
same interval.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

REPLICATES = 400
SEED = 19795
TAILS = (2.5, 97.5)  # percentiles: the ends of a 95 % interval
NORMAL = 1.959964  # deviations from the mean that hold 95 % of a normal distribution
# "If nothing goes wrong, is everything all right?" (Hanley and Lippman-Hand 1983): no error in n trials still
# allows a rate of 3/n. Fewer expected errors than this say nothing about a rate.
EXPECTED_ERRORS = 3.0
BINS = 10


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """The ends of the 95 % interval of a proportion of independent trials (Wilson 1927)."""
    if trials <= 0:
        return 0.0, 1.0
    share, z = successes / trials, NORMAL**2 / trials
    centre = (share + z / 2) / (1 + z)
    half = np.sqrt(z * share * (1 - share) + z**2 / 4) / (1 + z)
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


def enough(trials: float, rate: float) -> bool:
    """Whether `trials` can tell an error rate of `rate` from none at all: the rule of three."""
    return trials * rate >= EXPECTED_ERRORS * (1 - 1e-9)


def drawn(subjects: int, seed: int | tuple[int, ...] = SEED) -> NDArray[np.int64]:
    """How often each subject is drawn, with replacement, in each replicate: [REPLICATES, subjects]."""
    random = np.random.default_rng(seed)
    return np.asarray(random.multinomial(subjects, np.full(subjects, 1 / max(subjects, 1)), REPLICATES), np.int64)


def interval(resampled: Floats) -> Floats:
    """The ends of the 95 % interval of replicates [n, …] along their first axis: [2, …].

    A replicate in which the statistic is undefined (nan) does not count; none at all gives nan.
    """
    values = np.sort(resampled, axis=0)  # nan last
    count = (~np.isnan(values)).sum(0)
    ends = []
    for tail in TAILS:
        place = np.clip(np.ceil(tail / 100 * count).astype(int) - 1, 0, None)
        ends.append(np.take_along_axis(values, place[None], 0)[0])
    return np.array(ends)


def resampled(statistic: Callable[[NDArray[np.int64]], float | Floats], subjects: int) -> Floats:
    """The bootstrap replicates [replicates, …] of a statistic, which gets how often each subject counts.

    Their `interval` is the percentile interval of Efron and Tibshirani 1993.
    """
    return np.array([statistic(counts) for counts in drawn(subjects)], np.float64)


def places(counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """The indices that a draw takes, each as often as it was drawn."""
    return np.repeat(np.arange(len(counts)), counts)


@dataclass(frozen=True, slots=True, eq=False)
class ErrorRates:
    """A detection error trade-off curve: FMR and FNMR at every distinct score.

    `thresholds` [k] fall, beginning with infinity, where nothing matches; so `fmr` rises and `fnmr` falls.
    """

    thresholds: Floats
    fmr: Floats
    fnmr: Floats

    def at(self, threshold: float) -> tuple[float, float]:
        """FMR and FNMR at a threshold."""
        place = int(np.searchsorted(-self.thresholds, -threshold, side="right")) - 1
        return float(self.fmr[place]), float(self.fnmr[place])

    def at_fmr(self, target: float) -> tuple[float, float]:
        """The lowest threshold at which FMR is at most `target`, and FNMR there."""
        if np.isnan(self.fmr[-1]):
            return float("nan"), float("nan")
        place = int(np.searchsorted(self.fmr, target * (1 + 1e-12), side="right")) - 1
        return float(self.thresholds[place]), float(self.fnmr[place])

    def eer(self) -> float:
        """The equal error rate: where the two are the same, on the line between the points beside it."""
        after = int(np.argmax(self.fmr >= self.fnmr))
        above = self.fnmr[after - 1] - self.fmr[after - 1]
        below = self.fmr[after] - self.fnmr[after]
        return float(self.fmr[after - 1] + above / (above + below) * (self.fmr[after] - self.fmr[after - 1]))


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Comparisons, sorted by falling score, so that the rates of any weighting are sums along them.

    `scores` float64 [n]; `same` [n] whether genuine; `subjects` [n, 2] the number of each side's person.
    `below` [people, people] counts impostor comparisons that `top` left out.
    """

    scores: Floats
    same: Bools
    subjects: NDArray[np.int32]
    below: NDArray[np.float32]

    @classmethod
    def of(cls, scores: Floats, same: Bools, subjects: NDArray[np.integer]) -> "Comparisons":
        """Raises `ValueError` without genuine or without impostor comparisons."""
        if same.all() or not same.any():
            raise ValueError("error rates need comparisons of one person and of two")
        order = np.argsort(-scores, kind="stable")
        people = int(subjects.max()) + 1
        none = np.zeros((people, people), np.float32)
        return cls(np.asarray(scores, np.float64)[order], same[order], subjects[order].astype(np.int32), none)

    @property
    def impostors(self) -> int:
        """How many there are, those left out included."""
        return int((~self.same).sum() + self.below.sum())

    def top(self, fmr: float) -> "Comparisons":
        """Without the impostor comparisons that score too low for this FMR; they still count in every rate.

        Where the curve's FMR is above `fmr` it is no longer right.
        """
        place = np.cumsum(~self.same)
        kept = self.same | (place <= np.ceil(fmr * place[-1]))
        first, second = self.subjects[~kept].T.astype(np.int64)
        people = len(self.below)
        left = np.bincount(first * people + second, minlength=people**2).reshape(people, people)
        below = self.below + left.astype(np.float32)
        return Comparisons(self.scores[kept], self.same[kept], self.subjects[kept], below)

    def rates(self, counts: NDArray[np.int64] | None = None) -> ErrorRates:
        """The curve; ties are one point. With `counts` [people] each person counts so many times.

        An impostor comparison then counts as often as its two people meet (the pigeonhole bootstrap, Owen
        2007), a genuine one as often as its person (the subsets bootstrap, Bolle, Ratha and Pankanti 2004).
        Where no comparison of a kind is left, its rate is nan.
        """
        drawn = np.ones(len(self.below)) if counts is None else counts.astype(np.float64)
        first, second = self.subjects.T
        weights = drawn[first]
        genuine = np.where(self.same, weights, 0.0)
        impostor = np.where(self.same, 0.0, weights * drawn[second])
        last = np.flatnonzero(np.append(np.diff(self.scores) != 0, True))
        accepted, matched = (np.append(0.0, np.cumsum(kind)[last]) for kind in (genuine, impostor))
        # In the matrix's own type, as it is large; the sums are whole numbers that it holds exactly.
        left_out = drawn @ (self.below @ drawn.astype(np.float32))
        with np.errstate(invalid="ignore"):
            fmr = matched / (matched[-1] + left_out)
            fnmr = 1 - accepted / accepted[-1]
        return ErrorRates(np.append(np.inf, self.scores[last]), fmr, fnmr)


def best_threshold(scores: Floats, same: Bools) -> float:
    """The threshold that gets most comparisons right, midway between two scores; of several the highest."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    gained = np.concatenate([[0], np.cumsum(np.where(same[order], 1, -1))[last]])
    values = np.concatenate([[ranked[0] + 1.0], ranked[last], [ranked[-1] - 1.0]])
    best = int(np.argmax(gained))
    return float((values[best] + values[best + 1]) / 2)


def cross_validated(scores: Floats, same: Bools, folds: NDArray[np.integer]) -> Bools:
    """Whether each comparison is right at the best threshold of the other folds (LFW's protocol)."""
    right = np.zeros(len(scores), bool)
    for fold in np.unique(folds):
        here = folds == fold
        right[here] = (scores[here] >= best_threshold(scores[~here], same[~here])) == same[here]
    return right


def auc(scores: Floats, positive: Bools) -> float:
    """The chance that a positive has a higher score than a negative, ties counting half; nan without both."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[inverse][positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Per occupied bin: mean probability, share that was true, and how many."""

    probability: Floats
    share: Floats
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of the two, weighted by the bins' counts."""
        if not self.count.size:
            return float("nan")
        return float(np.average(np.abs(self.probability - self.share), weights=self.count))


def reliability(probabilities: Floats, true: Bools) -> Reliability:
    """Probabilities 0–1 against what was true, in `BINS` bins of equal width (Guo et al. 2017).

    With few trials the error is too high, as a bin of few differs from its probability by chance.
    """
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    used = count > 0
    mean, share = (
        np.bincount(bins, values.astype(np.float64), BINS)[used] / count[used] for values in (probabilities, true)
    )
    return Reliability(mean, share, count[used])


def gini(rates: Floats) -> float:
    """How unequal rates [n ≥ 2] are: 0 all the same, 1 all in one group.

    With the factor n/(n − 1) of Howard et al. 2022, "Evaluating Proposed Fairness Models for Face Recognition
    Algorithms" (arXiv 2203.05051). All rates 0 are equal.
    """
    total = rates.sum()
    if total == 0:
        return 0.0
    apart = np.abs(rates[:, None] - rates[None]).sum()
    return float(apart / (2 * (len(rates) - 1) * total))


def garbe(false_positive: Floats, false_negative: Floats, alpha: float = 0.5) -> float:
    """The Gini aggregation rate for biometric equitability of two kinds of error per group (Howard et al. 2022)."""
    return alpha * gini(false_positive) + (1 - alpha) * gini(false_negative)


def worst_over_best(rates: Floats) -> float:
    """The largest rate over the smallest; infinite if that is 0, and nan if all are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(rates.max() / rates.min())


def worst_over_mean(rates: Floats) -> float:
    """The largest rate over the geometric mean (NIST IR 8429); infinite if a rate is 0, and nan if all are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(rates.max() / np.exp(np.log(rates).mean()))
