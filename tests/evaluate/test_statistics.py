"""The numbers themselves: against counting by hand, brute force, and published or closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regard.evaluate import statistics
from regard.evaluate.statistics import Comparisons, ErrorRates

# Few distinct values, so that ties are the rule.
SCORES = st.integers(0, 6).map(float)
BOTH_KINDS = st.lists(st.tuples(SCORES, st.booleans()), min_size=2, max_size=40).filter(
    lambda pairs: len({same for _, same in pairs}) == 2
)


def compared(scores: list[float], same: list[int], subjects: list[tuple[int, int]] | None = None) -> Comparisons:
    numbers = np.array(subjects or [(2 * i, 2 * i if s else 2 * i + 1) for i, s in enumerate(same)])
    return Comparisons.of(np.array(scores, float), np.array(same, bool), numbers)


def test_error_rates_are_those_counted_by_hand() -> None:
    rates = compared([9, 8, 7, 6, 5, 5, 3, 1], [1, 1, 0, 1, 1, 0, 0, 0]).rates()
    assert rates.thresholds.tolist() == [np.inf, 9, 8, 7, 6, 5, 3, 1]
    assert rates.fmr.tolist() == [0, 0, 0, 0.25, 0.25, 0.5, 0.75, 1]
    assert rates.fnmr.tolist() == [1, 0.75, 0.5, 0.5, 0.25, 0, 0, 0]
    assert rates.eer() == 0.25
    assert rates.at(6.5) == (0.25, 0.5)
    assert rates.at(5) == (0.5, 0.0)
    assert rates.at(10) == (0.0, 1.0)
    assert rates.at(-1) == (1.0, 0.0)
    assert rates.at_fmr(0.25) == (6.0, 0.25)
    assert rates.at_fmr(0.24) == (8.0, 0.5)


def test_a_tie_of_both_kinds_is_one_step() -> None:
    rates = compared([1, 1, 0], [1, 0, 0]).rates()
    assert list(zip(rates.fmr, rates.fnmr, strict=True)) == [(0, 1), (0.5, 0), (1, 0)]
    assert rates.eer() == pytest.approx(1 / 3)  # on the line from (0, 1) to (1/2, 0)


def test_separated_scores_have_no_equal_error() -> None:
    assert compared([4, 3, 2, 1], [1, 1, 0, 0]).rates().eer() == 0


def test_equal_error_of_two_normal_distributions() -> None:
    """d' apart, the closed form is Φ(−d'/2); Φ(−1) = 0.158655."""
    random = np.random.default_rng(0)
    scores = np.concatenate([random.normal(2, 1, 40_000), random.normal(0, 1, 40_000)])
    same = np.arange(80_000) < 40_000
    assert statistics.auc(scores, same) == pytest.approx(0.921350, abs=0.004)  # Φ(2/√2)
    rates = Comparisons.of(scores, same, np.zeros((80_000, 2), int)).rates()
    assert rates.eer() == pytest.approx(0.158655, abs=0.005)


@given(BOTH_KINDS, st.floats(-1, 7))
def test_rates_equal_brute_force_at_any_threshold(pairs: list[tuple[float, bool]], threshold: float) -> None:
    scores, same = (np.array(part) for part in zip(*pairs, strict=True))
    fmr, fnmr = compared(list(scores), list(same)).rates().at(threshold)
    assert fmr == pytest.approx((scores[~same] >= threshold).mean())
    assert fnmr == pytest.approx((scores[same] < threshold).mean())


@given(BOTH_KINDS, st.floats(0, 1))
def test_fnmr_at_an_fmr_is_the_least_of_all_allowed(pairs: list[tuple[float, bool]], target: float) -> None:
    scores, same = (np.array(part) for part in zip(*pairs, strict=True))
    threshold, fnmr = compared(list(scores), list(same)).rates().at_fmr(target)
    allowed = [t for t in [np.inf, *scores] if (scores[~same] >= t).mean() <= target + 1e-9]
    assert threshold == min(allowed)
    assert fnmr == pytest.approx((scores[same] < threshold).mean())


@given(BOTH_KINDS)
def test_order_of_the_pairs_does_not_matter(pairs: list[tuple[float, bool]]) -> None:
    def curve(ordered: list[tuple[float, bool]]) -> ErrorRates:
        scores, same = zip(*ordered, strict=True)
        return compared(list(scores), list(same)).rates()

    one, other = curve(pairs), curve(pairs[::-1])
    assert np.array_equal(one.fmr, other.fmr)
    assert np.array_equal(one.fnmr, other.fnmr)


PEOPLE = st.lists(st.integers(0, 3), min_size=4, max_size=4)


@given(PEOPLE)
def test_people_drawn_twice_bring_all_their_comparisons_twice(counts: list[int]) -> None:
    """The weighting equals comparing the drawn people, each as a person of its own."""
    random = np.random.default_rng(1)
    subjects = np.array([(a, b) for a in range(4) for b in range(4) for _ in range(2)])
    scores = random.integers(0, 9, len(subjects)).astype(float)
    same = subjects[:, 0] == subjects[:, 1]
    rates = Comparisons.of(scores, same, subjects).rates(np.array(counts))
    times = np.array([counts[a] if a == b else counts[a] * counts[b] for a, b in subjects])
    for threshold in (0.0, 3.0, 8.0):
        for kind, found in ((~same, rates.at(threshold)[0]), (same, 1 - rates.at(threshold)[1])):
            total = times[kind].sum()
            share = times[kind & (scores >= threshold)].sum() / total if total else np.nan
            assert found == pytest.approx(share, nan_ok=True)


@given(PEOPLE, st.floats(0.1, 1))
def test_leaving_out_low_scores_changes_no_rate_above_them(counts: list[int], fmr: float) -> None:
    random = np.random.default_rng(2)
    subjects = random.integers(0, 4, (80, 2))
    subjects[0], subjects[1] = (3, 3), (0, 3)
    scores, same = random.normal(size=80), subjects[:, 0] == subjects[:, 1]
    everything = Comparisons.of(scores, same, subjects)
    part = everything.top(fmr)
    assert part.impostors == everything.impostors
    place = everything.rates().at_fmr(fmr)[0]
    for threshold in (place, place + 0.3):
        expected = everything.rates(np.array(counts)).at(threshold)
        assert part.rates(np.array(counts)).at(threshold) == pytest.approx(expected, nan_ok=True)


def test_the_same_draws_every_time_and_each_of_as_many_people() -> None:
    draws = statistics.drawn(7)
    assert (draws.sum(1) == 7).all()
    assert np.array_equal(draws, statistics.drawn(7))
    assert len(np.unique(draws, axis=0)) > 100


def test_bootstrap_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = statistics.interval(statistics.resampled(lambda c: float(np.average(values, weights=c)), 400))
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.15)
    assert low < values.mean() < high


def test_pairs_that_share_people_have_wider_intervals_than_independent_ones() -> None:
    """Ten people, one of whom is taken for everybody: the interval must know that it hangs on one person."""
    subjects = np.array([(a, b) for a in range(10) for b in range(a, 10)])
    same = subjects[:, 0] == subjects[:, 1]
    scores = np.where(subjects[:, 0] == 0, 1.0, 0.0)
    comparisons = Comparisons.of(scores, same, subjects)
    low, high = statistics.interval(statistics.resampled(lambda c: comparisons.rates(c).at(1.0)[0], 10))
    wilson_low, wilson_high = statistics.wilson(9, 45)
    assert high - low > 1.4 * (wilson_high - wilson_low)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],  # the last: Newcombe 1998, method 3
)
def test_wilson_intervals_are_the_published_ones(successes: int, trials: int, low: float, high: float) -> None:
    assert statistics.wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_without_trials_a_proportion_may_be_anything() -> None:
    assert statistics.wilson(0, 0) == (0.0, 1.0)


def test_three_expected_errors_are_enough() -> None:
    assert statistics.enough(3_000_000, 1e-6)
    assert not statistics.enough(2_999_999, 1e-6)
    assert statistics.enough(300, 0.01)


def test_undefined_replicates_do_not_count() -> None:
    values = np.array([1.0, np.nan, 2.0, 3.0, np.nan])
    assert statistics.interval(values).tolist() == [1.0, 3.0]
    assert np.isnan(statistics.interval(np.full(5, np.nan))).all()


def test_best_threshold_lies_between_scores() -> None:
    scores, same = np.array([0.1, 0.4, 0.4, 0.8, 0.9]), np.array([0, 0, 1, 1, 1], bool)
    assert statistics.best_threshold(scores, same) == pytest.approx(0.6)
    assert statistics.best_threshold(np.array([1.0, 2.0]), np.array([True, True])) < 1


@given(BOTH_KINDS)
def test_no_threshold_is_better_than_the_best(pairs: list[tuple[float, bool]]) -> None:
    scores, same = (np.array(part) for part in zip(*pairs, strict=True))
    best = ((scores >= statistics.best_threshold(scores, same)) == same).sum()
    assert best == max(((scores >= t) == same).sum() for t in [*scores, np.inf])


def test_folds_are_judged_by_the_threshold_of_the_others() -> None:
    scores = np.array([0.9, 0.1, 0.6, 0.5])
    same, folds = np.array([1, 0, 0, 1], bool), np.array([0, 0, 1, 1])
    # Fold 1 is judged at 0.5: its stranger is wrong, its genuine pair right. Fold 0 is judged at a threshold
    # above 0.6 (nothing matches), or below 0.5: either gets one of it right.
    assert statistics.cross_validated(scores, same, folds).tolist() == [False, True, False, True]


def test_auc_with_ties() -> None:
    assert statistics.auc(np.array([1.0, 2, 2, 3]), np.array([0, 0, 1, 1], bool)) == 0.875
    assert np.isnan(statistics.auc(np.array([1.0]), np.array([True])))


@given(BOTH_KINDS)
def test_auc_is_the_share_of_ordered_pairs(pairs: list[tuple[float, bool]]) -> None:
    scores, positive = (np.array(part) for part in zip(*pairs, strict=True))
    apart = scores[positive][:, None] - scores[~positive][None]
    assert statistics.auc(scores, positive) == pytest.approx(((apart > 0) + (apart == 0) / 2).mean())
    assert statistics.auc(-scores, positive) == pytest.approx(1 - statistics.auc(scores, positive))


def test_calibration_error_by_hand() -> None:
    curve = statistics.reliability(np.array([0.95, 0.95, 0.65, 0.65, 1.0]), np.array([1, 0, 1, 0, 1], bool))
    assert curve.count.tolist() == [2, 3]
    assert curve.probability == pytest.approx([0.65, 2.9 / 3])
    assert curve.share == pytest.approx([0.5, 2 / 3])
    assert curve.error == pytest.approx((2 * 0.15 + 3 * 0.3) / 5)


def test_true_probabilities_are_calibrated() -> None:
    random = np.random.default_rng(0)
    probabilities = random.uniform(size=50_000)
    assert statistics.reliability(probabilities, random.uniform(size=50_000) < probabilities).error < 0.01


def test_inequality_of_rates() -> None:
    assert statistics.gini(np.array([0.1, 0.1, 0.1])) == pytest.approx(0)
    assert statistics.gini(np.array([0.0, 0.0, 0.4])) == pytest.approx(1)
    assert statistics.gini(np.zeros(4)) == 0
    assert statistics.gini(np.array([1.0, 3.0])) == pytest.approx(0.5)  # 2/1 · 2·2 / (2·2²·2)
    assert statistics.garbe(np.array([1.0, 3.0]), np.array([2.0, 2.0]), 0.25) == pytest.approx(0.125)


RATES = st.lists(st.floats(1e-6, 1), min_size=2, max_size=14).map(np.array)


@given(RATES, st.floats(0.01, 100))
def test_ratios_do_not_depend_on_the_scale_nor_on_the_order(rates: NDArray[np.float64], scale: float) -> None:
    for summary in (statistics.gini, statistics.worst_over_best, statistics.worst_over_mean):
        assert summary(rates * scale) == pytest.approx(summary(rates), rel=1e-6, abs=1e-9)
        assert summary(rates[::-1]) == pytest.approx(summary(rates), abs=1e-9)
    assert 0 <= statistics.gini(rates) <= 1 + 1e-9
    assert 1 - 1e-9 <= statistics.worst_over_mean(rates) <= statistics.worst_over_best(rates) + 1e-9


def test_a_group_without_errors_makes_a_ratio_infinite() -> None:
    assert statistics.worst_over_best(np.array([0.0, 0.1])) == np.inf
    assert statistics.worst_over_mean(np.array([0.0, 0.1])) == np.inf
    assert np.isnan(statistics.worst_over_best(np.zeros(2)))
