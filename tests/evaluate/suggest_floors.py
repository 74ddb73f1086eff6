"""Print floors for the figures of fast evaluations, from a report of `regard evaluate` (default: the published one).

    python tests/evaluate/suggest_floors.py [REPORT.json] > floors.toml

A figure is the same on every run, but not on every processor: where there is no bfloat16 a few pictures in a
thousand come out otherwise. So a floor stands at half the way from the value to the worse end of its interval,
and at 2 % of the value where there is none; at 25 % for ratios of groups, where a face more or less counts for
much. Read the list before you commit it.
"""

import sys
from pathlib import Path

from regard.evaluate import document
from regard.evaluate.document import Report
from regard.evaluate.registry import EVALUATIONS
from regard.evaluate.result import Figure

FLOORS = Path(__file__).with_name("floors.toml")
MARGIN, RATIO_MARGIN = 0.02, 0.25


def floor(figure: Figure) -> float:
    """The worst value that a figure with a direction may have."""
    assert figure.value is not None
    end = figure.low if figure.better == "higher" else figure.high
    if end is not None:
        return (figure.value + end) / 2
    margin = RATIO_MARGIN if figure.unit == "ratio" else MARGIN
    return figure.value * (1 - margin if figure.better == "higher" else 1 + margin)


def suggested(report: Report) -> str:
    """The text of `floors.toml`."""
    text = "\n".join(line for line in FLOORS.read_text("utf-8").splitlines() if line.startswith("#")) + "\n"
    for table, better in (("least", "higher"), ("most", "lower")):
        text += f"\n[{table}]\n"
        for measured in report.measured:
            if not EVALUATIONS[measured.name].fast:
                continue
            for key, figure in measured.figures():
                if figure.better == better and figure.value is not None:
                    text += f'"{key}" = {floor(figure):.4g}\n'
    return text


if __name__ == "__main__":
    sys.stdout.write(suggested(document.load(Path(sys.argv[1]).read_bytes()) if sys.argv[1:] else document.published()))
