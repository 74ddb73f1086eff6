"""How measured numbers are written for people, the same in reports, cards and on the terminal.

Enough digits to compare, never so few that what is not perfect reads as perfect.
"""

from regard.evaluate.result import Cell, Figure

NOT_MEASURED = "not measured"
SUFFIX = {
    "%": " %",
    "points": " points",
    "ratio": "×",
    "degrees": "°",
    "years": " years",
    "count": "",
    "score": "",
    "rate": "",
}
"""What stands behind a number of each unit."""

_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def number(value: float) -> str:
    """`value` with about three significant digits: 1,583 · 94.7 · 99.97 · 5.25 · 0.0123 · 1.2 × 10⁻⁵."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 10:
        rounded = f"{value:.1f}"
        return rounded if float(rounded) != 100 or value == 100 else f"{value:.2f}"
    if size >= 1:
        return f"{value:.2f}"
    if size >= 0.001 or value == 0:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def value(figure: Figure) -> str:
    """A figure's value with its unit, or that there is none."""
    if figure.value is None:
        return NOT_MEASURED
    written = f"{figure.value:,.0f}" if figure.unit == "count" else number(figure.value)
    return written + SUFFIX[figure.unit]


def interval(measured: Figure | Cell) -> str:
    """The 95 % interval, or nothing where there is none."""
    if measured.low is None or measured.high is None:
        return ""
    return f"{number(measured.low)}–{number(measured.high)}"


def cell(content: str | int | Cell) -> str:
    """What stands in a table, its interval apart."""
    if isinstance(content, Cell):
        return NOT_MEASURED if content.value is None else number(content.value)
    return f"{content:,}" if isinstance(content, int) else content
