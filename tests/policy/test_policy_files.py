"""Policies and permissions as files: what is wrong in them is named, and what is right is compiled faithfully."""

from datetime import UTC, datetime

import pytest

from regard.use import permissions
from regard.use.book import book_of, hold, presets
from regard.use.keys import Principal
from regard.use.permissions import Values
from regard.use.policy import REVIEWED, PolicyError, Threshold, matching, read

POLICY = """
name = "mine"
title = "Mine"
[holds]
purposes = ["mine"]
[[rules]]
id = "floor"
because = "strangers must not match"
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'kind = "threshold"\nmax_fmr = 1e-9',
            'rule "floor" max_fmr: Input should be greater than or equal to 0.000001',
        ),
        ('kind = "threshold"\nmax_fmr = 1e-5\nmod = "raise"', 'rule "floor" mod: there is no such field'),
        ('kind = "threshold"', 'rule "floor" max_fmr: is missing'),
        ('kind = "threshhold"', "rule \"floor\": there is no kind 'threshhold', only 'operations', 'attributes'"),
        ("max_fmr = 1e-5", 'rule "floor": kind is missing'),
        ('kind = "operations"\noperations = ["SerchFaces"]', "no operation matches 'SerchFaces'; is it SearchFaces?"),
        (
            'kind = "threshold"\nmax_fmr = 1e-5\noperations = ["GetFaceSearch"]',
            "does nothing about 'GetFaceSearch', whose results are those of StartFaceSearch",
        ),
        ('kind = "review"\noperations = ["Search*", "CompareFaces"]', "does nothing about 'CompareFaces'"),
        ('kind = "attributes"\nattributes = ["RACE"]', "'RACE' is none of AGE_RANGE"),
        ('kind = "budget"\nmax = "ten"\nper = "hour"', 'rule "floor" max: Input should be a valid integer'),
        ('kind = "streams"\nface_search = true', 'rule "floor" face_search: Input should be False'),
        (
            'kind = "minors"\nbelow = 16\n[[rules]]\nid = "floor"\nbecause = "x"\nkind = "minors"\nbelow = 3',
            "two rules have",
        ),
        ("kind = ", "no TOML: "),
    ],
)
def test_a_mistake_is_named_with_its_rule(text: str, said: str) -> None:
    with pytest.raises(PolicyError) as raised:
        read(POLICY + text)
    assert said in str(raised.value)


def test_a_rule_about_all_operations_is_about_those_that_it_can_do_something_about() -> None:
    """A review of CompareFaces, whose matches have no FaceId, would be an error for each."""
    held = hold(POLICY + 'kind = "review"\noperations = ["*"]')
    assert {name for name in held.rules if name} == {*matching(REVIEWED)}


def test_a_policy_in_force_stays_though_one_of_its_rules_does_nothing() -> None:
    text = POLICY + 'kind = "review"\noperations = ["CompareFaces"]'
    with pytest.raises(PolicyError, match="does nothing about 'CompareFaces'"):
        hold(text)
    assert not {name for name in hold(text, 3).rules if name}


def test_every_mistake_of_a_file_is_named_at_once() -> None:
    with pytest.raises(PolicyError) as raised:
        read('name = "No Name"\ntitle = "x"\nextra = 1\n[holds]\npurpose = ["x"]')
    assert [line.partition(":")[0] for line in str(raised.value).splitlines()] == ["name", "holds.purpose", "extra"]


def test_the_policies_that_come_with_regard_are_named_as_their_files() -> None:
    assert {name: hold(text).policy.name for name, text in presets().items()} == {name: name for name in presets()}


def policy(name: str, holds: str) -> str:
    rule = '[[rules]]\nid = "r"\nbecause = "b"\nkind = "threshold"\nmax_fmr = 1e-6'
    return f'name = "{name}"\ntitle = "t"\n[holds]\n{holds}\n{rule}'


def test_a_policy_holds_where_all_that_it_names_is_the_callers() -> None:
    texts = [
        policy("of-purpose", 'purposes = ["mine", "other"]'),
        policy("of-account", 'accounts = ["000000000001"]\npurposes = ["mine"]'),
        policy("of-key", 'access_keys = ["AKIA2"]'),
        policy("of-collection", 'collections = ["vault"]'),
    ]
    book = book_of(0, [], extra=[hold(text) for text in texts])

    def names(key: str, account: str, purpose: str, collection: str | None) -> set[str]:
        rules = book.rules(Principal(key, account, "", purpose), collection)
        assert all(rule.id == "r" for _, rule in rules.of(Threshold, "SearchFaces"))
        return {held.policy.name for held in rules.held} - {"baseline"}

    assert names("AKIA1", "000000000001", "mine", None) == {"of-purpose", "of-account"}
    assert names("AKIA1", "000000000002", "mine", None) == {"of-purpose"}
    assert names("AKIA2", "000000000001", "other", "vault") == {"of-purpose", "of-key", "of-collection"}
    assert names("AKIA1", "000000000001", "unheard-of", None) == {"locked-down"}


def test_what_rules_have_found_is_kept_once_for_all_for_whom_the_same_hold() -> None:
    book = book_of(0, [], extra=[hold(policy("of-collection", 'collections = ["vault"]'))])
    caller = Principal("AKIA1", "000000000001", "", "research")
    rules = book.rules(caller, "first")
    assert book.rules(caller, "second") is rules
    assert book.rules(Principal("AKIA2", "000000000002", "", "research"), None) is rules
    assert book.rules(caller, "vault") is not rules
    assert book.rules(Principal("AKIA1", "000000000001", "", "unheard-of"), "first") is not rules


def test_a_restricted_caller_is_locked_down() -> None:
    principal = Principal("AKIA1", "000000000001", "", "research", account_status="restricted")
    assert book_of(0, []).rules(principal, None).purpose == "locked-down"


def test_one_changed_policy_costs_the_reading_of_one() -> None:
    first, changed = book_of(0, []), hold(policy("research", 'purposes = ["research"]'))
    again = book_of(1, [], extra=[changed])
    assert again.held["research"] is changed
    assert all(again.held[name] is held for name, held in first.held.items() if name != "research")


DOCUMENT = '{"Version": "2012-10-17", "Id": "kiosk", "Statement": %s}'


def allowed(statements: str, action: str = "rekognition:SearchFaces", resource: str = "*", **values: object) -> bool:
    named = {key.replace("__", ":"): value for key, value in values.items()}
    return permissions.read(DOCUMENT % statements).verdict(action, resource, named).allowed


def test_what_is_not_allowed_is_denied_and_a_denial_wins() -> None:
    allow = '{"Effect": "Allow", "Action": "rekognition:Search*", "Resource": "*"}'
    deny = '{"Effect": "Deny", "NotAction": "rekognition:SearchUsers"}'
    assert allowed(allow)
    assert not allowed(allow, "rekognition:IndexFaces")
    assert not allowed(f"[{deny}, {allow}]")
    assert not allowed(f"[{allow}, {deny}]")
    assert allowed(f"[{allow}, {deny}]", "rekognition:SearchUsers")


def test_resources_match_by_wildcards() -> None:
    arn = "arn:aws:rekognition:us-east-1:000000000001:collection/"
    allow = f'{{"Effect": "Allow", "Action": "*", "Resource": ["{arn}staff-?", "{arn}[x]*"]}}'
    assert allowed(allow, resource=arn + "staff-1")
    assert not allowed(allow, resource=arn + "staff-10")
    assert not allowed(allow, resource="*")
    assert allowed(allow, resource=arn + "[x]y")
    assert not allowed(allow, resource=arn + "xy")


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        ('{"StringEquals": {"regard:Purpose": ["a", "b"]}}', {"regard:Purpose": "b"}, True),
        ('{"StringEquals": {"regard:Purpose": "a"}}', {}, False),
        ('{"StringEqualsIfExists": {"regard:Purpose": "a"}}', {}, True),
        ('{"StringNotEquals": {"regard:Purpose": "a"}}', {}, True),
        ('{"StringNotLike": {"regard:CollectionId": ["a*", "b*"]}}', {"regard:CollectionId": "bee"}, False),
        ('{"StringLike": {"aws:UserAgent": "Boto3/*"}}', {"aws:UserAgent": "Boto3/1.44"}, True),
        ('{"NumericGreaterThanEquals": {"regard:Threshold": 99}}', {"regard:Threshold": 98.9}, False),
        ('{"NumericGreaterThanEquals": {"regard:Threshold": "99"}}', {"regard:Threshold": 99.0}, True),
        ('{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}', {"aws:SourceIp": "10.1.2.3"}, True),
        ('{"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::1"]}}', {"aws:SourceIp": "::1"}, False),
        (
            '{"ForAllValues:StringEquals": {"regard:Attributes": ["SMILE", "BEARD"]}}',
            {"regard:Attributes": ["ALL"]},
            False,
        ),
        ('{"ForAllValues:StringEquals": {"regard:Attributes": "SMILE"}}', {}, True),
        ('{"ForAnyValue:StringLike": {"aws:TagKeys": "use:*"}}', {"aws:TagKeys": ["a", "use:basis"]}, True),
        ('{"ForAnyValue:StringLike": {"aws:TagKeys": "use:*"}}', {}, False),
        ('{"Bool": {"regard:FromS3": "true"}}', {"regard:FromS3": False}, False),
        ('{"Null": {"regard:CollectionId": "true"}}', {}, True),
        (
            '{"StringEquals": {"regard:Purpose": "a"}, "NumericLessThan": {"regard:MaxResults": 9}}',
            {"regard:Purpose": "a", "regard:MaxResults": 9},
            False,
        ),
    ],
)
def test_conditions_mean_what_iam_says(condition: str, values: Values, expected: bool) -> None:
    document = permissions.read(DOCUMENT % f'{{"Effect": "Allow", "Action": "*", "Condition": {condition}}}')
    assert document.verdict("rekognition:SearchFaces", "*", values).allowed is expected


def test_dates_are_compared_as_moments() -> None:
    text = (
        '{"Effect": "Allow", "Action": "*", "Condition": {"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}}'
    )
    document = permissions.read(DOCUMENT % text)
    for year, expected in ((2029, True), (2031, False)):
        values = {"aws:CurrentTime": datetime(year, 1, 1, tzinfo=UTC)}
        assert document.verdict("rekognition:SearchFaces", "*", values).allowed is expected


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ('{"Effect": "Allow", "Action": "rekognition:Serch*"}', "no action matches 'rekognition:Serch*'"),
        ('{"Effect": "Allow", "Action": "*", "Principal": "*"}', "Principal: Extra inputs are not permitted"),
        ('{"Effect": "Perhaps", "Action": "*"}', "Effect: Input should be 'Allow' or 'Deny'"),
        ('{"Effect": "Allow"}', "exactly one of Action and NotAction"),
        (
            '{"Effect": "Allow", "Action": "*", "Condition": {"StringIs": {"regard:Purpose": "a"}}}',
            "no condition operator",
        ),
        (
            '{"Effect": "Allow", "Action": "*", "Condition": {"Bool": {"aws:SecureTransport": "true"}}}',
            "no condition key",
        ),
        (
            '{"Effect": "Allow", "Action": "*", "Condition": {"IpAddress": {"aws:SourceIp": "ten"}}}',
            "'ten' does not appear",
        ),
        ('{"Effect": "Allow", "Action": "*", "Condition": {"NumericLessThan": {"regard:Purpose": 1}}}', "does not fit"),
        ('{"Effect": "Allow", "Action": "*", "Condition": {"StringEquals": {"aws:TagKeys": "a"}}}', "ForAllValues"),
    ],
)
def test_what_is_not_known_is_refused(statement: str, said: str) -> None:
    with pytest.raises(PolicyError) as raised:
        permissions.read(DOCUMENT % statement)
    assert said in str(raised.value)
