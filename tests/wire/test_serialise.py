import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from botocore.parsers import create_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.wire.serialise import serialise
from regard.wire.service import operation, operation_names, output_shape

from .strategies import values

BOTOCORE = create_parser("json")


@pytest.mark.parametrize("name", operation_names())
def test_botocore_reads_back_what_an_operation_returned(name):
    model = operation(name)

    @settings(max_examples=15)
    @given(values(output_shape(model)))
    def reads_back(result):
        response = {"status_code": 200, "headers": {}, "body": serialise(model, result)}
        read = BOTOCORE.parse(response, output_shape(model))
        read.pop("ResponseMetadata")
        assert read == result

    reads_back()


def written(name, **result):
    return json.loads(serialise(operation(name), result))


def test_confidences_are_float32_widened_as_at_aws():
    assert written("SearchFacesByImage", SearchedFaceConfidence=99.447823) == {
        "SearchedFaceConfidence": 99.44782257080078
    }
    assert written("SearchFacesByImage", SearchedFaceConfidence=100) == {"SearchedFaceConfidence": 100.0}


@given(st.floats(-1e30, 1e30))
def test_rounding_is_numpys(value):
    assert written("SearchFacesByImage", SearchedFaceConfidence=value) == {
        "SearchedFaceConfidence": float(np.float32(value))
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e39, 10**40])
def test_a_number_that_json_or_float32_lacks_is_refused(value):
    with pytest.raises(ValueError, match="cannot hold"):
        written("SearchFacesByImage", SearchedFaceConfidence=value)


def test_times_are_seconds_with_milliseconds():
    east = datetime(2024, 6, 10, 8, 13, 20, 123_456, timezone(timedelta(hours=2)))
    assert serialise(operation("DescribeCollection"), {"CreationTimestamp": east}) == (
        b'{"CreationTimestamp":1718000000.123}'
    )
    with pytest.raises(ValueError, match="without a zone"):
        written("DescribeCollection", CreationTimestamp=datetime(2024, 6, 10))  # noqa: DTZ001
    assert written("DescribeCollection", CreationTimestamp=datetime(2024, 6, 10, tzinfo=UTC))


def test_members_that_are_none_are_left_out():
    assert written("DescribeCollection", FaceCount=0, UserCount=None) == {"FaceCount": 0}


def test_an_empty_result_is_an_empty_object():
    assert serialise(operation("CreateUser"), {}) == b"{}"


def test_bytes_are_base64():
    assert written("GetFaceLivenessSessionResults", ReferenceImage={"Bytes": b"\xff\x00"}) == {
        "ReferenceImage": {"Bytes": "/wA="}
    }


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("DescribeCollection", {"CollectionArn": "arn:…"}),
        ("DescribeCollection", {"FaceCount": "3"}),
        ("DescribeCollection", {"FaceCount": 3.0}),
        ("DescribeCollection", {"FaceCount": True}),
        ("DescribeCollection", {"FaceModelVersion": 7}),
        ("DescribeCollection", {"CreationTimestamp": 1718000000}),
        ("DetectFaces", {"FaceDetails": {"Confidence": 99.0}}),
        ("DetectFaces", {"FaceDetails": [{"Confidence": "99"}]}),
        ("DetectFaces", {"FaceDetails": [{"Confidence": True}]}),
        ("DetectFaces", {"FaceDetails": [{"Smile": {"Value": 1}}]}),
        ("DetectFaces", {"FaceDetails": [{"Smile": [True]}]}),
        ("DetectFaces", {"FaceDetails": "none"}),
        ("DetectFaces", {"FaceDetails": [None]}),
        ("ListTagsForResource", {"Tags": [("a", "b")]}),
        ("ListTagsForResource", {"Tags": {"a": 1}}),
        ("ListTagsForResource", {"Tags": {1: "a"}}),
        ("GetFaceLivenessSessionResults", {"ReferenceImage": {"Bytes": "/wA="}}),
        ("DescribeCollection", []),
    ],
)
def test_a_result_that_the_contract_lacks_is_loud(name, result):
    with pytest.raises(TypeError):
        serialise(operation(name), result)


def test_an_integer_that_the_sdks_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="cannot hold"):
        written("CreateCollection", StatusCode=2**31)
