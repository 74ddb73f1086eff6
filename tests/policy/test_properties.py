"""What must hold whatever is asked and whatever an operation answers: floors, withheld attributes, suspensions."""

from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policy.test_decisions import OFFLINE

from regard.operations.context import Context
from regard.operations.shapes import MEMBERS
from regard.store.keys import Status
from regard.use import chain
from regard.use.book import book_of, hold
from regard.use.chain import Call
from regard.use.enforcement import Permission, UsePolicy
from regard.use.guard import floor_of
from regard.use.keys import Principal
from regard.use.standing import Standing
from regard.wire.errors import AccessDeniedException
from regard.wire.service import operation_names

PLACES = {
    "SearchFaces": ("FaceMatches", "FaceMatchThreshold"),
    "SearchFacesByImage": ("FaceMatches", "FaceMatchThreshold"),
    "SearchUsers": ("UserMatches", "UserMatchThreshold"),
    "SearchUsersByImage": ("UserMatches", "UserMatchThreshold"),
    "CompareFaces": ("FaceMatches", "SimilarityThreshold"),
    "GetFaceSearch": ("Persons", None),
}
similarities = st.lists(st.floats(0, 100, width=32), max_size=8)


class Nothing:
    """No tags and no authorisations."""

    def tags(self, _call: Call, _collection_id: str) -> dict[str, str]:
        return {}

    def authorisation(self, _call: Call, _collection_id: str | None, _grace: timedelta) -> None:
        return None


def principal(purpose: str = "tests", **changes: Any) -> Principal:
    return Principal("AKIAEXAMPLE", "000000000000", "", purpose, "operator", **changes)


def call(operation: str, request: dict[str, Any], caller: Principal) -> Call:
    return Call("", operation, Context(caller, OFFLINE), request=request)


def policy(rule: str) -> Any:
    return hold(
        'name = "tests"\ntitle = "t"\n[holds]\npurposes = ["tests"]\n[[rules]]\nid = "r"\nbecause = "b"\n' + rule
    )


@given(
    operation=st.sampled_from(sorted(PLACES)),
    mode=st.sampled_from(["deny", "raise"]),
    fmr=st.floats(1e-6, 1e-2),
    threshold=st.none() | st.floats(0, 100, width=32),
    found=similarities,
)
def test_no_path_returns_a_match_below_the_floor(
    operation: str, mode: str, fmr: float, threshold: float | None, found: list[float]
) -> None:
    """Even from an operation that ignores every threshold."""
    book = book_of(0, [], extra=[policy(f'kind = "threshold"\nmode = "{mode}"\nmax_fmr = {fmr!r}')])
    place, parameter = PLACES[operation]
    matches = [{"Similarity": similarity, "Face": {"FaceId": "a"}} for similarity in found]
    answer = {place: [{"FaceMatches": matches}] if place == "Persons" else matches}
    request = {} if threshold is None or parameter is None else {parameter: threshold}
    made = call(operation, request, principal())
    floor = floor_of(fmr)
    denied = mode == "deny" and parameter is not None and (80 if threshold is None else threshold) < floor
    with pytest.raises(AccessDeniedException) if denied else nullcontext():
        chain.run(made, lambda *_: answer, [UsePolicy(lambda _: book, Nothing())])
    if denied:
        return
    response = made.response or {}
    left = response["Persons"][0]["FaceMatches"] if place == "Persons" else response[place]
    assert [match["Similarity"] for match in left] == [similarity for similarity in found if similarity >= floor]
    if parameter is not None:
        assert made.request.get(parameter, 80) >= floor
        assert made.context.guard.floor == floor


details = st.recursive(
    st.fixed_dictionaries({}, optional={member: st.just({"Value": True}) for member in MEMBERS.values()}),
    lambda inner: st.dictionaries(st.sampled_from(["Face", "Person"]), inner | st.lists(inner, max_size=3)),
    max_leaves=8,
)


@given(details=details, attribute=st.sampled_from(sorted(MEMBERS)), mode=st.sampled_from(["deny", "withhold"]))
def test_a_withheld_attribute_is_nowhere_in_an_answer(details: Any, attribute: str, mode: str) -> None:
    book = book_of(0, [], extra=[policy(f'kind = "attributes"\nmode = "{mode}"\nattributes = ["{attribute}"]')])
    response = chain.run(
        call("GetFaceDetection", {}, principal()),
        lambda *_: {"Faces": [details]},
        [UsePolicy(lambda _: book, Nothing())],
    )
    assert f"'{MEMBERS[attribute]}':" not in str(response)


@pytest.mark.parametrize("operation", operation_names())
@pytest.mark.parametrize("whose", ["status", "account_status"])
def test_a_suspended_caller_lists_describes_and_deletes_and_nothing_else(operation: str, whose: str) -> None:
    def passes(status: Status) -> bool:
        said = ""
        try:
            Standing().before(call(operation, {}, principal(**{whose: status})))
        except AccessDeniedException as error:
            said = str(error)
        assert not said or f"forbids it: it is {status}. Decision: d-" in said
        return not said

    assert passes("active")
    assert passes("restricted")
    assert passes("suspended") == operation.startswith(("List", "Describe", "Delete"))
    assert not passes("banned")


@pytest.mark.parametrize("operation", operation_names())
def test_whoever_has_no_purpose_identifies_nobody(operation: str) -> None:
    identifying = ("Search", "CompareFaces", "IndexFaces", "AssociateFaces", "RecognizeCelebrities")
    jobs = ("StartFaceSearch", "GetFaceSearch", "StartCelebrity", "GetCelebrityRecognition", "StartStream")
    caller = Principal("AKIAEXAMPLE", "000000000000", "")
    made = call(operation, {}, caller)
    book = book_of(0, [])
    if operation.startswith((*identifying, *jobs)):
        with pytest.raises(AccessDeniedException, match="locked-down@0"):
            chain.run(made, lambda *_: {}, [Permission(lambda _: book), UsePolicy(lambda _: book, Nothing())])
    elif operation not in ("CreateUser", "CreateStreamProcessor"):
        chain.run(made, lambda *_: {}, [Permission(lambda _: book), UsePolicy(lambda _: book, Nothing())])
