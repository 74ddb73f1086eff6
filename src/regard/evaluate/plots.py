"""Plots as SVG that sits inside a page: it takes the page's colours, light or dark, and its letters.

Matplotlib draws; the colours that it is given stand for names, which become the page's CSS variables. The
same plot gives the same SVG.
"""

import io
import re
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any
from xml.sax.saxutils import escape

from regard.evaluate.result import EvaluationError, Plot, Series

try:
    import matplotlib
    from matplotlib.figure import Figure as Drawing
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
except ImportError as error:
    raise EvaluationError("The report's plots need matplotlib: pip install 'regard[evaluate]'") from error

WIDTH_INCHES = 6.4
LINE_HEIGHT_INCHES = 4.0
# Colours that stand for variables of the page's style; the series' are Okabe and Ito's, see `style.css`.
INK, FAINT, MUTED, PAPER = "#010101", "#010102", "#010109", "#01010a"
SERIES = tuple(f"#01010{number}" for number in range(3, 9))
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--line)", MUTED: "var(--muted)", PAPER: "var(--paper)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)
}
_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)), (0, (1, 2)))
_MARKERS = "osD^vP"
# Matplotlib's settings; `Any`, as it knows each by its name.
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def svg(plot: Plot) -> str:
    """The plot as an SVG element with a title for those who cannot see it."""
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": plot.title}):
        drawing = Drawing(layout="constrained")
        axes = drawing.add_subplot()
        (_dots if plot.kind == "dots" else _lines)(drawing, axes, plot)
        _ticks(axes)
        file = io.StringIO()
        drawing.savefig(
            file, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    return _inline(file.getvalue(), plot)


def hides_zero(plot: Plot) -> bool:
    """Whether a value of 0 is drawn at the end of an axis that does not reach it."""
    return plot.kind == "dots" and plot.y_log and any(y <= 0 for series in plot.series for y in series.y)


def _lines(drawing: Drawing, axes: Any, plot: Plot) -> None:
    drawing.set_size_inches(WIDTH_INCHES, LINE_HEIGHT_INCHES)
    _scale(axes, "x", plot.x_log)
    _scale(axes, "y", plot.y_log)
    if plot.diagonal:
        ends = [value for series in plot.series for value in (*series.x, *series.y) if not isinstance(value, str)]
        span = [min(ends), max(ends)]
        axes.plot(span, span, color=MUTED, linewidth=1, dashes=(4, 3))
    for series, colour, dashes, marker in zip(
        plot.series, cycle(SERIES), cycle(_DASHES), cycle(_MARKERS), strict=False
    ):
        marks = {"marker": marker, "markersize": 4} if len(series.x) <= 20 else {}
        axes.plot(series.x, series.y, color=colour, linestyle=dashes, linewidth=1.8, label=series.label, **marks)
        if series.low:
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.18, linewidth=0)
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    _legend(drawing, plot)


def _dots(drawing: Drawing, axes: Any, plot: Plot) -> None:
    """A row for each name, the value to the right; several series side by side within a row."""
    names = list(dict.fromkeys(str(name) for series in plot.series for name in series.x))
    step = 0.7 / len(plot.series)
    drawing.set_size_inches(WIDTH_INCHES, 0.9 + len(names) * max(0.24, 0.15 * len(plot.series)))
    _scale(axes, "x", plot.y_log)
    floor = _floor(plot) if plot.y_log else float("-inf")
    for number, (series, colour, marker) in enumerate(zip(plot.series, cycle(SERIES), cycle(_MARKERS), strict=False)):
        rows = [names.index(str(name)) + (number - (len(plot.series) - 1) / 2) * step for name in series.x]
        if series.low:
            low = [max(value, floor) for value in series.low]
            axes.hlines(rows, low, series.high, color=colour, linewidth=1.6, alpha=0.65)
        for shown, face in ((True, colour), (False, PAPER)):
            points = [(max(y, floor), row) for y, row in zip(series.y, rows, strict=True) if (y > floor) is shown]
            if points:
                label = series.label if shown else None
                axes.plot(*zip(*points, strict=True), marker, color=colour, markerfacecolor=face, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(plot.y_label)
    _legend(drawing, plot)


def _floor(plot: Plot) -> float:
    """Where a logarithmic axis ends for what is 0: below everything that is not."""
    values = [value for series in plot.series for value in (*series.y, *series.low, *series.high) if value > 0]
    return min(values, default=1.0) / 2


def _scale(axes: Any, name: str, logarithmic: bool) -> None:
    if logarithmic:
        getattr(axes, f"set_{name}scale")("log", nonpositive="mask")


def _ticks(axes: Any) -> None:
    """Plain numbers on logarithmic axes; between the powers of ten, too, where there are few of these."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            low, high = axis.get_view_interval()
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())


def _legend(drawing: Drawing, plot: Plot) -> None:
    if len(plot.series) > 1:
        drawing.legend(loc="outside upper left", ncols=min(3, len(plot.series)), handlelength=2.6)


def _inline(document: str, plot: Plot) -> str:
    """The SVG element alone, its size left to the page and its colours and letters taken from it."""
    element = document[document.index("<svg") :].strip()
    element = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" {_XLINK}>', element, count=1)
    element = element.replace(">", f">\n<title>{escape(_alternative(plot))}</title>", 1)
    element = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", "var(--letters)", element)
    return re.sub("|".join(_VARIABLES), lambda found: _VARIABLES[found[0]], element)


_XLINK = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def _alternative(plot: Plot) -> str:
    """The plot in words: what is drawn, and from where to where each series goes."""
    return f"{plot.title}: {plot.y_label} by {plot.x_label}. " + "; ".join(_spans(plot.series)) + "."


def _spans(every: Sequence[Series]) -> Iterator[str]:
    for series in every:
        if series.y:
            yield f"{series.label} from {min(series.y):g} to {max(series.y):g}"
