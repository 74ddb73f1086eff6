"""The report that people read: one HTML file with nothing outside it, no script and no clock.

What comes first is what is asked first: how right, how sure, and for whom it is worse.
"""

from pathlib import Path

import jinja2
from markupsafe import Markup

from regard.evaluate import document, writing
from regard.evaluate.document import Report
from regard.evaluate.result import Cell

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.globals["writing"] = writing
TEMPLATES.tests["measured"] = lambda content: isinstance(content, Cell)
TEMPLATES.tests["text"] = lambda content: isinstance(content, str)


def check_plots() -> None:
    """Raise `EvaluationError` where matplotlib is not installed: before the work, not after it."""
    from regard.evaluate import plots  # noqa: F401


def html(report: Report) -> str:
    """The page. Raises `EvaluationError` where matplotlib is not installed."""
    from regard.evaluate import plots

    return TEMPLATES.get_template("report.html").render(
        report=report,
        svg=lambda plot: Markup(plots.svg(plot)),  # noqa: S704 — SVG of our own, its words escaped
        hides_zero=plots.hides_zero,
    )


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write `report.html` and `report.json` into a folder, which is made, and return their paths."""
    text = document.dump(report)
    page = html(document.load(text))
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "report.html", folder / "report.json"
    for path, content in zip(paths, (page, text), strict=True):
        path.write_text(content, "utf-8")
    return paths
