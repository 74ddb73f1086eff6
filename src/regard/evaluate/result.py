"""What an evaluation is, and what it finds: figures with intervals, tables per group, plots.

Every figure has an id, `<evaluation>.<figure>`, which cards, floors and docs cite; none is written there by
hand. What there is too little data for has no value and a note that says so.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

if TYPE_CHECKING:  # the command line knows what an evaluation is without loading what networks need
    from regard.vision.engines import Engines

ItemT = TypeVar("ItemT")
Unit = Literal["%", "points", "ratio", "degrees", "years", "count", "score", "rate"]


class EvaluationError(Exception):
    """An evaluation cannot be made or read; the message tells an operator why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. The first figure of an evaluation is the one that a summary shows.

    `value` is in `unit` (`%` and `points`: 0–100; `rate` and `score`: 0–1) and None where the data does not
    suffice, which `note` then explains. `low` and `high` are the ends of the 95 % interval. `count` is how
    many trials it rests on. `better` is the direction of improvement, if there is one.
    """

    name: str
    title: str
    value: float | None
    unit: Unit
    count: int
    low: float | None = None
    high: float | None = None
    better: Literal["higher", "lower"] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.note:
            raise ValueError(f"{self.name} was not measured and does not say why")


@dataclass(frozen=True, slots=True)
class Cell:
    """A number in a table, with its 95 % interval where it has one; `value` None: not measured."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table, one row per group as a rule. A cell is text, a whole number or a `Cell`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of points, or one dot per name with its interval, of a plot."""

    label: str
    x: tuple[float | str, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot: `line` (DET, ROC, reliability) or `dots` (a value per group, x being names)."""

    title: str
    kind: Literal["line", "dots"]
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_log: bool = False
    y_log: bool = False
    diagonal: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What one evaluation found. `data` says on what, in one sentence with the counts."""

    data: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()


class Progress(Protocol):
    """Shows how far a long loop is."""

    def __call__(self, items: Sequence[ItemT], title: str) -> Iterable[ItemT]: ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A measurement that anyone can repeat.

    `needs` are the folders or files in the evaluation data that must be there; where they are not, the
    evaluation is left out and the report says so. `networks` are the names in the registry that it judges.
    `run` gets the networks, the folder of the data and a progress bar, and returns the same figures every
    time. `fast` ones (below about half a minute on two cores) run in the tests, which hold their floors.
    """

    name: str
    title: str
    networks: tuple[str, ...]
    needs: tuple[str, ...]
    run: "Callable[[Engines, Path, Progress], Result]"
    fast: bool = True

    def possible(self, data: Path) -> bool:
        """Whether the folder `data` holds what it needs."""
        return not self.missing(data)

    def missing(self, data: Path) -> tuple[str, ...]:
        """What it needs and the folder `data` does not hold."""
        return tuple(need for need in self.needs if not (data / need).exists())
