"""Model cards: what a network is for, what it cannot do, and what was measured, each beside its weights.

People write a card; the section "Measured" is filled in from the published report, so that no figure in it
stands without the evaluation that gives it. "Model Cards for Model Reporting", Mitchell et al., 2019.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from regard.evaluate import writing
from regard.evaluate.document import Measured, Report
from regard.evaluate.result import Cell, EvaluationError, Table
from regard.vision import models

SECTIONS = (
    "For",
    "Not for",
    "Data and licence",
    "Input and output",
    "Measured",
    "Calibration",
    "Known failures",
)
"""The headings of every card, in this order."""

NOTHING = "No evaluation judges this network yet."
_OPENING, _CLOSING = "<!-- measured -->", "<!-- /measured -->"


@dataclass(frozen=True, slots=True)
class Card:
    """A card: its title, the paragraph below it and the text of each section, in Markdown."""

    title: str
    summary: str
    sections: dict[str, str]


def path(network: models.Network) -> Path:
    """Where the card of a network is."""
    return models.WEIGHTS / network.card


def read(network: models.Network) -> Card:
    """The card of a network. Raises `EvaluationError` if it is missing or its headings are not those of `SECTIONS`."""
    try:
        return parse(path(network).read_text("utf-8"))
    except FileNotFoundError as error:
        raise EvaluationError(f"The network '{network.name}' has no card {network.card}.") from error
    except EvaluationError as error:
        raise EvaluationError(f"{network.card}: {error}") from error


def parse(text: str) -> Card:
    """A card from its Markdown. Raises `EvaluationError`."""
    head, *parts = re.split(r"^## +", text, flags=re.MULTILINE)
    title, _, summary = head.strip().partition("\n")
    sections = {name.strip(): body.strip() for name, _, body in (part.partition("\n") for part in parts)}
    if not title.startswith("# ") or not summary.strip():
        raise EvaluationError("A card begins with `# Name: task` and a paragraph.")
    if (*sections,) != SECTIONS or len(parts) != len(SECTIONS):
        raise EvaluationError(f"The headings are {', '.join(sections)} and should be {', '.join(SECTIONS)}.")
    if empty := [name for name, body in sections.items() if not body]:
        raise EvaluationError(f"There is nothing below {', '.join(empty)}.")
    return Card(title.removeprefix("# ").strip(), summary.strip(), sections)


def fill(text: str, measured: str) -> str:
    """A card's Markdown with `measured` between its marks. Raises `EvaluationError` where the marks are missing."""
    if text.count(_OPENING) != 1 or text.count(_CLOSING) != 1:
        raise EvaluationError(f"A card has {_OPENING} and {_CLOSING} once each, below its heading Measured.")
    before, _, rest = text.partition(_OPENING)
    after = rest.partition(_CLOSING)[2]
    return f"{before}{_OPENING}\n{measured}\n{_CLOSING}{after}"


def unfilled(text: str) -> str:
    """A section's Markdown without the marks of `fill`, for showing it."""
    return text.replace(_OPENING, "").replace(_CLOSING, "").strip()


def publish(report: Report) -> None:
    """Fill what was measured into the card of every network of the registry. Raises `EvaluationError`."""
    filled = {path(network): filled_in(network, report) for network in models.networks()}
    for file, text in filled.items():
        file.write_text(text, "utf-8")


def filled_in(network: models.Network, report: Report) -> str:
    """The text that a network's card should have. Raises `EvaluationError` as `read` does."""
    read(network)
    return fill(path(network).read_text("utf-8"), measured(network.name, report))


def measured(name: str, report: Report) -> str:
    """What a report found about the network of this name, in Markdown."""
    return "\n\n".join(part for found in report.judging(name) for part in _evaluation(found)) or NOTHING


def _evaluation(found: Measured) -> Iterator[str]:
    result = found.result
    yield f"### {found.title}"
    yield result.data
    rows = [
        (figure.title, writing.value(figure), writing.interval(figure), writing.cell(figure.count))
        for figure in found.known()
    ]
    yield _markdown(("Figure", "Measured", "95 % interval", "Trials"), rows)
    yield from (f"{figure.title}: {figure.note}" for figure in found.known() if figure.note)
    if unknown := found.unknown():
        yield "Not measured:\n\n" + "\n".join(
            f"- {'; '.join(figure.title for figure in figures)}. {reason}" for reason, figures in unknown.items()
        )
    for table in result.tables:
        yield from _table(table)
    yield from result.notes


def _table(table: Table) -> Iterator[str]:
    yield f"**{table.title}**"
    yield _markdown(table.columns, [tuple(map(_cell, row)) for row in table.rows])
    if table.note:
        yield table.note


def _cell(content: str | int | Cell) -> str:
    range_ = writing.interval(content) if isinstance(content, Cell) else ""
    return f"{writing.cell(content)} ({range_})" if range_ else writing.cell(content)


def _markdown(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table whose first column is to the left and the others to the right."""
    rule = ("---", *("---:" for _ in columns[1:]))
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (columns, rule, *rows)
    )
