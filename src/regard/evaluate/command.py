"""What `regard evaluate` does, from the evaluations that were asked for to files and a summary."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regard.evaluate import cards, document, report, run, writing
from regard.evaluate.document import Report
from regard.evaluate.registry import EVALUATIONS
from regard.evaluate.result import Evaluation, EvaluationError
from regard.settings import Settings
from regard.vision import models
from regard.vision.engines import Engines


def chosen(only: Sequence[str], people: Path | None, data: Path | None, *, fast: bool) -> tuple[Evaluation, ...]:
    """The evaluations that were asked for: of the registry, of one's own folder of people, or both.

    Raises `EvaluationError` for an unknown name and for a folder that does not hold pictures of people.
    """
    if people is None:
        return run.choose(only, fast=fast)
    own = (_people(people),)
    return own if data is None else (*run.choose(only, fast=fast), *own)


def listing(evaluations: Sequence[Evaluation], data: Path | None) -> Table:
    """The evaluations, what each judges and needs and, of a folder of data, whether it has that."""
    table = Table("Evaluation", "What", "Networks", "Needs", "Fast")
    for evaluation in evaluations:
        missing = evaluation.missing(data) if data else ()
        needs = ", ".join(f"{need} (missing)" if need in missing else need for need in evaluation.needs)
        fast = "yes" if evaluation.fast else "no"
        table.add_row(evaluation.name, evaluation.title, ", ".join(evaluation.networks), needs, fast)
    return table


def write(evaluations: Sequence[Evaluation], data: Path, settings: Settings, out: Path, console: Console) -> None:
    """Evaluate, and write `report.html` and `report.json` into the folder `out`."""
    found = _run(evaluations, data, settings, console)
    page, _ = report.write(found, out)
    console.print(_summary(found))
    console.print(f"The report is in {page}", markup=False)


def publish(evaluations: Sequence[Evaluation], data: Path, settings: Settings, console: Console) -> None:
    """Evaluate the default networks, and write what was found into the repository's docs and cards.

    What was not asked for stays as it was published, unless a network that it judges has changed.
    """
    if not document.IN_REPOSITORY:
        raise EvaluationError("Only a checkout of the repository has docs and cards to publish in.")
    if document.own_networks(settings):
        raise EvaluationError("What is published is of the default networks: unset REGARD_DETECTOR, REGARD_EMBEDDER.")
    for network in models.networks():
        cards.read(network)  # what is wrong with a card is told before the work, not after it
    found = _run(evaluations, data, settings, console)
    updated = document.published().updated(found, [*EVALUATIONS])
    report.write(updated, document.PUBLISHED.parent)
    cards.publish(document.published())
    console.print(_summary(found))


def _run(evaluations: Sequence[Evaluation], data: Path, settings: Settings, console: Console) -> Report:
    report.check_plots()
    with run.bar(console) as progress:
        found = run.run(evaluations, Engines(settings), data, progress)
    return document.load(document.dump(found))  # the terminal shows what the files will say


def _people(folder: Path) -> Evaluation:
    from regard.evaluate import verification

    people = verification.by_person(folder)
    if len(people) < 2:
        raise EvaluationError(
            f"{folder} should hold a folder for each of two people or more, with JPEG or PNG pictures of that person, "
            f"as {folder}/ann/1.jpg; it has such pictures of {len(people)}."
        )
    return verification.people(folder)


def _summary(found: Report) -> Table:
    """The figures that were measured, on the terminal."""
    table = Table("Measured", "", "95 % interval", "Trials", box=box.SIMPLE)
    for key, figure in found.figures().items():
        if figure.value is not None:
            count = writing.cell(figure.count)
            table.add_row(Text(key, overflow="fold"), writing.value(figure), writing.interval(figure), count)
    return table
