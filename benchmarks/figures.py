"""The figures that are worth a line in the table of all benchmarks, with the goals that were set for them."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from rich.table import Table

FILE = "REGARD_FIGURES"


@dataclass(frozen=True)
class Figure:
    """A `value` in `unit`, and what it should be at `least` or at `most`, if a goal was set."""

    what: str
    value: float
    unit: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def reached(self) -> bool | None:
        """None without a goal."""
        if self.least is None and self.most is None:
            return None
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    @property
    def goal(self) -> str:
        """The goal in words."""
        bounds = ((self.least, "at least"), (self.most, "at most"))
        return ", ".join(f"{word} {_written(bound)}" for bound, word in bounds if bound is not None)


def note(what: str, value: float, unit: str = "", *, least: float | None = None, most: float | None = None) -> None:
    """Keep a figure for the table of a run of all benchmarks; one that runs alone has its own."""
    if path := os.environ.get(FILE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(Figure(what, float(value), unit, least, most))) + "\n")


def read(path: Path) -> list[Figure]:
    """What was noted in a file."""
    return [Figure(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


@dataclass(frozen=True)
class Measurement:
    """What one benchmark noted on a `machine`, when it `began` (ISO 8601) and at which `revision` of Regard."""

    machine: str
    began: str
    revision: str
    failed: bool
    figures: list[Figure]

    def keep(self, path: Path) -> None:
        """In a file, in place of what it had."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @classmethod
    def kept(cls, path: Path) -> Self | None:
        """What a file has; None where there is none."""
        if not path.exists():
            return None
        document = json.loads(path.read_text("utf-8"))
        return cls(**document | {"figures": [Figure(**figure) for figure in document["figures"]]})


def table(title: str, measured: Mapping[str, Measurement]) -> Table:
    """All figures beside their goals, by benchmark."""
    found = Table(title=title)
    for column in ("What", "Figure", "Goal", "Reached", "Measured"):
        found.add_column(column, justify="right" if column == "Figure" else "left")
    words = {True: "[green]yes", False: "[red]no", None: ""}
    for name, measurement in measured.items():
        when = f"{measurement.began[:16].replace('T', ' ')}, {measurement.revision}"
        if measurement.failed:
            found.add_row(f"[red]{name} failed, or missed a goal that is its own to judge", "", "", "", when)
        for figure in measurement.figures:
            value = f"{_written(figure.value)} {figure.unit}".strip()
            found.add_row(figure.what, value, figure.goal, words[figure.reached], when)
    return found


def _written(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
