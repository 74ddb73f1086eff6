"""Error rates of demographic groups beside each other, in the manner of ISO/IEC 19795-10.

The table of every group's trials and errors comes first, at one threshold for all; what condenses it comes
second: worst over best, worst over geometric mean (NIST) and the Gini coefficient. No one number stands
alone, and a group of which the rule of three says that it is too small is "not measured".

The labels come with evaluation data and stay here: nothing in Regard tells people's race or origin.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regard.evaluate import statistics
from regard.evaluate.result import Cell, Figure, Plot, Series, Table, Unit
from regard.evaluate.statistics import Bools, Floats

# Among several groups that err alike the largest rate is above the smallest by chance; a ratio says that.
CHANCE = (
    "Groups that err alike still differ by chance: a ratio of extremes is above 1 even then, and its interval, "
    "in which chance counts twice, lies too high."
)


Rows = tuple[tuple[str | int | Cell, ...], ...]
"""Of a table."""
Grouping = tuple[str, str, Sequence[str], Sequence[str]]
"""An id, a title, the group of each face, and the groups in their order."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One group's errors of its trials, and its rates [replicates] with its people drawn again."""

    name: str
    errors: int
    trials: int
    resampled: Floats

    @property
    def rate(self) -> float:
        return self.errors / self.trials if self.trials else float("nan")

    def cell(self, scale: float) -> Cell:
        """The rate times `scale`, with an interval never narrower than that of independent trials."""
        low, high = proportion(self.errors, self.trials, self.resampled)
        return Cell(scale * self.rate, scale * low, scale * high)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is counted: `name` for ids, `title` for people, `unit` and its `scale` for the tables."""

    name: str
    title: str
    unit: str = "%"
    scale: float = 100.0


def proportion(errors: float, trials: float, resampled: Floats) -> tuple[float, float]:
    """The 95 % interval of a share: the bootstrap's, or Wilson's where that is wider, as it is without errors."""
    low, high = statistics.interval(resampled)
    ends = statistics.wilson(errors, trials)
    return float(np.fmin(low, ends[0])), float(np.fmax(high, ends[1]))


def percent(name: str, title: str, hits: Bools, better: Literal["higher", "lower"] | None = None) -> Figure:
    """The share of independent trials [n] that hit, in percent, with Wilson's interval."""
    if not len(hits):
        return Figure(name, title, None, "%", 0, note="There is none.")
    low, high = statistics.wilson(hits.sum(), len(hits))
    return Figure(name, title, 100 * float(hits.mean()), "%", len(hits), 100 * low, 100 * high, better)


def cell(figure: Figure) -> Cell:
    """A figure in a table."""
    return Cell(figure.value, figure.low, figure.high)


def of_faces(names: Sequence[str], wrong: Bools, order: Sequence[str]) -> list[Group]:
    """Groups of independent trials, one a face: `wrong` [n] of the group `names` [n], for the groups of `order`."""
    random = np.random.default_rng(statistics.SEED)
    labels = np.array(names)
    found = []
    for name in order:
        here = wrong[labels == name]
        share = float(here.mean()) if here.size else 0.0
        resampled = random.binomial(here.size, share, statistics.REPLICATES) / max(here.size, 1)
        found.append(Group(name, int(here.sum()), int(here.size), resampled))
    return found


def of_pairs(names: Sequence[str], wrong: Bools, counted: Bools, order: Sequence[str]) -> list[Group]:
    """Groups of comparisons within a group: `wrong` and `counted` [n, n] of faces with the group `names` [n].

    The groups are those of `order`. Only the pairs above the diagonal are read. A face is drawn with all its pairs.
    """
    labels = np.array(names)
    found = []
    for number, name in enumerate(order):
        here = np.flatnonzero(labels == name)
        first, second = np.nonzero(np.triu(counted[np.ix_(here, here)], 1))
        errs = wrong[here[first], here[second]]
        counts = statistics.drawn(len(here), seed=(statistics.SEED, number))
        with np.errstate(invalid="ignore"):
            resampled = _met(counts, first[errs], second[errs]) / _met(counts, first, second)
        found.append(Group(name, int(errs.sum()), len(first), resampled))
    return found


def _met(counts: NDArray[np.int64], first: NDArray[np.intp], second: NDArray[np.intp]) -> Floats:
    """How many of the pairs there are in each replicate."""
    return np.array([(drawn[first] * drawn[second]).sum() for drawn in counts], np.float64)


def rate(groups: Sequence[Group]) -> float:
    """The rate over all of them."""
    return sum(group.errors for group in groups) / max(sum(group.trials for group in groups), 1)


def measured(groups: Sequence[Group], rate: float) -> list[Group]:
    """The groups with enough trials to tell errors at the overall `rate` from none."""
    return [group for group in groups if statistics.enough(group.trials, rate)]


