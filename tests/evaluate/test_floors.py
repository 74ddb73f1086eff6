"""A change that makes Regard less accurate is refused, and the figures that fell are named."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from regard.evaluate import run
from regard.evaluate.document import Report
from regard.evaluate.registry import EVALUATIONS
from regard.evaluate.result import Figure
from regard.settings import Settings
from regard.vision.engines import Engines

Floors = Mapping[str, Mapping[str, float]]
FLOORS: Floors = tomllib.loads(Path(__file__).with_name("floors.toml").read_text("utf-8"))


def shortfalls(floors: Floors, figures: Mapping[str, Figure]) -> Iterator[str]:
    """A sentence for each figure that is worse than its floor or is not there."""
    for table, sign in (("least", 1), ("most", -1)):
        for key, floor in floors[table].items():
            figure = figures.get(key)
            if figure is None:
                yield f"there is no figure {key}"
            elif figure.value is None:
                yield f"{key} was not measured: {figure.note}"
            elif sign * (figure.value - floor) < 0:
                side = "below the least" if sign > 0 else "above the most"
                yield f"{key} is {figure.value:g}, {abs(figure.value - floor):.3g} {side} that it may be, {floor:g}"


def test_what_is_worse_than_its_floor_is_named() -> None:
    figures = {
        "a.right": Figure("right", "Right", 98.5, "%", 100),
        "a.wrong": Figure("wrong", "Wrong", 2.0, "%", 100),
        "a.rare": Figure("rare", "Rare", None, "%", 3, note="too few"),
    }
    kept: Floors = {"least": {"a.right": 98.5}, "most": {"a.wrong": 2.0}}
    broken: Floors = {"least": {"a.right": 99.25, "a.rare": 1.0}, "most": {"a.wrong": 1.5, "b.gone": 1.0}}
    assert [*shortfalls(kept, figures)] == []
    assert [*shortfalls(broken, figures)] == [
        "a.right is 98.5, 0.75 below the least that it may be, 99.25",
        "a.rare was not measured: too few",
        "a.wrong is 2, 0.5 above the most that it may be, 1.5",
        "there is no figure b.gone",
    ]


def test_floors_are_of_evaluations_that_this_test_makes() -> None:
    assert FLOORS.keys() == {"least", "most"}
    for key in (*FLOORS["least"], *FLOORS["most"]):
        name = key.partition(".")[0]
        assert name in EVALUATIONS, f"there is no evaluation for {key}"
        assert EVALUATIONS[name].fast, f"{key} takes too long for the tests"


@pytest.fixture(scope="module")
def report(evaluation_data: Path, cache: Path) -> Report:
    """What every fast evaluation finds."""

    def quiet(items: Sequence[Any], title: str) -> Iterable[Any]:
        return items

    return run.run(run.choose(fast=True), Engines(Settings(cache=cache)), evaluation_data, quiet)


@pytest.mark.timeout(900)
def test_no_figure_is_worse_than_its_floor(report: Report) -> None:
    left_out = {left.name for left in report.left_out}
    held = {
        table: {key: floor for key, floor in floors.items() if key.partition(".")[0] not in left_out}
        for table, floors in FLOORS.items()
    }
    worse = [*shortfalls(held, report.figures())]
    assert not worse, "; ".join(worse)
