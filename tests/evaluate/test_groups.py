"""Groups beside each other: raw counts first, and no number for a group that is too small."""

import numpy as np
import pytest

from regard.evaluate import groups
from regard.evaluate.groups import Kind
from regard.evaluate.result import Cell

ERROR = Kind("error", "Errors")


def faces(**errors: tuple[int, int]) -> list[groups.Group]:
    """Groups by name with so many errors of so many trials."""
    names = [name for name, (_, trials) in errors.items() for _ in range(trials)]
    wrong = [number < wrong for wrong, trials in errors.values() for number in range(trials)]
    return groups.of_faces(names, np.array(wrong, bool), list(errors))


def test_the_table_gives_every_group_and_no_rate_of_a_small_one() -> None:
    found = faces(many=(10, 100), few=(1, 10))
    table = groups.table(ERROR, "Errors", found, groups.rate(found))
    many, few = table.rows
    assert many[:3] == ("many", 100, 10)
    assert few == ("few", 10, 1, Cell(None), Cell(None))
    rate, times = many[3:]
    assert isinstance(rate, Cell)
    assert isinstance(times, Cell)
    assert rate.value == 10
    assert rate.low is not None
    assert rate.high is not None
    assert rate.low < 6 < 15 < rate.high
    assert times.value == pytest.approx(1.0)  # 11 of 110 overall


def test_ratios_are_of_the_measured_groups() -> None:
    found = faces(a=(30, 100), b=(10, 100), small=(3, 4))
    worst_best, worst_mean, gini = groups.summaries(ERROR, found, groups.rate(found))
    assert worst_best.value == pytest.approx(3)
    assert worst_mean.value == pytest.approx(3**0.5)
    assert gini.value == pytest.approx(0.5)
    assert worst_best.count == 200
    assert "2 of 3 groups" in worst_best.note
    assert worst_best.low is not None
    assert worst_best.high is not None
    assert worst_best.low < 3 < worst_best.high


def test_a_group_without_errors_leaves_the_ratio_open_but_not_the_gini() -> None:
    found = faces(a=(30, 100), none=(0, 100))
    worst_best, worst_mean, gini = groups.summaries(ERROR, found, groups.rate(found))
    assert worst_best.value is None
    assert "none: no error" in worst_best.note
    assert worst_mean.value is None
    assert gini.value == 1


def test_a_minority_of_measured_groups_cannot_stand_for_all() -> None:
    found = faces(a=(30, 100), small=(1, 2), tiny=(0, 1))
    assert all(figure.value is None and figure.note for figure in groups.summaries(ERROR, found, groups.rate(found)))
    assert groups.dots(ERROR, "Errors", found, groups.rate(found)) == []


def test_pairs_within_groups_are_counted_once_and_without_known_twins() -> None:
    names = ["x", "y", "x", "x"]
    counted = ~np.eye(4, dtype=bool)
    counted[0, 2] = counted[2, 0] = False
    matched = np.ones((4, 4), bool)
    matched[2, 3] = matched[3, 2] = False
    x, y = groups.of_pairs(names, matched, counted, ["x", "y"])
    assert (x.errors, x.trials) == (1, 2)
    assert (y.errors, y.trials) == (0, 0)
    assert np.nanmax(x.resampled) <= 1


def test_an_interval_is_never_narrower_than_of_independent_trials() -> None:
    assert groups.proportion(0, 100, np.zeros(400)) == pytest.approx((0, 0.037), abs=1e-3)
    assert groups.proportion(0, 100, np.linspace(0, 0.5, 400))[1] > 0.4


def test_garbe_weighs_both_kinds_of_error_where_both_are_measured() -> None:
    positive, negative = faces(a=(30, 100), b=(10, 100), c=(1, 3)), faces(a=(20, 100), b=(20, 100), c=(50, 100))
    figure = groups.garbe("garbe", "GARBE", positive, negative)
    assert figure.value == pytest.approx(0.25)
    assert "2 of 3 groups" in figure.note


def test_a_share_of_nothing_is_not_measured() -> None:
    assert groups.percent("share", "Share", np.zeros(0, bool)).value is None


def test_errors_by_group_come_as_tables_figures_and_dots() -> None:
    wrong = np.arange(200) % 4 == 0
    labels = ["old" if number % 2 else "young" for number in range(200)]
    figures, tables, plots = groups.by_group(ERROR, [("age", "age", labels, ["young", "old"])], wrong)
    assert [figure.name for figure in figures] == [
        "age-error-worst-over-best",
        "age-error-worst-over-mean",
        "age-error-gini",
    ]
    assert [row[:3] for row in tables[0].rows] == [("young", 100, 50), ("old", 100, 0)]
    assert plots[0].series[0].x == ("young", "old")