def table(kind: Kind, title: str, groups: Sequence[Group], rate: float, note: str = "") -> Table:
    """Every group, raw: trials, errors, the rate with its interval, and how many times the overall `rate`."""
    told = measured(groups, rate)
    lines = tuple(
        (
            group.name,
            group.trials,
            group.errors,
            group.cell(kind.scale) if group in told else Cell(None),
            _times(group, rate) if group in told else Cell(None),
        )
        for group in groups
    )
    columns = ("Group", "Trials", "Errors", f"{kind.title}, {kind.unit}", "Times the overall rate")
    return Table(title, columns, lines, note or f"Overall: {kind.scale * rate:.4g} {kind.unit}.")


def _times(group: Group, rate: float) -> Cell:
    ends = group.cell(1 / rate)
    return Cell(ends.value, ends.low, ends.high)


def dots(kind: Kind, title: str, groups: Sequence[Group], rate: float) -> list[Plot]:
    """The measured groups' rates with intervals; no plot if they are too few."""
    told = measured(groups, rate)
    if not most(told, groups):
        return []
    cells = [group.cell(kind.scale) for group in told]
    series = Series(
        kind.title,
        tuple(group.name for group in told),
        tuple(cell.value or 0.0 for cell in cells),
        tuple(cell.low or 0.0 for cell in cells),
        tuple(cell.high or 0.0 for cell in cells),
    )
    return [Plot(title, "dots", "", f"{kind.title}, {kind.unit}", (series,))]


def most(told: Sequence[Group], groups: Sequence[Group]) -> bool:
    """Whether the measured groups can stand for all: two, and more than half of them."""
    return len(told) >= 2 and 2 * len(told) > len(groups)


_SUMMARIES: tuple[tuple[str, str, Callable[[Floats], float]], ...] = (
    ("worst-over-best", "worst group over best", statistics.worst_over_best),
    ("worst-over-mean", "worst group over geometric mean", statistics.worst_over_mean),
    ("gini", "Gini coefficient over groups", statistics.gini),
)


def summaries(kind: Kind, groups: Sequence[Group], rate: float) -> tuple[Figure, ...]:
    """The ratios and the Gini coefficient over the measured groups, or why there are none."""
    told = measured(groups, rate)
    return tuple(
        _summary(f"{kind.name}-{name}", f"{kind.title}: {title}", summary, told, groups, rate)
        for name, title, summary in _SUMMARIES
    )


def _summary(
    name: str,
    title: str,
    summary: Callable[[Floats], float],
    told: Sequence[Group],
    groups: Sequence[Group],
    rate: float,
) -> Figure:
    unit: Unit = "score" if summary is statistics.gini else "ratio"
    trials = sum(group.trials for group in told)
    note = f"{len(told)} of {len(groups)} groups have enough trials for an overall rate of {rate:.2g}."
    if not most(told, groups):
        return Figure(name, title, None, unit, trials, note=note)
    value = summary(np.array([group.rate for group in told]))
    if not np.isfinite(value):
        best = min(told, key=lambda group: group.rate).name
        return Figure(name, title, None, unit, trials, note=f"{note} {best}: no error, so the ratio has no bound.")
    replicates = np.array([group.resampled for group in told]).T
    low, high = statistics.interval(np.array([summary(rates) for rates in replicates]))
    return Figure(name, title, value, unit, trials, min(float(low), value), _finite(high), "lower", note)


def _finite(value: float) -> float | None:
    """None where a replicate had no error in its best group, so that the interval is open."""
    return float(value) if np.isfinite(value) else None


def by_group(kind: Kind, groupings: Sequence[Grouping], wrong: Bools) -> tuple[list[Figure], list[Table], list[Plot]]:
    """Errors of independent trials [n] by each grouping: the raw tables, what condenses them, and dots."""
    figures: list[Figure] = []
    tables: list[Table] = []
    plots: list[Plot] = []
    for name, title, labels, order in groupings:
        found = of_faces(labels, wrong, order)
        named = Kind(f"{name}-{kind.name}", f"{kind.title}, by {title}", kind.unit, kind.scale)
        tables.append(table(kind, named.title, found, rate(found)))
        figures += summaries(named, found, rate(found))
        plots += dots(kind, named.title, found, rate(found))
    return figures, tables, plots


def garbe(name: str, title: str, false_positive: Sequence[Group], false_negative: Sequence[Group]) -> Figure:
    """GARBE of two kinds of error of the same groups, over the groups in which both are measured."""
    kinds = (false_positive, false_negative)
    told = [{group.name for group in measured(kind, rate(kind))} for kind in kinds]
    chosen = [[group for group in kind if group.name in told[0] & told[1]] for kind in kinds]
    trials = sum(group.trials for kind in chosen for group in kind)
    note = f"{len(chosen[0])} of {len(false_positive)} groups have enough trials of both kinds."
    if not most(chosen[0], false_positive):
        return Figure(name, title, None, "score", trials, note=note)
    first, second = (np.array([[group.rate, *group.resampled] for group in kind]).T for kind in chosen)
    value, *replicates = (statistics.garbe(one, other) for one, other in zip(first, second, strict=True))
    low, high = statistics.interval(np.array(replicates))
    return Figure(name, title, value, "score", trials, min(float(low), value), float(high), "lower", note)
