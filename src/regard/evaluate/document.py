"""What evaluations found, as one document: the JSON that reports, cards, floors and pages are made from.

The same measurement gives the same bytes: no times, no paths, numbers rounded to what they can bear. So a
report can be committed, and a difference between two of them is a difference between what was measured.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from regard.evaluate.result import EvaluationError, Figure, Result
from regard.settings import Settings

_INSTALLED = Path(__file__).parent.parent / "accuracy"
IN_REPOSITORY = not _INSTALLED.is_dir()
PUBLISHED = (Path(__file__).parents[3] / "docs" / "accuracy" if IN_REPOSITORY else _INSTALLED) / "report.json"
"""The report on the default networks: inside an installed package, else in the repository."""

DIGITS = 4
_LINE = 110


@dataclass(frozen=True, slots=True)
class Judged:
    """A network that an evaluation judged, and which file of it."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Measured:
    """An evaluation and what it found."""

    name: str
    title: str
    networks: tuple[str, ...]
    result: Result

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Its figures with their ids."""
        return ((f"{self.name}.{figure.name}", figure) for figure in self.result.figures)

    def known(self) -> list[Figure]:
        """Its figures that have a value."""
        return [figure for figure in self.result.figures if figure.value is not None]

    def unknown(self) -> dict[str, list[Figure]]:
        """Its figures that were not measured, by the reason."""
        reasons: dict[str, list[Figure]] = {}
        for figure in self.result.figures:
            if figure.value is None:
                reasons.setdefault(figure.note, []).append(figure)
        return reasons


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An evaluation that was not made, since the data lacks what `missing` names."""

    name: str
    title: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one run found. `remarks` say what a reader must know of all of it."""

    networks: tuple[Judged, ...]
    measured: tuple[Measured, ...]
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()

    def figures(self) -> dict[str, Figure]:
        """Every figure by its id."""
        return {key: figure for measured in self.measured for key, figure in measured.figures()}

    def judging(self, network: str) -> tuple[Measured, ...]:
        """What judges the network of this name."""
        return tuple(measured for measured in self.measured if network in measured.networks)

    def updated(self, newer: "Report", order: Sequence[str]) -> "Report":
        """This report with what is measured in a `newer` one, in the given order of names; names beyond it are dropped.

        What judges a network of which `newer` knows another file is dropped, too: it is no longer true.
        """
        now, before = ({judged.name: judged for judged in report.networks} for report in (newer, self))
        changed = {name for name in now.keys() & before.keys() if now[name] != before[name]}
        kept = [measured for measured in self.measured if not changed.intersection(measured.networks)]
        found = {measured.name: measured for measured in (*kept, *newer.measured)}
        missing = {left.name: left for left in (*self.left_out, *newer.left_out)}
        chosen = tuple(found[name] for name in order if name in found)
        named = {name for measured in chosen for name in measured.networks}
        return Report(
            tuple(judged for name, judged in sorted((before | now).items()) if name in named),
            chosen,
            tuple(missing[name] for name in order if name in missing and name not in found),
            newer.remarks,
        )


_report = TypeAdapter(Report)


def dump(report: Report) -> str:
    """The report as JSON, its numbers rounded to `DIGITS` significant digits; entries that say nothing are left out.

    Raises `EvaluationError` for a number that is none (NaN, infinity).
    """
    try:
        return "".join(_pretty(_plain(report), "")) + "\n"
    except ValueError as error:
        raise EvaluationError(f"a figure is not a number: {error}") from error


def load(text: str | bytes) -> Report:
    """The report that `dump` wrote. Raises `EvaluationError` if it is none."""
    try:
        return _report.validate_json(text)
    except ValidationError as error:
        raise EvaluationError(f"this is no report of an evaluation: {error}") from error


def published() -> Report:
    """The report on the default networks that came with Regard."""
    return load(PUBLISHED.read_bytes())


def own_networks(settings: Settings) -> tuple[str, ...]:
    """A sentence for each network of the owner's that stands in for one of the registry."""
    own = (("yunet", "found", settings.detector), ("sface", "embedded", settings.embedder))
    return tuple(
        f"Faces are {done} by a network of the owner's, which {file.name} describes, and not by {name}."
        for name, done, file in own
        if file is not None
    )


def _plain(value: Any) -> Any:
    """`value` as JSON knows it."""
    if is_dataclass(value):
        entries = ((field, getattr(value, field.name)) for field in fields(value))
        return {field.name: _plain(entry) for field, entry in entries if entry != field.default}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, str | bool) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        rounded = float(f"{float(value):.{DIGITS}g}")
        return int(rounded) if rounded.is_integer() else rounded
    raise TypeError(f"{type(value).__name__} has no place in a report")


def _pretty(value: Any, margin: str) -> Iterator[str]:
    """JSON with sorted keys that breaks lines where one would be too long, and not between numbers."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    nested = isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(item, list | dict) for item in value)
    )
    if not nested or len(line) <= _LINE:
        yield line
        return
    inner = margin + " "
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    items = sorted(value.items()) if isinstance(value, dict) else [(None, item) for item in value]
    yield opening
    for index, (key, item) in enumerate(items):
        yield ("," if index else "") + "\n" + inner
        if key is not None:
            yield json.dumps(key) + ": "
        yield from _pretty(item, inner)
    yield "\n" + margin + closing
