"""The reports as files: a page that needs nothing from elsewhere, and the same as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from regard.evaluate.report import TEMPLATES as EVALUATION
from regard.use.reports.disclosure import K
from regard.use.reports.technical_file import Part
from regard.use.reports.transparency import Transparency

_OWN = Path(__file__).with_name("templates")


def _environment() -> jinja2.Environment:
    assert EVALUATION.loader is not None  # noqa: S101
    return EVALUATION.overlay(loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(_OWN), EVALUATION.loader]))


TEMPLATES = _environment()


def write_transparency(report: Transparency, folder: Path) -> list[Path]:
    """`transparency.html` and `transparency.json` in a folder, which is made."""
    page = TEMPLATES.get_template("transparency.html").render(report=report, k=K)
    return _write(folder, "transparency", page, report.plain())


def write_technical_file(parts: Sequence[Part], folder: Path) -> list[Path]:
    """`technical-file.html` and `technical-file.json` in a folder, which is made."""
    page = TEMPLATES.get_template("technical_file.html").render(parts=parts)
    return _write(folder, "technical-file", page, [asdict(part) for part in parts])


def _write(folder: Path, name: str, page: str, content: Any) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.html", folder / f"{name}.json"]
    paths[0].write_text(page, "utf-8")
    paths[1].write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return paths
