"""No network without a card, and no figure in a card without the evaluation that gives it."""

import re
from dataclasses import replace

import pytest

from regard.evaluate import cards, document
from regard.evaluate.document import Measured, Report
from regard.evaluate.registry import EVALUATIONS
from regard.evaluate.result import Cell, EvaluationError, Figure, Result, Table
from regard.vision import models
from regard.vision.models import Network

PICTURE_BYTES = 60_000
CARD = "# Net: a task\n\nWhat it is.\n\n" + "".join(f"## {name}\n\nText of {name}.\n\n" for name in cards.SECTIONS)
every_network = pytest.mark.parametrize("network", models.networks(), ids=lambda network: network.name)


@every_network
def test_every_network_has_a_whole_card(network: Network) -> None:
    card = cards.read(network)
    assert card.summary
    assert re.fullmatch(r"[^:]+: .+", card.title)


@every_network
def test_every_network_is_judged_by_an_evaluation(network: Network) -> None:
    assert any(network.name in evaluation.networks for evaluation in EVALUATIONS.values()), cards.NOTHING


@every_network
def test_the_card_says_what_the_published_report_says(network: Network) -> None:
    text = cards.path(network).read_text("utf-8")
    assert text == cards.filled_in(network, document.published()), "run `regard evaluate DATA --publish`"


@every_network
def test_the_pictures_of_a_card_are_there_small_and_described(network: Network) -> None:
    for words, name in re.findall(r"!\[([^]]*)\]\(([^)]*)\)", cards.path(network).read_text("utf-8")):
        file = cards.path(network).parent / name
        assert words
        assert 0 < file.stat().st_size <= PICTURE_BYTES, name


def test_what_is_published_can_be_measured_again() -> None:
    published = document.published()
    judged = {judged.name: judged.sha256 for judged in published.networks}
    for measured in published.measured:
        assert measured.name in EVALUATIONS
        assert measured.networks == EVALUATIONS[measured.name].networks
        assert set(measured.networks) <= judged.keys()
    for network in models.networks():
        assert judged.get(network.name, network.sha256) == network.sha256, f"{network.name} has changed: publish anew"


def test_a_card_is_read() -> None:
    card = cards.parse(CARD)
    assert card.title == "Net: a task"
    assert card.summary == "What it is."
    assert card.sections["Known failures"] == "Text of Known failures."
    assert (*card.sections,) == cards.SECTIONS


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (CARD.replace("# Net", "Net", 1), "A card begins with"),
        (CARD.replace("What it is.", ""), "A card begins with"),
        (CARD.replace("## Not for\n\nText of Not for.\n\n", ""), "The headings are For, Data and licence"),
        (CARD.replace("## For", "## Not for"), "The headings are"),
        (CARD.replace("Text of Calibration.", ""), "nothing below Calibration"),
    ],
    ids=["no title", "no summary", "missing", "twice", "empty"],
)
def test_a_card_that_lacks_something_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(EvaluationError, match=complaint):
        cards.parse(text)


def test_a_missing_card_is_named() -> None:
    with pytest.raises(EvaluationError, match=r"'yunet' has no card nowhere\.md"):
        cards.read(replace(models.networks()[0], card="nowhere.md"))


def test_only_what_lies_between_the_marks_is_filled_in() -> None:
    text = "before\n<!-- measured -->\nold\n<!-- /measured -->\nafter\n"
    filled = cards.fill(text, "new")
    assert filled == "before\n<!-- measured -->\nnew\n<!-- /measured -->\nafter\n"
    assert cards.fill(filled, "new") == filled
    assert cards.unfilled(filled) == "before\n\nnew\n\nafter"
    for broken in (CARD, text + text):
        with pytest.raises(EvaluationError, match="once each"):
            cards.fill(broken, "new")


def test_what_judges_a_network_stands_in_its_card() -> None:
    figures = (
        Figure("right", "Right | wrong", 94.72, "%", 1200, 93.0, 96.0),
        Figure("no", "No", None, "%", 3, note="few"),
    )
    rows = (("Ann", 1500, Cell(97.25, 96, 98)), ("Bob", 2, Cell(None)))
    result = Result("Data.", figures, (Table("By group", ("Group", "Faces", "%"), rows, "A note."),), (), ("The end.",))
    report = Report((), (Measured("a", "Telling", ("net", "other"), result), Measured("b", "B", ("other",), result)))
    text = cards.measured("net", report)
    assert text.startswith("### Telling\n\nData.\n\n| Figure | Measured | 95 % interval | Trials |\n| --- | ---: |")
    assert "| Right \\| wrong | 94.7 % | 93.0–96.0 | 1,200 |" in text
    assert "Not measured:\n\n- No. few" in text
    assert "| Ann | 1,500 | 97.2 (96.0–98.0) |\n| Bob | 2 | not measured |" in text
    assert text.index("A note.") < text.index("The end.")
    assert "### B" not in text
    assert cards.measured("third", report) == cards.NOTHING
