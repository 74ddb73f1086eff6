"""What each policy that comes with Regard decides: tables of requests and decisions, one for each policy."""

from pathlib import Path
from typing import cast

import pytest

from regard.operations.context import Services
from regard.settings import Settings
from regard.use.book import Book, book_of
from regard.use.policy import Budget, Minors, OptOut, RepeatedProbe, Review, Suspension
from regard.use.trial import Expectation, decide, read_cases

TABLES = {file.stem: read_cases(file.read_text("utf-8")) for file in Path(__file__).parent.glob("decisions/*.toml")}
CASES = [
    pytest.param(case, id=f"{table} {number}")
    for table, cases in TABLES.items()
    for number, case in enumerate(cases, 1)
]
# These hang on counts or on faces, and are tested with those.
ELSEWHERE = (Budget, Minors, OptOut, RepeatedProbe, Review, Suspension)


class Offline:
    """Services of which a decision may use nothing but the settings."""

    settings = Settings()


OFFLINE = cast(Services, Offline())


@pytest.fixture(scope="module")
def book() -> Book:
    return book_of(0, [])


@pytest.mark.parametrize("case", CASES)
def test_the_decision_is_the_tables(book: Book, case: Expectation) -> None:
    decision = decide(OFFLINE, book, case)
    assert decision.differences(case) == [], decision.message


def test_every_rule_denies_in_some_table_or_shows_in_a_header(book: Book) -> None:
    seen = {case.rule for cases in TABLES.values() for case in cases if case.rule}
    seen |= {f"{case.purpose}/no-emotions" for cases in TABLES.values() for case in cases if case.withheld}
    seen |= {"photo-search/threshold-floor", "photo-search/threshold-advice"} & {
        "photo-search/threshold-advice" if case.advised else "photo-search/threshold-floor"
        for case in TABLES["photo-search"]
        if case.threshold is not None
    }
    there = {
        f"{held.policy.name}/{rule.id}"
        for held in book.held.values()
        for rule in held.policy.rules
        if not isinstance(rule, ELSEWHERE)
    }
    assert there - seen == set()


def test_every_policy_has_a_table(book: Book) -> None:
    assert set(book.held) - {"baseline"} <= set(TABLES)


def test_the_sentence_says_who_what_why_and_how_to_find_it_again(book: Book) -> None:
    case = Expectation(
        operation="SearchFacesByImage",
        purpose="building-access",
        request={"CollectionId": "staff", "FaceMatchThreshold": 80},
        tags={"use:purpose": "building-access", "use:basis": "consent", "use:retention-days": "30"},
        decision="deny",
    )
    message, _, decision = decide(OFFLINE, book, case).message.rpartition(" Decision: ")
    assert message == (
        "User: arn:aws:iam::000000000000:user/AKIAEXAMPLE is not authorized to perform: "
        "rekognition:SearchFacesByImage on resource: arn:aws:rekognition:us-east-1:000000000000:collection/staff "
        'because use policy "building-access@0" rule "threshold-floor" forbids it: '
        'FaceMatchThreshold 80 is below the floor 99 for purpose "building-access".'
    )
    assert decision.startswith("d-")
    assert len(decision) == 28
