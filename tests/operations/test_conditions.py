"""When a human loop begins: A2I's conditions."""

import json
from typing import Any

import pytest

from regard.operations.conditions import ConditionsError, read

LABELS = [{"Name": "Suggestive", "Confidence": 62.5}, {"Name": "Weapons", "Confidence": 99.0}]


def check(name: str, **bounds: float) -> dict[str, Any]:
    return {
        "ConditionType": "ModerationLabelConfidenceCheck",
        "ConditionParameters": {"ModerationLabelName": name} | bounds,
    }


def sampling(percent: float) -> dict[str, Any]:
    return {"ConditionType": "Sampling", "ConditionParameters": {"RandomSamplingPercentage": percent}}


def begins(*members: dict[str, Any], labels: Any = LABELS, sample: bytes = b"picture") -> bool:
    return read(json.dumps({"Conditions": members})).evaluate(labels, sample)[0]


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (check("Suggestive", ConfidenceLessThan=62.5), False),
        (check("Suggestive", ConfidenceLessThanEquals=62.5), True),
        (check("Suggestive", ConfidenceGreaterThan=62.5), False),
        (check("Suggestive", ConfidenceGreaterThanEquals=62.5), True),
        (check("Suggestive", ConfidenceEquals=62.5), True),
        (check("suggestive", ConfidenceEquals=62.5), False),
        (check("Suggestive", ConfidenceGreaterThan=50, ConfidenceLessThan=60), False),
        (check("*", ConfidenceGreaterThan=98), True),
        (check("Alcohol", ConfidenceLessThan=100), False),
        ({"And": [check("*", ConfidenceGreaterThan=98), check("Alcohol", ConfidenceLessThan=100)]}, False),
        ({"Or": [check("*", ConfidenceGreaterThan=98), check("Alcohol", ConfidenceLessThan=100)]}, True),
        (
            {"And": [check("*", ConfidenceGreaterThan=98), {"Or": [sampling(100), check("x", ConfidenceEquals=1)]}]},
            True,
        ),
    ],
)
def test_a_condition(member: dict[str, Any], expected: bool) -> None:
    assert begins(member) is expected


def test_any_member_suffices_and_none_at_all_means_always() -> None:
    assert begins(check("Alcohol", ConfidenceLessThan=100), check("Weapons", ConfidenceEquals=99))
    assert begins()
    assert not begins(check("*", ConfidenceLessThan=100), labels=[])


def test_sample_has_its_share_and_the_same_picture_has_the_same_luck() -> None:
    pictures = [str(number).encode() for number in range(4000)]
    drawn = [begins(sampling(5), sample=picture) for picture in pictures]
    assert 150 < sum(drawn) < 250
    assert drawn == [begins(sampling(5), sample=picture) for picture in pictures]


def test_results_say_of_every_condition_whether_it_held() -> None:
    first, second = check("Suggestive", ConfidenceLessThan=98.0), sampling(100.0)
    stated = {"Conditions": [{"And": [first, second]}]}
    results = json.loads(read(json.dumps(stated)).evaluate(LABELS, b"")[1])
    held = {"EvaluationResult": True}
    assert results == {"Conditions": [{"And": [first | held, second | held]} | held]}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"Conditions": [{"ConditionType": "Sampling"}]},
        {"Conditions": [check("Suggestive")]},
        {"Conditions": [check("Suggestive", ConfidenceLessThan=101)]},
        {"Conditions": [{"And": []}]},
        {"Conditions": [sampling(0)]},
        {"Conditions": [{"And": [{"Or": [{"And": [sampling(5)]}]}]}]},
        {"Conditions": [], "More": 1},
    ],
)
def test_what_a2i_would_not_take_is_refused(wrong: Any) -> None:
    with pytest.raises(ConditionsError):
        read(json.dumps(wrong))
